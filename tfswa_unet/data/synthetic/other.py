"""The accompaniment: up to three layers and a lead, each with its instrument, effects and place."""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, lfilter

from tfswa_unet.data.synthetic.instruments import TIMBRES, Instrument
from tfswa_unet.data.synthetic.layers import LAYERS
from tfswa_unet.data.synthetic.lead import lead
from tfswa_unet.data.synthetic.oscillators import PASS
from tfswa_unet.data.synthetic.room import pan, widen
from tfswa_unet.data.synthetic.song import Song


def other(song: Song, rng: np.random.Generator, rate: int) -> np.ndarray:
    """The stem of the accompaniment before the desk; (2, t)."""
    out = np.zeros((2, round(song.seconds * rate)), np.float32)
    layers = [_layer(song, name, rng, rate) for name in song.layers]
    if song.lead:
        layers.append(pan(lead(song, rng, rate), rng.uniform(-0.4, 0.4)))
    for layer in layers:
        level = np.sqrt(np.square(layer).mean()) + 1e-9
        out += layer * np.float32(10 ** (rng.uniform(-4, 2) / 20) / level)
    return out


def _layer(song: Song, name: str, rng: np.random.Generator, rate: int) -> np.ndarray:
    layer = LAYERS[name]
    timbre = TIMBRES[str(rng.choice(layer.timbres))](rng)
    notes = layer.write(song, rng)
    longest = max((note.seconds for note in notes), default=0.0)
    instrument = Instrument(timbre, rng, rate, longest)
    bus = np.zeros(round(song.seconds * rate), np.float32)
    for note in notes:
        instrument.play(bus, note)
    if timbre.drive:
        bus = _amplifier(bus, timbre.drive, rate)
    if rng.random() < 0.2:
        bus *= _tremolo(len(bus), song.beat / float(rng.choice([1, 2, 4])), rng.uniform(0.2, 0.6), rate)
    if rng.random() < 0.6:
        return widen(bus, rng.uniform(0.3, 0.9), rng.uniform(0.006, 0.018), rate)
    return pan(bus, rng.uniform(-0.7, 0.7))


def _amplifier(bus: np.ndarray, drive: float, rate: int) -> np.ndarray:
    """Overdrive between a low-pass that keeps its harmonics below Nyquist and a loudspeaker that hides the rest."""
    before = lfilter(*butter(2, [90, 2500], "bandpass", fs=rate), bus)
    level = np.sqrt(np.square(before).mean()) + 1e-9
    hot = np.tanh((drive / level) * before)
    return lfilter(*butter(2, min(4800, PASS * rate), fs=rate), hot).astype(np.float32)


def _tremolo(length: int, period: float, depth: float, rate: int) -> np.ndarray:
    time = np.arange(length, dtype=np.float32) * np.float32(2 * np.pi / (period * rate))
    return 1 - np.float32(depth / 2) * (1 + np.sin(time))
