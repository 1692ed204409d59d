"""A lead instrument: it sings without words, like a violin, a saxophone or a synthesiser, where the voice sings too."""

from __future__ import annotations

import numpy as np

from tfswa_unet.data.synthetic.envelopes import upsample
from tfswa_unet.data.synthetic.melody import melody
from tfswa_unet.data.synthetic.oscillators import Wavetable, hertz, phase
from tfswa_unet.data.synthetic.singing import VOICES, draw_manner, perform
from tfswa_unet.data.synthetic.song import Song

HARMONICS = np.arange(1, 200)


def lead(song: Song, rng: np.random.Generator, rate: int) -> np.ndarray:
    """Play a tune on an instrument of random colour; (t,)."""
    length, voice = round(song.seconds * rate), VOICES[str(rng.choice(list(VOICES)))]
    notes = melody(song, "other", voice.centre + rng.uniform(0, 12), rng)
    tune = perform(notes, [(None, "a")] * len(notes), draw_manner(voice, rng), rng, length, rate)
    body = 10 ** (rng.uniform(-8, 8, len(HARMONICS)) / 20) * np.where(HARMONICS % 2 == 0, rng.uniform(0.1, 1), 1)
    colour = Wavetable(body * HARMONICS ** -rng.uniform(0.8, 2.0), rng.uniform(0, 2 * np.pi, len(HARMONICS)), rate)
    frequency = hertz(tune.pitch)
    return colour(phase(upsample(frequency, length), rate), frequency) * upsample(tune.effort, length)
