// The static lanes under the cursor: waveform, spectrogram, EEG traces, ruler.

const GRID = "rgba(128, 128, 128, 0.25)";

// Tick marks every 0.1 s to 5 min, as many as there is space for their labels.
function ticks(begin, duration, width) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300];
  const step = steps.find((s) => (s / duration) * width >= 52) || 600;
  const marks = [];
  for (let n = 0; n * step <= duration + 1e-6; n++) {
    const digits = step < 1 ? 1 : 0;
    marks.push({ time: n * step, text: (begin + n * step).toFixed(digits) });
  }
  return marks;
}

function grid(context, player, width, height) {
  context.fillStyle = GRID;
  for (const { time } of ticks(0, player.duration, width)) {
    context.fillRect(Math.round((time / player.duration) * width), 0, 1, height);
  }
}

function drawWave(canvas, player, width, height) {
  const context = sized(canvas, width, height);
  grid(context, player, width, height);
  const { low, high } = player.arrays;
  const span = (player.header.audio.duration / player.duration) * width;
  const count = low.values.length;
  const y = (value) => (height / 2) * (1 - (0.96 * value) / 32767);
  context.fillStyle = player.maps.active("waveform") ? "rgba(128, 128, 128, 0.8)" : player.header.colours.audio;
  context.beginPath();
  context.moveTo(0, y(high.values[0]));
  for (let n = 0; n < count; n++) context.lineTo(((n + 0.5) / count) * span, y(high.values[n]) - 0.5);
  for (let n = count - 1; n >= 0; n--) context.lineTo(((n + 0.5) / count) * span, y(low.values[n]) + 0.5);
  context.fill();
}

function drawSpectrogram(canvas, player, width, height) {
  const context = sized(canvas, width, height);
  if (!player.arrays.logmel) return;
  const { values, shape } = player.arrays.logmel;
  const [times, mels] = shape;
  const colours = player.maps.active("spectrogram") ? GREYS : CIVIDIS; // a map's colours must not mix with others
  const drawn = picture(times, mels, (column, row) => {
    const colour = 3 * values[column * mels + (mels - 1 - row)];
    return [colours[colour], colours[colour + 1], colours[colour + 2], 255];
  });
  context.imageSmoothingEnabled = false;
  context.drawImage(drawn, 0, 0, (player.header.audio.duration / player.duration) * width, height);
}

// µV from one channel's line to the next, at a gain of 1.
function spacing(eeg) {
  return 2 * eeg.spread;
}

function drawTraces(canvas, player, width, rowHeight, gain) {
  const eeg = player.header.eeg;
  const [channels, samples] = player.arrays.eeg.shape;
  const height = channels * rowHeight;
  const context = sized(canvas, width, height);
  grid(context, player, width, height);
  const values = player.arrays.eeg.values;
  const step = ((eeg.duration / player.duration) * width) / samples; // pixels per sample
  const every = Math.max(1, Math.floor(0.5 / step)); // samples in half a pixel: their extremes are drawn
  context.strokeStyle = player.maps.active("eeg") ? getComputedStyle(player.root).color : player.header.colours.eeg;
  context.lineWidth = 1;
  for (let channel = 0; channel < channels; channel++) {
    const factor = (eeg.scale[channel] * gain * rowHeight) / spacing(eeg);
    const middle = (channel + 0.5) * rowHeight;
    const first = channel * samples;
    context.beginPath();
    for (let n = 0; n < samples; n += every) {
      let [low, high] = [values[first + n], values[first + n]];
      for (let k = n + 1; k < Math.min(n + every, samples); k++) {
        const value = values[first + k];
        if (value < low) low = value;
        if (value > high) high = value;
      }
      context.lineTo((n + 0.5) * step, middle - high * factor);
      if (high !== low) context.lineTo((n + 0.5) * step, middle - low * factor);
    }
    context.stroke();
  }
}
