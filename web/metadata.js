// What an ONNX file made by `tfswa export` says of its model, which onnxruntime-web does not show.

const METADATA = 14; // field of ModelProto: pairs of key and value
const BYTES = 2; // wire type of what has its length in front

/** The facts under `tfswa`: stems, rate, channels, segment_seconds, overlap_seconds and more; throws for other files. */
export function readFacts(file) {
  for (const [field, value] of fields(new Uint8Array(file))) {
    if (field !== METADATA) continue;
    const pair = Object.fromEntries([...fields(value)].map(([number, text]) => [number, new TextDecoder().decode(text)]));
    if (pair[1] === 'tfswa') return JSON.parse(pair[2]);
  }
  throw new Error('The model does not say which stems it gives: use a file made by tfswa export.');
}

/** Fields of a protobuf message that have bytes, with their numbers; others are passed over. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let [value, scale] = [0, 1];
    for (;;) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error('The model file is damaged.');
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag & 7;
    if (kind === BYTES) {
      const length = varint();
      yield [tag >>> 3, bytes.subarray(at, at + length)];
      at += length;
    } else if (kind === 0) {
      varint();
    } else if (kind === 1 || kind === 5) {
      at += kind === 1 ? 8 : 4;
    } else {
      throw new Error('The model file is damaged.');
    }
  }
}
