// The scalp at one moment: the power of one band, or a map's values, interpolated between the electrodes.

const STEPS = 20; // per second, as in data/eeg/bandpower.py
const SIDE = 56; // cells along a side, as in data/eeg/scalp.py
const NAMED = 40; // electrodes whose names do not overlap
const DEVIATIONS = 2.5; // z values of the full colours

class Scalp {
  constructor(figure, header, arrays) {
    Object.assign(this, { figure, arrays, eeg: header.eeg, map: header.eeg.scalp, overlay: null, shown: "" });
    this.canvas = figure.querySelector(".field");
    this.field = picture(SIDE, SIDE, () => [0, 0, 0, 0]);
    this.image = this.field.getContext("2d").createImageData(SIDE, SIDE);
    this.outline();
  }

  // map: what is shown instead of a band, or null.
  choose(band, unit, map) {
    this.overlay = map;
    if (map) return this.chooseMap(map);
    this.band = Math.max(0, this.eeg.bands.indexOf(band));
    this.unit = unit;
    this.shown = "";
    const [, channels, steps] = this.arrays.power.shape;
    const [low, high] = this.eeg.ranges[this.band];
    this.decibel = (channel, step) =>
      low + ((high - low) * this.arrays.power.values[(this.band * channels + channel) * steps + step]) / 255;
    if (unit === "z") {
      this.means = this.map.electrodes.map((channel) => moments(steps, (step) => this.decibel(channel, step)));
      this.range = [-DEVIATIONS, DEVIATIONS];
    } else {
      const all = this.map.electrodes.flatMap((c) => Array.from({ length: steps }, (_, s) => this.decibel(c, s)));
      all.sort((a, b) => a - b);
      this.range = [all[Math.floor(0.02 * all.length)], all[Math.min(all.length - 1, Math.floor(0.98 * all.length))]];
    }
    this.colours = unit === "z" ? DIVERGING : CIVIDIS;
    const [least, most] = this.figure.querySelectorAll(".bar span");
    const words = unit === "z" ? ["−2.5 SD", "+2.5 SD"] : this.range.map((v) => `${v.toFixed(0).replace("-", "−")} dB`);
    [least.textContent, most.textContent] = words;
    this.figure.querySelector(".bar i").style.background = `linear-gradient(to top, ${gradient(this.colours)})`;
  }

  chooseMap(map) {
    this.shown = "";
    const [least, most] = this.figure.querySelectorAll(".bar span");
    least.textContent = map.signed ? rounded(-map.limit) : "0";
    most.textContent = rounded(map.limit);
    this.figure.querySelector(".bar i").style.background = barColours(map, "to top");
  }

  values(time) {
    const steps = this.arrays.power.shape[2];
    const step = Math.min(Math.max(Math.round(time * STEPS), 0), steps - 1);
    return this.map.electrodes.map((channel, n) => {
      const decibel = this.decibel(channel, step);
      return this.unit === "z" ? (decibel - this.means[n].mean) / this.means[n].deviation : decibel;
    });
  }

  show(time) {
    const moment = this.overlay ? stepAt(this.overlay.spans, time) : Math.round(time * STEPS);
    if (moment === this.shown) return;
    this.shown = moment;
    const size = this.canvas.parentElement.clientWidth;
    if (this.overlay) {
      const first = moment * this.overlay.shape[1];
      const values = this.map.electrodes.map((channel) => (moment < 0 ? 0 : this.overlay.values[first + channel]));
      this.interpolate(values, signed);
      this.drawField(sized(this.canvas, size, size), size);
      return;
    }
    const [low, high] = this.range;
    const span = high - low || 1;
    this.interpolate(this.values(time), (value) => {
      const colour = 3 * Math.min(255, Math.max(0, Math.round(((value - low) / span) * 255)));
      return [this.colours[colour], this.colours[colour + 1], this.colours[colour + 2], 255];
    });
    this.drawField(sized(this.canvas, size, size), size);
  }

  // Fills this.field with paint(value) of the interpolated values.
  interpolate(values, paint) {
    const { weights, cells } = this.arrays;
    const count = values.length;
    for (let cell = 0; cell < cells.values.length; cell++) {
      let sum = 0;
      for (let n = 0; n < count; n++) sum += weights.values[cell * count + n] * values[n];
      this.image.data.set(paint(sum * this.map.weight), 4 * cells.values[cell]);
    }
    this.field.getContext("2d").putImageData(this.image, 0, 0);
  }

  drawField(context, size) {
    context.save();
    context.beginPath();
    context.arc(size / 2, size / 2, (size / 2) * 0.97, 0, 2 * Math.PI);
    context.clip();
    context.drawImage(this.field, 0, 0, size, size);
    context.restore();
  }

  // Head, nose, ears and electrodes from above, in head radii.
  outline() {
    const { extent, positions } = this.map;
    const svg = this.figure.querySelector("svg");
    svg.setAttribute("viewBox", `${-extent} ${-extent} ${2 * extent} ${2 * extent}`);
    const dots = positions.map(([x, y]) => `<circle class="dot" cx="${x}" cy="${-y}" r="0.028"/>`).join("");
    svg.innerHTML =
      '<circle class="line" r="1"/><path class="line" d="M-0.16 -0.985 L0 -1.17 L0.16 -0.985"/>' +
      '<path class="line" d="M-0.985 -0.18 Q-1.12 -0.16 -1.1 0 Q-1.12 0.16 -0.985 0.18"/>' +
      '<path class="line" d="M0.985 -0.18 Q1.12 -0.16 1.1 0 Q1.12 0.16 0.985 0.18"/>' + dots;
    if (positions.length > NAMED) return;
    const names = positions.map(([x, y], n) => {
      const name = document.createElementNS("http://www.w3.org/2000/svg", "text");
      for (const [key, value] of Object.entries({ class: "electrode", x, y: 0.12 - y })) name.setAttribute(key, value);
      name.textContent = this.eeg.channels[this.map.electrodes[n]];
      return name;
    });
    svg.append(...names);
  }
}

function moments(count, at) {
  let [sum, squares] = [0, 0];
  for (let n = 0; n < count; n++) sum += at(n);
  const mean = sum / count;
  for (let n = 0; n < count; n++) squares += (at(n) - mean) ** 2;
  return { mean, deviation: Math.sqrt(squares / count) || 1 };
}
