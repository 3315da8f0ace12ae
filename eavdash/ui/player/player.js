// The player: its media and lanes, keys and pointer, and the loop that moves the cursor.

const RETRIES = [800, 3000]; // milliseconds, as a session that lost its connection briefly gets its files again
const REPORT_AFTER = 300; // milliseconds without another seek before the time is reported to Python
const kept = { band: "alpha", unit: "dB", rate: "1", sound: true, gain: 1 }; // settings for the next trial

class Player {
  constructor(root, data, report) {
    Object.assign(this, { root, report, ...unpack(data) });
    const { header } = this;
    this.listeners = new AbortController();
    this.find = (selector) => root.querySelector(selector);
    this.duration = header.duration || 1;
    this.gain = kept.gain;
    this.built = performance.now();
    root.setAttribute("aria-label", `Player: ${header.title}`);
    delete root.dataset.canplay;
    this.openMedia();
    this.openScalp();
    this.openLanes();
    this.openOverlays();
    this.openTransport();
    this.openPointer();
    this.sizes = new ResizeObserver(() => this.later(() => this.layOut()));
    this.sizes.observe(this.find(".layout"));
    this.layOut();
  }

  on(target, names, react) {
    for (const name of names.split(" ")) target.addEventListener(name, react, { signal: this.listeners.signal });
  }

  // --- recordings

  openMedia() {
    const { media, image } = this.header;
    const [video, sound, still] = ["video", "audio", "img"].map((name) => this.find(`.picture ${name}`));
    const element = media ? (media.moving ? video : sound) : null;
    this.video = media && media.moving ? video : null;
    video.hidden = !this.video;
    still.hidden = !image;
    if (image) still.src = image;
    this.find(".picture").hidden = !this.video && !image;
    this.find(".sound").hidden = !media;
    this.find(".media-note").textContent = "";
    this.clock = new Clock(element, media ? media.offset : 0, this.duration, () => this.playingChanged());
    this.frame = 1 / (media ? media.rate : 25);
    if (!element) return;
    if (media.width) video.style.aspectRatio = `${media.width} / ${media.height}`;
    let tries = 0;
    this.on(element, "canplay", () => (this.root.dataset.canplay ??= Math.round(performance.now() - this.built)));
    this.on(element, "seeked loadeddata", () => this.paint());
    this.on(element, "loadedmetadata", () => this.layOut());
    this.on(element, "error", () => {
      const time = this.clock.now();
      if (tries < RETRIES.length) {
        this.timer = setTimeout(() => this.reopen(element, time), RETRIES[tries++]);
        return;
      }
      this.clock.breakOff();
      this.find(".media-note").textContent = "The recording cannot be played here; the rest of the trial can.";
    });
    element.src = media.url;
    element.currentTime = media.offset;
    element.muted = !kept.sound;
  }

  reopen(element, time) {
    element.load();
    element.currentTime = time + this.header.media.offset;
    if (this.clock.playing) this.clock.start();
  }

  // --- scalp map

  openScalp() {
    const { eeg } = this.header;
    const figure = this.find(".scalp");
    figure.hidden = !(eeg && eeg.scalp);
    this.find(".scalp-note").textContent = eeg ? eeg.note : "";
    const stage = this.find(".stage");
    stage.hidden = figure.hidden && this.find(".picture").hidden && !(eeg && eeg.note);
    this.find(".layout").classList.toggle("wide", !(figure.hidden && this.find(".picture").hidden));
    if (figure.hidden) return;
    const [band, unit] = [figure.querySelector(".band"), figure.querySelector(".unit")];
    band.replaceChildren(...eeg.bands.map((name) => new Option(name, name)));
    band.value = eeg.bands.includes(kept.band) ? kept.band : eeg.bands[0];
    unit.value = kept.unit;
    this.scalp = new Scalp(figure, this.header, this.arrays);
    const choose = () => {
      if (band.value !== eeg.bands[0] || eeg.bands.includes(kept.band)) kept.band = band.value;
      kept.unit = unit.value;
      this.scalp.choose(band.value, unit.value);
      this.find(".field").setAttribute("aria-label", `Power of the ${band.value} band over the head, nose up`);
      this.paint();
    };
    this.on(figure, "change", choose);
    this.scalp.choose(band.value, unit.value);
  }

  // --- lanes

  lane(name) {
    return this.find(`.lane[data-lane="${name}"]`);
  }

  openLanes() {
    const { audio, eeg } = this.header;
    this.lane("waveform").hidden = !audio;
    this.lane("spectrogram").hidden = !(audio && this.arrays.logmel);
    this.lane("eeg").hidden = !eeg;
    if (!eeg) return;
    this.row = eeg.channels.length > 48 ? 14 : 18;
    const names = eeg.channels.map((name, n) => {
      const label = document.createElement("span");
      label.textContent = name;
      label.style.top = `${n * this.row}px`;
      label.style.lineHeight = `${this.row}px`;
      return label;
    });
    this.find(".names").replaceChildren(...names);
    this.on(this.find(".less"), "click", () => this.setGain(this.gain / 1.5));
    this.on(this.find(".more"), "click", () => this.setGain(this.gain * 1.5));
  }

