// The model in a thread of its own: a song's channels come in, its stems go back segment by segment.

import { readFacts } from './metadata.js';
import { places, segmentation } from './overlap_add.js';
import { openModel } from './runtime.js';

let opened = null; // { facts, run }
let current = 0; // the job that is wanted
let queue = Promise.resolve(); // one thing after the other, as a session runs one segment at a time

self.onmessage = ({ data }) => {
  current = data.kind === 'separate' ? data.job : 0;
  if (data.kind === 'cancel') return;
  const work = data.kind === 'open' ? () => open(data.model) : () => separate(data.job, data.channels);
  queue = queue.then(work).catch((error) => {
    self.postMessage({ kind: 'failed', job: data.job, reason: error.message ?? String(error) });
  });
};

async function open(model) {
  const facts = readFacts(model);
  const { run, how } = await openModel(model, facts.channels, facts.rate);
  opened = { facts, run };
  self.postMessage({ kind: 'ready', facts, how });
}

/** Separate channels (c, t), one of which is given to all of the model's. */
async function separate(job, channels) {
  if (current !== job) return;
  const plan = segmentation(opened.facts);
  const found = places(channels[0].length, plan);
  const started = performance.now();
  for (const [index, place] of found.entries()) {
    const stems = await separated(channels, place, plan.size);
    await new Promise((resolve) => setTimeout(resolve)); // for what was sent meanwhile
    if (current !== job) return;
    const [done, total] = [index + 1, found.length];
    const message = { kind: 'segment', job, position: index * plan.hop, stems, done, total };
    self.postMessage(message, stems.flat().map((channel) => channel.buffer));
  }
  self.postMessage({ kind: 'done', job, seconds: (performance.now() - started) / 1000 });
}

/** The kept samples of a segment's stems, by stem and channel; silence stays silent without the model. */
async function separated(channels, { start, skip, length }, size) {
  const { facts, run } = opened;
  const mixture = new Float32Array(facts.channels * size);
  for (let c = 0; c < facts.channels; c++) {
    mixture.set(channels[c % channels.length].subarray(start, start + size), c * size);
  }
  const loud = mixture.some((sample) => sample !== 0);
  const output = loud ? await run(mixture) : new Float32Array(facts.stems.length * mixture.length);
  const kept = (stem, c) => {
    const at = (stem * facts.channels + c) * size + skip;
    return output.slice(at, at + length);
  };
  const stems = facts.stems.map((_, stem) => Array.from({ length: facts.channels }, (_, c) => kept(stem, c)));
  if (!stems.every((stem) => stem.every((channel) => channel.every(Number.isFinite)))) {
    throw new Error('The model gave samples that are not finite: reload the page, or use another model.');
  }
  return channels.length === 1 ? stems.map(mean) : stems;
}

function mean(stem) {
  return [stem[0].map((_, i) => stem.reduce((sum, channel) => sum + channel[i], 0) / stem.length)];
}
