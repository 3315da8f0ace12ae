// The player: its media and lanes, keys and pointer, and the loop that moves the cursor.

const RETRIES = [800, 3000]; // milliseconds, as a session that lost its connection briefly gets its files again
const REPORT_AFTER = 300; // milliseconds without another seek before the time is reported to Python
const kept = { map: 0, band: "alpha", unit: "dB", rate: "1", sound: true, gain: 1 }; // settings for the next trial
const MAP = "map "; // and its number, instead of a band

const opened = (globalThis.eavdashPlayers ??= new Map()); // players of this page by name
const OPENED = "eavdash-player-opened";

class Player {
  // block: header and arrays; leader: the player whose recording and clock it shares, or undefined.
  constructor(root, block, report, leader) {
    Object.assign(this, { root, report, block, leader });
    this.header = leader ? { ...leader.header, ...block.header } : block.header;
    this.arrays = leader ? { ...leader.arrays, ...block.arrays } : block.arrays;
    const { header } = this;
    this.followers = new Set();
    this.listeners = new AbortController();
    this.find = (selector) => root.querySelector(selector);
    this.duration = header.duration || 1;
    this.gain = kept.gain;
    this.built = performance.now();
    root.setAttribute("aria-label", `Player: ${header.title}`);
    root.classList.toggle("follows", Boolean(leader));
    delete root.dataset.canplay;
    if (leader) this.openMirror();
    else this.openMedia();
    this.maps = new Maps(this);
    this.openScalp();
    this.openLanes();
    this.openTransport();
    this.openPointer();
    this.goTo(header.seek);
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
    this.find(".picture .mirror").hidden = true;
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

  // The picture of another player, and its clock.
  openMirror() {
    const { leader } = this;
    for (const name of ["video", "audio"]) this.find(`.picture ${name}`).hidden = true;
    const [still, mirror] = [this.find(".picture img"), this.find(".picture .mirror")];
    mirror.hidden = !leader.video;
    still.hidden = !this.header.image;
    if (this.header.image) still.src = this.header.image;
    this.on(still, "load", () => this.paint());
    this.find(".picture").hidden = mirror.hidden && still.hidden;
    this.find(".media-note").textContent = "";
    Object.assign(this, { clock: leader.clock, frame: leader.frame, video: null });
    leader.followers.add(this);
  }

  paintMirror() {
    const [from, mirror] = [this.leader.video, this.find(".picture .mirror")];
    if (!from || !from.videoWidth) return;
    const width = Math.min(this.find(".picture").clientWidth, (360 * from.videoWidth) / from.videoHeight);
    const height = (width * from.videoHeight) / from.videoWidth;
    sized(mirror, width, height).drawImage(from, 0, 0, width, height);
  }

  // The element that shows the picture, for its place on the screen.
  shownPicture() {
    const mirror = this.find(".picture .mirror");
    return this.video || (this.leader && !mirror.hidden ? mirror : this.find(".picture img"));
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
    this.scalp = new Scalp(figure, this.header, this.arrays);
    const [band, unit] = [figure.querySelector(".band"), figure.querySelector(".unit")];
    this.on(figure, "change", () => {
      const map = band.value.startsWith(MAP);
      if (this.maps.active("scalp")) kept.map = map ? Number(band.value.slice(MAP.length)) : -1;
      if (!map && (band.value !== eeg.bands[0] || eeg.bands.includes(kept.band))) kept.band = band.value;
      kept.unit = unit.value;
      this.chooseBand();
    });
    this.openBands();
  }

  // Lists the bands, and the map if there is one.
  openBands() {
    if (!this.scalp) return;
    const { bands } = this.header.eeg;
    const [band, unit] = [this.find(".band"), this.find(".unit")];
    const maps = this.maps.all("scalp").map((map, n) => new Option(`map: ${map.name || map.label}`, `${MAP}${n}`));
    band.replaceChildren(...maps, ...bands.map((name) => new Option(name, name)));
    band.value = kept.map in maps ? `${MAP}${kept.map}` : bands.includes(kept.band) ? kept.band : bands[0];
    unit.value = kept.unit;
    this.chooseBand();
  }

  chooseBand() {
    const [band, unit] = [this.find(".band"), this.find(".unit")];
    const map = band.value.startsWith(MAP) ? this.maps.all("scalp")[Number(band.value.slice(MAP.length))] : null;
    unit.parentElement.hidden = Boolean(map);
    this.find(".map-unit").textContent = map ? map.unit : "";
    this.scalp.choose(band.value, unit.value, map);
    const shown = map ? "The map" : `Power of the ${band.value} band`;
    this.find(".field").setAttribute("aria-label", `${shown} over the head, nose up`);
    this.paint();
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
    const hertz = (audio?.hertz || []).map(([height, text]) => {
      const label = Object.assign(document.createElement("span"), { textContent: text });
      label.style.top = `${100 * (1 - height)}%`;
      return label;
    });
    this.find(".hertz").replaceChildren(...hertz);
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
    this.channels = new Channels(this);
    this.on(this.find(".scroller"), "scroll", () => this.countBelow());
  }

  // Says how many traces are below the edge of the scroller.
  countBelow() {
    const { scrollTop, clientHeight } = this.find(".scroller");
    const count = this.header.eeg.channels.length - Math.floor((scrollTop + clientHeight) / this.row + 0.25);
    this.find(".below").hidden = count <= 0;
    this.find(".below").textContent = `▾ ${count} more ${count === 1 ? "channel" : "channels"} below`;
  }

  setGain(gain) {
    this.gain = kept.gain = Math.min(Math.max(gain, 0.05), 50);
    this.layOut();
  }

  layOut() {
    const lanes = this.find(".lanes");
    const gutter = parseFloat(getComputedStyle(this.find(".cursor")).left);
    this.gutter = gutter;
    this.width = Math.max(40, lanes.getBoundingClientRect().width - gutter - 14);
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
      this.countBelow();
    }
    this.maps.draw();
    this.find(".map-keys").hidden = !this.maps.list.length;
    if (this.scalp) this.scalp.shown = "";
    this.paint();
  }