  setGain(gain) {
    this.gain = kept.gain = Math.min(Math.max(gain, 0.05), 50);
    this.layOut();
  }

  layOut() {
    const lanes = this.find(".lanes");
    const gutter = parseFloat(getComputedStyle(this.find(".cursor")).left);
    this.gutter = gutter;
    this.width = Math.max(40, lanes.clientWidth - gutter - 14);
    const marks = ticks(this.header.begin, this.duration, this.width).map(({ time, text }) => {
      const mark = document.createElement("span");
      mark.textContent = text;
      mark.style.left = `${(100 * time) / this.duration}%`;
      return mark;
    });
    this.find(".ruler").replaceChildren(...marks);
    const base = (name) => this.lane(name).querySelector(".base");
    if (this.header.audio) drawWave(base("waveform"), this, this.width, 56);
    if (this.arrays.logmel) drawSpectrogram(base("spectrogram"), this, this.width, 96);
    if (this.header.eeg) {
      drawTraces(base("eeg"), this, this.width, this.row, this.gain);
      const between = spacing(this.header.eeg) / this.gain;
      const shown = between >= 10 ? between.toFixed(0) : between.toPrecision(2);
      this.find(".scale").textContent = `${this.header.eeg.channels.length} channels, ${shown} µV between lines`;
    }
    this.drawOverlays();
    if (this.scalp) this.scalp.shown = "";
    this.paint();
  }

  // --- overlays

  openOverlays() {
    this.overlays = this.header.overlays.map((overlay, n) => ({
      ...overlay,
      on: true,
      values: this.arrays[`overlay${n}`].values,
      shape: this.arrays[`overlay${n}`].shape,
      times: this.arrays[`overlay${n}times`].values,
      boxes: this.arrays[`overlay${n}boxes`]?.values,
    }));
    const toggles = this.overlays.map((overlay) => {
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
      label.append(box, ` ${overlay.label}`);
      this.on(box, "change", () => {
        overlay.on = box.checked;
        this.drawOverlays();
        this.paint();
      });
      return label;
    });
    this.find(".overlays").replaceChildren(...toggles);
  }

  active(lane) {
    return this.overlays.find((overlay) => overlay.lane === lane && overlay.on);
  }

  drawOverlays() {
    const heights = { waveform: 56, spectrogram: 96, eeg: (this.row || 0) * (this.header.eeg?.channels.length || 0) };
    for (const [lane, height] of Object.entries(heights)) {
      const canvas = this.lane(lane).querySelector(".over");
      const overlay = this.active(lane);
      canvas.hidden = !overlay;
      if (!overlay) continue;
      canvas.style.opacity = overlay.opacity;
      drawOverTime(canvas, this, overlay, this.width, height, lane === "spectrogram");
    }
    if (this.scalp) Object.assign(this.scalp, { overlay: this.active("scalp"), shown: "" });
  }

  paintPicture(time) {
    const [canvas, overlay] = [this.find(".picture .over"), this.active("video")];
    const shown = this.video || this.find(".picture img");
    canvas.hidden = !overlay || shown.hidden;
    if (canvas.hidden) return;
    const [width, height] = [shown.videoWidth || shown.naturalWidth, shown.videoHeight || shown.naturalHeight];
    if (!width) return;
    const scale = Math.min(shown.clientWidth / width, shown.clientHeight / height);
    canvas.style.left = `${shown.offsetLeft + (shown.clientWidth - width * scale) / 2}px`;
    canvas.style.top = `${shown.offsetTop + (shown.clientHeight - height * scale) / 2}px`;
    canvas.style.opacity = overlay.opacity;
    drawOverPicture(canvas, overlay, time, width * scale, height * scale);
  }

  // --- transport

  openTransport() {
    const [speed, sound] = [this.find(".speed select"), this.find(".sound input")];
    speed.value = kept.rate;
    this.clock.setRate(Number(speed.value));
    sound.checked = kept.sound;
    this.on(speed, "change", () => this.clock.setRate(Number((kept.rate = speed.value))));
    this.on(sound, "change", () => (this.clock.media.muted = !(kept.sound = sound.checked)));
    this.on(this.find(".play"), "click", () => this.toggle());
    this.on(this.find(".back"), "click", () => this.step(-1));
    this.on(this.find(".forward"), "click", () => this.step(1));
    this.on(this.root, "keydown", (event) => this.key(event));
    this.playingChanged();
  }

  toggle() {
    if (this.clock.playing) this.clock.pause();
    else this.clock.play();
  }

