// Stems as wav files of 32-bit floats, as `tfswa separate` writes them.

const FLOAT = 3; // format tag

/** A wav file of channels (Float32Array each) at a rate in Hz. */
export function wav(channels, rate) {
  const [width, length] = [4 * channels.length, channels[0].length];
  const bytes = new ArrayBuffer(58 + width * length);
  const view = new DataView(bytes);
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, 'RIFF');
  view.setUint32(4, bytes.byteLength - 8, true);
  text(8, 'WAVEfmt ');
  view.setUint32(16, 18, true);
  view.setUint16(20, FLOAT, true);
  view.setUint16(22, channels.length, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * width, true);
  view.setUint16(32, width, true);
  view.setUint16(34, 32, true);
  text(38, 'fact');
  view.setUint32(42, 4, true);
  view.setUint32(46, length, true);
  text(50, 'data');
  view.setUint32(54, width * length, true);
  for (let i = 0, at = 58; i < length; i++) {
    for (const channel of channels) {
      view.setFloat32(at, channel[i], true);
      at += 4;
    }
  }
  return new Blob([bytes], { type: 'audio/wav' });
}
