// The maps over the lanes: which of them are shown, how strongly, and their colour bars.

const GREYS = ramp("1c1c1c f2f2f2");
const keptMaps = { opacity: null, off: new Set() }; // settings for the next player

class Maps {
  constructor(player) {
    this.player = player;
    this.find = player.find;
    this.off = new Set(keptMaps.off);
    this.strength = keptMaps.opacity;
    this.take(player.header, player.arrays);
  }

  // Shows other maps of the same recording; time and playback stay.
  take(header, arrays) {
    this.list = header.overlays.map((overlay, n) => ({
      ...overlay,
      values: arrays[`overlay${n}`].values,
      shape: arrays[`overlay${n}`].shape,
      spans: arrays[`overlay${n}spans`].values,
      boxes: arrays[`overlay${n}boxes`]?.values,
    }));
    this.drawn = "";
    const failed = this.find(".failed-note");
    failed.textContent = this.list.length ? header.failed || "" : "";
    this.player.root.classList.toggle("failed", Boolean(failed.textContent));
    this.openControls();
  }

  openControls() {
    const labels = [...new Set(this.list.map((overlay) => overlay.label))];
    const boxes = labels.map((name) => {
      const [label, box] = [document.createElement("label"), document.createElement("input")];
      Object.assign(box, { type: "checkbox", checked: !this.off.has(name) });
      label.append(box, ` ${name}`);
      box.addEventListener("change", () => this.turn([name], box.checked));
      return label;
    });
    const title = Object.assign(document.createElement("b"), { textContent: labels.length ? "Maps" : "" });
    this.find(".overlays").replaceChildren(title, ...boxes);
    const strength = this.find(".opacity");
    strength.hidden = !labels.length;
    const slider = strength.querySelector("input");
    slider.value = 100 * (this.strength ?? this.list[0]?.opacity ?? 0.6);
    slider.oninput = () => {
      this.strength = keptMaps.opacity = Number(slider.value) / 100;
      this.draw();
      this.player.paint();
    };
  }

  turn(names, on) {
    for (const name of names) for (const off of [this.off, keptMaps.off]) on ? off.delete(name) : off.add(name);
    this.player.openBands();
    this.player.layOut();
  }

  // All off if one is on, else all on.
  toggle() {
    const labels = this.list.map((overlay) => overlay.label);
    this.turn(labels, !labels.some((name) => !this.off.has(name)));
    this.openControls();
  }

  all(lane) {
    return this.list.filter((overlay) => overlay.lane === lane && !this.off.has(overlay.label));
  }

  active(lane) {
    return this.all(lane)[0];
  }

  opacity(overlay) {
    return this.strength ?? overlay.opacity;
  }

  // Draws the maps of the lanes with a time axis, and the colour bars.
  draw() {
    const { player } = this;
    const channels = player.header.eeg?.channels.length || 0;
    const heights = { waveform: 56, spectrogram: 96, eeg: (player.row || 0) * channels };
    for (const [lane, height] of Object.entries(heights)) {
      const [place, overlay] = [player.lane(lane), this.active(lane)];
      const canvas = place.querySelector(".over");
      canvas.hidden = !overlay;
      showBar(place.querySelector(".key"), overlay);
      if (!overlay) continue;
      canvas.style.opacity = this.opacity(overlay);
      drawOverTime(canvas, player, overlay, player.width, height, lane === "spectrogram");
    }
    showBar(this.find(".picture .key"), this.active("video"));
    this.drawn = "";
  }

  paintPicture(time) {
    const { player } = this;
    const [figure, canvas, overlay] = [this.find(".picture"), this.find(".picture .over"), this.active("video")];
    const shown = player.shownPicture();
    const step = overlay ? stepAt(overlay.spans, time) : -1;
    figure.classList.toggle("grey", Boolean(overlay));
    canvas.hidden = step < 0 || shown.hidden;
    if (canvas.hidden) return;
    const [width, height] = [shown.videoWidth || shown.naturalWidth || shown.width, shown.videoHeight || shown.naturalHeight || shown.height];
    if (!width) return;
    const scale = Math.min(shown.clientWidth / width, shown.clientHeight / height);
    canvas.style.left = `${shown.offsetLeft + (shown.clientWidth - width * scale) / 2}px`;
    canvas.style.top = `${shown.offsetTop + (shown.clientHeight - height * scale) / 2}px`;
    canvas.style.opacity = this.opacity(overlay);
    const state = `${step} ${width * scale} ${height * scale}`;
    if (state === this.drawn) return;
    this.drawn = state;
    drawOverPicture(canvas, overlay, step, width * scale, height * scale);
  }
}

// The step (start, stop, start, stop, ...) that a time falls into, or -1.
function stepAt(spans, time) {
  for (let n = 0; n < spans.length; n += 2) if (time >= spans[n] && time < spans[n + 1]) return n / 2;
  return spans.length && time === spans[spans.length - 1] ? spans.length / 2 - 1 : -1;
}

function showBar(place, overlay) {
  place.hidden = !(overlay && overlay.unit);
  if (place.hidden) return;
  const [least, bar, most] = place.children;
  least.textContent = overlay.signed ? rounded(-overlay.limit) : "0";
  most.textContent = `${rounded(overlay.limit)} ${overlay.unit}`;
  bar.style.background = barColours(overlay, "to right");
}

function barColours(overlay, direction) {
  const [red, blue] = [RED, BLUE].map((colour) => `rgb(${colour.join(" ")})`);
  return `linear-gradient(${direction}, ${overlay.signed ? `${blue}, ` : ""}transparent, ${red})`;
}

function rounded(value) {
  const size = Math.abs(value);
  const digits = size !== 0 && (size < 0.001 || size >= 10000) ? value.toExponential(1) : String(Number(value.toPrecision(2)));
  return digits.replace("-", "−");
}

// Draws a map (time, row) of a lane with a time axis; flipped: row 0 is at the bottom.
function drawOverTime(canvas, player, overlay, width, height, flipped) {
  const context = sized(canvas, width, height);
  const { values, shape, spans } = overlay;
  const rows = shape[1] || 1;
  const drawn = picture(shape[0], rows, (column, row) => signed(values[column * rows + (flipped ? rows - 1 - row : row)]));
  const x = (time) => (Math.min(Math.max(time, 0), player.duration) / player.duration) * width;
  context.imageSmoothingEnabled = false;
  for (let n = 0; n < shape[0]; n++) {
    const left = x(spans[2 * n]);
    context.drawImage(drawn, n, 0, 1, rows, left, 0, x(spans[2 * n + 1]) - left, height);
  }
}

// Draws one step of a map (time, height, width) over the frame that fills the canvas.
function drawOverPicture(canvas, overlay, step, width, height) {
  const context = sized(canvas, width, height);
  const [, rows, columns] = overlay.shape;
  const first = step * rows * columns;
  const drawn = picture(columns, rows, (column, row) => signed(overlay.values[first + row * columns + column]));
  const side = Math.min(width, height);
  let box = [(width - side) / 2, (height - side) / 2, side, side];
  if (overlay.boxes) {
    const [left, top, right, bottom] = overlay.boxes.subarray(4 * step, 4 * step + 4);
    box = [left * width, top * height, (right - left) * width, (bottom - top) * height];
  }
  context.drawImage(drawn, ...box);
}