  // Seek slightly past the start of a frame, so that rounding does not show the previous one.
  step(frames) {
    if (this.clock.playing) this.clock.pause();
    const now = Math.floor(this.clock.now() / this.frame + 0.01);
    this.seek((now + frames) * this.frame + 0.001);
  }

  seek(time) {
    this.clock.seek(Math.min(Math.max(time, 0), this.duration));
    this.paint();
    this.reportMoment();
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("select")) return;
    if (event.key === " " && event.target.matches("button, input")) return;
    const act = {
      " ": () => this.toggle(),
      ArrowLeft: () => (event.shiftKey ? this.seek(this.clock.now() - 1) : this.step(-1)),
      ArrowRight: () => (event.shiftKey ? this.seek(this.clock.now() + 1) : this.step(1)),
      Home: () => this.seek(0),
      End: () => this.seek(this.duration),
      "+": () => this.setGain(this.gain * 1.5),
      "-": () => this.setGain(this.gain / 1.5),
    }[event.key];
    if (!act) return;
    act();
    event.preventDefault();
    event.stopPropagation(); // keep Streamlit's shortcuts from acting too
  }

  openPointer() {
    const lanes = this.find(".lanes");
    let dragging = false;
    const there = (event) => {
      const left = this.find(".ruler").getBoundingClientRect().left;
      this.seek(((event.clientX - left) / this.width) * this.duration);
    };
    this.on(lanes, "pointerdown", (event) => {
      if (event.button !== 0 || !event.target.closest(".ruler, .strip")) return;
      dragging = true;
      lanes.setPointerCapture(event.pointerId);
      this.find(".ruler").focus({ preventScroll: true, focusVisible: false });
      event.preventDefault();
      there(event);
    });
    this.on(lanes, "pointermove", (event) => dragging && there(event));
    this.on(lanes, "pointerup pointercancel", () => (dragging = false));
  }

  // --- time

  playingChanged() {
    const { playing } = this.clock;
    this.root.classList.toggle("playing", playing);
    this.find(".play").setAttribute("aria-label", playing ? "Pause" : "Play");
    if (playing) this.loop();
    else this.reportMoment();
    this.paint();
  }

  loop() {
    cancelAnimationFrame(this.request);
    const next = () => {
      this.clock.tick();
      this.paint();
      if (this.clock.playing) this.request = requestAnimationFrame(next);
    };
    this.request = requestAnimationFrame(next);
  }

  later(act) {
    cancelAnimationFrame(this.pending);
    this.pending = requestAnimationFrame(act);
  }

  paint() {
    if (!this.width) return;
    const time = this.clock.now();
    if (this.scalp) this.scalp.show(time);
    this.paintPicture(time);
    const { begin } = this.header;
    const words = `${(begin + time).toFixed(2)} / ${(begin + this.duration).toFixed(2)} s`;
    if (words !== this.words) {
      this.find(".time").textContent = this.words = words;
      const ruler = this.find(".ruler");
      ruler.setAttribute("aria-valuemin", begin.toFixed(2));
      ruler.setAttribute("aria-valuemax", (begin + this.duration).toFixed(2));
      ruler.setAttribute("aria-valuenow", (begin + time).toFixed(2));
      ruler.setAttribute("aria-valuetext", `${(begin + time).toFixed(2)} seconds`);
    }
    // Last, with the current time, as drawing the rest takes time.
    const x = (this.clock.now() / this.duration) * this.width;
    this.find(".cursor").style.transform = `translateX(${x}px)`;
  }

  // Report the time to Python, once the playhead rests.
  reportMoment() {
    clearTimeout(this.reporting);
    this.reporting = setTimeout(() => {
      const time = Number((this.header.begin + this.clock.now()).toFixed(3));
      const unchanged = this.reported === undefined ? time === this.header.begin : time === this.reported;
      if (this.clock.playing || unchanged) return;
      this.reported = time;
      this.report("moment", { id: this.header.id, time });
    }, REPORT_AFTER);
  }

  close() {
    this.listeners.abort();
    this.sizes.disconnect();
    cancelAnimationFrame(this.request);
    cancelAnimationFrame(this.pending);
    clearTimeout(this.reporting);
    clearTimeout(this.timer);
    this.clock.close();
  }
}

const players = new WeakMap(); // by the parent element; Streamlit calls the component on every rerun

export default function ({ data, parentElement, setStateValue }) {
  const { header } = unpack(data);
  let player = players.get(parentElement);
  const same = player && player.header.id === header.id && player.header.media?.url === header.media?.url;
  if (same) {
    player.report = setStateValue;
  } else {
    if (player) player.close();
    player = new Player(parentElement.querySelector(".player"), data, setStateValue);
    players.set(parentElement, player);
  }
  // The cleanup of an outdated call must not close a player that a newer call uses.
  const call = (player.call = (player.call || 0) + 1);
  return () => {
    if (players.get(parentElement) !== player || player.call !== call) return;
    player.close();
    players.delete(parentElement);
  };
}
