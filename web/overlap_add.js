// Segments of a song, and their stems joined by overlap-add: the same places and weights as
// tfswa_unet/inference/overlap_add.py, whose figure says what context and fade are.

/** Lengths in samples, from what the model's file says in seconds; the context is a quarter of the overlap. */
export function segmentation({ rate, segment_seconds: segment, overlap_seconds: overlap }) {
  const [size, shared, context] = [segment, overlap, overlap / 4].map((seconds) => Math.trunc(seconds * rate));
  const fade = shared - 2 * context;
  // Hann-shaped, so that the weights of two neighbours sum to one.
  const rise = Float32Array.from({ length: fade }, (_, i) => Math.sin((Math.PI / 2) * ((i + 0.5) / fade)) ** 2);
  return { size, overlap: shared, context, fade, hop: size - shared, rise };
}

/**
 * Where the segments of a song lie: the model sees `size` samples from `start`, of which `length` from `skip` are kept.
 * The last one slides back to end with the song; a song shorter than one segment is filled up with zeros.
 */
export function places(total, { size, overlap, hop }) {
  if (total === 0) return [];
  if (total < size) return [{ start: 0, skip: 0, length: total }];
  const found = [];
  let start = 0;
  for (; start + size <= total; start += hop) found.push({ start, skip: 0, length: size });
  const rest = total - start;
  if (rest > overlap) found.push({ start: total - size, skip: size - rest, length: rest });
  return found;
}

/** Put the kept samples of a segment into a stem's, cross-faded with what the segment before left there. */
export function add(stem, kept, position, { context, fade, rise }) {
  if (position === 0) {
    stem.set(kept);
    return;
  }
  const from = position + context;
  for (let i = 0; i < fade; i++) {
    stem[from + i] += (kept[context + i] - stem[from + i]) * rise[i];
  }
  stem.set(kept.subarray(context + fade), from + fade);
}
