// Colours, canvases, and reading the block of bytes that Python sends.

const TYPES = { int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, float32: Float32Array };

// {header, arrays: {name: {values, shape}}} of the bytes made by packing.py.
function unpack(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  const arrays = {};
  for (const [name, { type, at, shape }] of Object.entries(header.arrays)) {
    const count = shape.reduce((a, b) => a * b, 1);
    const begin = bytes.byteOffset + 8 + length + at;
    const end = begin + count * TYPES[type].BYTES_PER_ELEMENT;
    arrays[name] = { values: new TYPES[type](bytes.buffer.slice(begin, end)), shape };
  }
  return { header, arrays };
}

// 256 colours (r, g, b one after the other) through equally spaced anchors "rrggbb".
function ramp(anchors) {
  const points = anchors.split(" ").map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const colours = new Uint8Array(768);
  for (let n = 0; n < 256; n++) {
    const position = (n / 255) * (points.length - 1);
    const below = Math.min(Math.floor(position), points.length - 2);
    for (let c = 0; c < 3; c++) {
      colours[3 * n + c] = points[below][c] + (position - below) * (points[below + 1][c] - points[below][c]);
    }
  }
  return colours;
}

const CIVIDIS = ramp("00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838");
const DIVERGING = ramp("053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f");
const [RED, BLUE] = [[202, 0, 32], [5, 113, 176]];

function gradient(colours) {
  const stops = [0, 32, 64, 96, 128, 160, 192, 224, 255];
  return stops.map((n) => `rgb(${colours[3 * n]} ${colours[3 * n + 1]} ${colours[3 * n + 2]})`).join(", ");
}

// Size a canvas in CSS pixels and give its context, cleared and scaled to the screen's pixels.
function sized(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

// A canvas of columns x rows pixels; paint(column, row) gives [r, g, b, alpha 0..255].
function picture(columns, rows, paint) {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      image.data.set(paint(column, row), 4 * (row * columns + column));
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// The colour of a map's value -127..127: none at zero, full at the ends.
function signed(value) {
  return [...(value > 0 ? RED : BLUE), Math.min(255, 2 * Math.abs(value))];
}