  // Shows other maps of the same recording.
  takeMaps(block) {
    this.block = block;
    Object.assign(this.header, block.header);
    this.maps.take(this.header, block.arrays); // those alone: an earlier map's boxes are not this one's
    this.openBands();
    this.layOut();
  }

  // --- transport

  openTransport() {
    const [speed, sound] = [this.find(".speed select"), this.find(".sound input")];
    if (this.leader) {
      this.on(this.root, "keydown", (event) => this.key(event));
      return;
    }
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
    const own = this.leader || this;
    own.paint();
    own.reportMoment();
  }

  // Moves the playhead as Python wishes: [number of the wish, time in the trial].
  goTo(wish) {
    if (!wish || wish[0] === this.wish || this.leader) return;
    this.wish = wish[0];
    const time = Math.min(Math.max(wish[1] - this.header.begin, 0), this.duration);
    this.reported = Number((this.header.begin + time).toFixed(3));
    this.clock.seek(time);
    this.paint();
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("select, [type=range]")) return;
    if (event.key === " " && event.target.matches("button, input")) return;
    const inTraces = this.channels && event.target.matches(".scroller");
    const act = {
      " ": () => this.toggle(),
      ArrowLeft: () => (event.shiftKey ? this.seek(this.clock.now() - 1) : this.step(-1)),
      ArrowRight: () => (event.shiftKey ? this.seek(this.clock.now() + 1) : this.step(1)),
      Home: () => this.seek(0),
      End: () => this.seek(this.duration),
      "+": () => this.setGain(this.gain * 1.5),
      "-": () => this.setGain(this.gain / 1.5),
      m: this.maps.list.length && (() => this.maps.toggle()),
      ArrowUp: inTraces && (() => this.channels.move(-1)),
      ArrowDown: inTraces && (() => this.channels.move(1)),
      Escape: inTraces && this.channels.lit >= 0 && (() => this.channels.light(-1)),
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
    if (playing) {
      for (const other of opened.values()) if (!other.leader && other !== this && other.clock.playing) other.clock.pause();
      this.loop();
    } else this.reportMoment();
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
    if (this.leader) this.paintMirror();
    this.maps.paintPicture(time);
    if (this.channels) this.channels.tell(time);
    for (const follower of this.followers) follower.paint();
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
    if (opened.get(this.header.name) === this) opened.delete(this.header.name);
    this.leader?.followers.delete(this);
    this.listeners.abort();
    this.sizes.disconnect();
    cancelAnimationFrame(this.request);
    cancelAnimationFrame(this.pending);
    clearTimeout(this.reporting);
    clearTimeout(this.timer);
    if (!this.leader) this.clock.close();
  }
}

// What Streamlit has called the component with, for one place of the page.
class Place {
  constructor(parent) {
    this.parent = parent;
    this.again = () => this.follow();
    document.addEventListener(OPENED, this.again);
  }

  show(block, report) {
    Object.assign(this, { block, report });
    const { header } = block;
    const [player, old] = [this.player, this.player?.block.header];
    const stays = player && old.name === header.name && old.follows === header.follows;
    if (!stays || (!header.follows && (old.id !== header.id || old.media?.url !== header.media?.url))) this.build();
    else {
      player.report = report;
      if (old.maps !== header.maps || old.failed !== header.failed) player.takeMaps(block);
      player.goTo(header.seek);
    }
  }

  build() {
    this.player?.close();
    const { follows, name } = this.block.header;
    const leader = follows ? opened.get(follows) : undefined;
    const root = this.parent.querySelector(".player");
    root.hidden = Boolean(follows && !leader); // until the other one is there
    this.player = root.hidden ? undefined : new Player(root, this.block, this.report, leader);
    if (!this.player || follows) return;
    opened.set(name, this.player);
    document.dispatchEvent(new CustomEvent(OPENED));
  }

  // A player that was opened may be the one to follow.
  follow() {
    const { follows } = this.block.header;
    if (follows && opened.get(follows) !== this.player?.leader) this.build();
  }

  close() {
    document.removeEventListener(OPENED, this.again);
    this.player?.close();
  }
}

const places = new WeakMap(); // by the parent element; Streamlit calls the component on every rerun

export default function ({ data, parentElement, setStateValue }) {
  let place = places.get(parentElement);
  if (!place) places.set(parentElement, (place = new Place(parentElement)));
  place.show(unpack(data), setStateValue);
  // The cleanup of an outdated call must not close a player that a newer call uses.
  const call = (place.call = (place.call || 0) + 1);
  return () => {
    if (places.get(parentElement) !== place || place.call !== call) return;
    place.close();
    places.delete(parentElement);
  };
}
