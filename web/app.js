// The page: a song is chosen, decoded, separated in the worker and handed to the mixer.

import { Mixer, clock } from './mixer.js';
import { add, segmentation } from './overlap_add.js';

const part = (id) => document.getElementById(id);
const worker = new Worker('./worker.js', { type: 'module' });

export let mixer = null; // of the song that is there
let facts = null; // of the model, once it is open
let job = null; // what is under way: { id, name, stems, plan, started }
let jobs = 0;

worker.onmessage = ({ data }) => {
  if (data.kind === 'ready') ready(data);
  else if (data.kind === 'failed' && (data.job === undefined || data.job === job?.id)) fail(data.reason);
  else if (data.job !== job?.id) return;
  else if (data.kind === 'segment') arrived(data);
  else if (data.kind === 'done') finish(data.seconds);
};
worker.onerror = (event) => fail(event.message ?? 'The worker that separates could not be started.');

part('file').onchange = ({ target }) => {
  if (target.files.length) separate(target.files[0]);
  target.value = ''; // so that the same song can be chosen again
};
part('cancel').onclick = () => {
  worker.postMessage({ kind: 'cancel' });
  end('Stopped.');
  part('file').focus();
};
for (const kind of ['dragover', 'dragleave', 'drop']) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    part('drop').classList.toggle('over', kind === 'dragover');
    if (kind === 'drop' && facts && event.dataTransfer.files.length) separate(event.dataTransfer.files[0]);
  });
}

async function open() {
  const answer = await fetch('./model.onnx');
  if (!answer.ok) throw new Error('The model is not there: run make web.');
  const model = await answer.arrayBuffer();
  worker.postMessage({ kind: 'open', model }, [model]);
}

function ready({ facts: found, how }) {
  facts = found;
  part('file').disabled = false;
  part('engine').textContent = `${facts.name}, ${facts.rate} Hz, by ${how}`;
  say(`Ready: it gives ${facts.stems.join(', ')}.`);
}

/** Separate a file; what was under way or there before ends. */
async function separate(file) {
  worker.postMessage({ kind: 'cancel' });
  mixer?.close();
  mixer = null;
  part('error').hidden = part('mixer').hidden = true;
  const id = ++jobs;
  const name = file.name.replace(/\.[^.]*$/, '');
  job = { id, name };
  part('song').textContent = name;
  part('work').hidden = false;
  part('progress').removeAttribute('value');
  part('left').textContent = '';
  say(`Reading ${name}.`);
  try {
    const song = await decode(file, facts);
    if (job?.id !== id) return;
    const { numberOfChannels: width, length } = song;
    const stems = facts.stems.map((stem) => ({ name: stem, buffer: new AudioBuffer(shape(width, length)) }));
    job = { id, name, stems, plan: segmentation(facts), started: performance.now() };
    const channels = Array.from({ length: width }, (_, c) => song.getChannelData(c).slice());
    say(`Separating ${name}, ${clock(song.duration)} long.`);
    worker.postMessage({ kind: 'separate', job: id, channels }, channels.map((channel) => channel.buffer));
  } catch (error) {
    if (job?.id === id) fail(error.message);
  }
}

function shape(numberOfChannels, length) {
  return { numberOfChannels, length, sampleRate: facts.rate };
}

/** A file's audio at the model's rate. */
async function decode(file, { rate, channels }) {
  const bytes = await file.arrayBuffer();
  const song = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes).catch(() => {
    throw new Error(`${file.name} cannot be read by this browser: choose a wav, flac, mp3, m4a or ogg file.`);
  });
  if (![1, channels].includes(song.numberOfChannels)) {
    const found = song.numberOfChannels;
    throw new Error(`${file.name} has ${found} channels, the model separates ${channels} (or 1): mix it down first.`);
  }
  return song;
}

function arrived({ position, stems, done, total }) {
  stems.forEach((stem, index) => {
    stem.forEach((kept, c) => add(job.stems[index].buffer.getChannelData(c), kept, position, job.plan));
  });
  Object.assign(part('progress'), { max: total, value: done });
  const left = ((performance.now() - job.started) / 1000 / done) * (total - done);
  part('left').textContent = `${Math.round((100 * done) / total)} %, ${clock(Math.ceil(left))} left`;
}

function finish(seconds) {
  const { name, stems } = job;
  part('mixer').hidden = false;
  part('mixer').dataset.seconds = seconds;
  part('title').textContent = name;
  mixer = new Mixer(part('mixer'), name, stems);
  end(`${name} is separated, in ${seconds.toFixed(1)} s.`);
  part('mixer').querySelector('[data-part=play]').focus();
}

function fail(reason) {
  part('error').textContent = reason;
  part('error').hidden = false;
  end('');
}

function end(text) {
  job = null;
  part('work').hidden = true;
  say(text);
}

function say(text) {
  part('status').textContent = text;
}

/** After this the page works offline; it reloads once where only that gives it threads, as on hosts that set no headers. */
async function keep() {
  if (!navigator.serviceWorker) return;
  navigator.serviceWorker.addEventListener('controllerchange', () => {
    if (!self.crossOriginIsolated && !job && !mixer) location.reload();
  });
  await navigator.serviceWorker.register('./sw.js');
  await navigator.serviceWorker.ready;
  part('offline').hidden = false;
}

open().catch((error) => fail(error.message));
keep().catch((error) => console.log(`The page will not work offline: ${error.message}`));
