// Waveforms: the lowest and highest sample of every column of pixels.

/** Draw the channels of a stem, all in one, up to a peak, as large as the canvas is shown, in the colour of its text. */
export function drawWaveform(canvas, channels, peak) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((size) => Math.round(size * scale));
  if (width === 0 || height === 0) return;
  Object.assign(canvas, { width, height });
  const pen = canvas.getContext('2d');
  pen.fillStyle = getComputedStyle(canvas).color;
  const middle = height / 2;
  for (let x = 0; x < width; x++) {
    const [low, high] = extremes(channels, x / width, (x + 1) / width).map((sample) => (sample / peak) * middle);
    pen.fillRect(x, middle - high, 1, Math.max(scale, high - low));
  }
}

/** Lowest and highest sample between two parts of the length, 0 to 1; long stretches are looked at in a thousand places. */
function extremes(channels, from, to) {
  let [low, high] = [0, 0];
  for (const samples of channels) {
    const [first, last] = [Math.floor(from * samples.length), Math.ceil(to * samples.length)];
    const step = Math.max(1, Math.floor((last - first) / 1000));
    for (let i = first; i < last; i += step) {
      if (samples[i] < low) low = samples[i];
      if (samples[i] > high) high = samples[i];
    }
  }
  return [low, high];
}

/** The largest magnitude in several stems' channels, at least that of −60 dB full scale. */
export function peakOf(stems) {
  let peak = 0.001;
  for (const samples of stems.flat()) {
    for (let i = 0; i < samples.length; i++) peak = Math.max(peak, Math.abs(samples[i]));
  }
  return peak;
}
