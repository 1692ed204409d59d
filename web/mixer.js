// What is seen of the player: a row for each stem, and what starts, stops and moves all of them.

import { Player } from './player.js';
import { wav } from './wav.js';
import { drawWaveform, peakOf } from './waveform.js';

const STEP = 5; // s that a key moves the position by

/** Rows of the stems of a song, in an element that holds the transport; `close` ends what plays. */
export class Mixer {
  constructor(root, song, stems) {
    this.root = root;
    this.part = (name) => root.querySelector(`[data-part=${name}]`);
    this.player = new Player(new AudioContext({ sampleRate: stems[0].buffer.sampleRate }), stems.map((stem) => stem.buffer));
    this.player.onend = () => this.show();
    const seek = this.part('seek');
    Object.assign(seek, { max: this.player.duration, step: 'any', value: 0 });
    seek.oninput = () => this.seek(seek.valueAsNumber);
    seek.onkeydown = (event) => this.step(event);
    this.part('play').onclick = () => this.toggle();
    const list = this.part('stems');
    list.replaceChildren(...stems.map((stem, index) => this.row(song, stem, index)));
    this.peak = peakOf(stems.map(({ buffer }) => channelsOf(buffer)));
    this.drawing = new ResizeObserver(() => this.draw());
    this.drawing.observe(list);
    this.show();
  }

  row(song, { name, buffer }, index) {
    const row = document.getElementById('stem').content.cloneNode(true).firstElementChild;
    const part = (each) => row.querySelector(`[data-part=${each}]`);
    row.dataset.stem = name;
    row.setAttribute('aria-label', name);
    part('name').textContent = name;
    part('wave').setAttribute('aria-label', `Waveform of ${name}`);
    part('wave').onclick = ({ offsetX, currentTarget }) =>
      this.seek((offsetX / currentTarget.clientWidth) * this.player.duration);
    for (const [each, key] of [['mute', 'muted'], ['solo', 'solo']]) {
      part(each).setAttribute('aria-label', `${part(each).textContent} ${name}`);
      part(each).onclick = () => {
        this.player.set(index, { [key]: !this.player.channels[index][key] });
        part(each).setAttribute('aria-pressed', this.player.channels[index][key]);
        this.dim();
      };
    }
    part('volume').setAttribute('aria-label', `Volume of ${name}`);
    part('volume').oninput = ({ target }) => {
      target.setAttribute('aria-valuetext', `${Math.round(100 * target.valueAsNumber)} %`);
      this.player.set(index, { volume: target.valueAsNumber });
    };
    part('download').setAttribute('aria-label', `Download ${name} as wav`);
    part('download').onclick = () => download(wav(channelsOf(buffer), buffer.sampleRate), `${song} - ${name}.wav`);
    return row;
  }

  async toggle() {
    if (this.player.playing) {
      this.player.pause();
    } else {
      await this.player.context.resume();
      this.player.play();
      this.follow();
    }
    this.show();
  }

  seek(seconds) {
    this.player.seek(seconds);
    this.show();
  }

  /** Arrow keys move by seconds, as a slider without steps would move by a tenth of the song. */
  step(event) {
    const sign = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!sign) return;
    event.preventDefault();
    this.seek(this.player.position + sign * STEP);
  }

  follow() {
    this.show();
    if (this.player.playing) requestAnimationFrame(() => this.follow());
  }

  show() {
    const { playing, position, duration } = this.player;
    this.part('play').textContent = playing ? 'Pause' : 'Play';
    this.part('clock').textContent = `${clock(position)} / ${clock(duration)}`;
    this.part('seek').value = position;
    this.part('seek').setAttribute('aria-valuetext', `${clock(position)} of ${clock(duration)}`);
    this.part('stems').style.setProperty('--position', position / duration || 0);
  }

  dim() {
    [...this.part('stems').children].forEach((row, index) => {
      row.classList.toggle('silent', this.player.heard(index) === 0);
    });
  }

  draw() {
    const canvases = this.part('stems').querySelectorAll('canvas');
    canvases.forEach((canvas, index) => {
      drawWaveform(canvas, channelsOf(this.player.channels[index].buffer), this.peak);
    });
  }

  close() {
    this.drawing.disconnect();
    this.player.close();
    this.player.context.close();
    this.part('stems').replaceChildren();
  }
}

/** Seconds as 1:05. */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}

function channelsOf(buffer) {
  return Array.from({ length: buffer.numberOfChannels }, (_, c) => buffer.getChannelData(c));
}

function download(blob, name) {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
