// Stems that play together, each with a volume, mute and solo.

const FADE = 0.015; // s in which a gain reaches another, so that nothing clicks
const AHEAD = 0.05; // s from now to the moment at which all stems begin

/** Plays AudioBuffers of one length in an AudioContext; all of them begin at one moment of its clock. */
export class Player {
  constructor(context, buffers) {
    this.context = context;
    this.duration = buffers[0].duration;
    this.playing = false;
    this.onend = () => {};
    this.channels = buffers.map((buffer) => {
      const gain = context.createGain();
      gain.connect(context.destination);
      return { buffer, gain, source: null, volume: 1, muted: false, solo: false };
    });
    this.offset = 0; // s into the song, where it does not play
    this.began = 0; // of the context's clock, when the song's beginning would have sounded
  }

  /** Seconds into the song. */
  get position() {
    if (!this.playing) return this.offset;
    return Math.min(this.duration, Math.max(this.offset, this.context.currentTime - this.began));
  }

  play() {
    if (this.playing) return;
    if (this.offset >= this.duration) this.offset = 0;
    const when = this.context.currentTime + AHEAD;
    for (const channel of this.channels) {
      channel.source = new AudioBufferSourceNode(this.context, { buffer: channel.buffer });
      channel.source.connect(channel.gain);
      channel.source.start(when, this.offset);
    }
    this.began = when - this.offset;
    this.playing = true;
    this.channels[0].source.onended = () => {
      this.#stop();
      this.offset = this.duration;
      this.onend();
    };
  }

  pause() {
    if (!this.playing) return;
    this.offset = this.position;
    this.#stop();
  }

  /** Go to a place in the song, s. */
  seek(seconds) {
    const playing = this.playing;
    this.#stop();
    this.offset = Math.min(this.duration, Math.max(0, seconds));
    if (playing) this.play();
  }

  /** Change what is heard of a stem: volume from 0 to 1, muted, solo. */
  set(index, change) {
    Object.assign(this.channels[index], change);
    for (const [each, { gain }] of this.channels.entries()) {
      gain.gain.setTargetAtTime(this.heard(each), this.context.currentTime, FADE / 5);
    }
  }

  /** The gain of a stem: while others play solo, one that does not is silent. */
  heard(index) {
    const { volume, muted, solo } = this.channels[index];
    const alone = this.channels.some((channel) => channel.solo);
    return (alone ? solo : !muted) ? volume : 0;
  }

  /** Stop, and let go of what the stems are connected to. */
  close() {
    this.#stop();
    for (const { gain } of this.channels) gain.disconnect();
  }

  #stop() {
    for (const channel of this.channels) {
      if (channel.source) channel.source.onended = null;
      channel.source?.stop();
      channel.source?.disconnect();
      channel.source = null;
    }
    this.playing = false;
  }
}
