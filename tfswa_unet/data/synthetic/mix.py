"""The mixing desk: the plan, the players, equalisation, room and levels."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np
import scipy.fft

from tfswa_unet.data.synthetic.bass import bass
from tfswa_unet.data.synthetic.compose import compose, played_by
from tfswa_unet.data.synthetic.drums import drums
from tfswa_unet.data.synthetic.other import other
from tfswa_unet.data.synthetic.room import impulse
from tfswa_unet.data.synthetic.song import STEMS, Strip
from tfswa_unet.data.synthetic.vocals import vocals
from tfswa_unet.errors import DataError

PLAYERS = {"vocals": vocals, "drums": drums, "bass": bass, "other": other}
RATES = (16_000, 192_000)
RUMBLE = 25.0  # Hz: below lies nothing that a loudspeaker plays
PIVOT = 900.0  # Hz, of the spectral tilt
PEAK = 0.9  # full scale; the rest is headroom for rounding
FADE = 0.01  # s, at the end
SHARE = 1 / 4  # of a transform that filled by the tail of what came before


def synthesize(seed: int, seconds: float, rate: int = 44_100, band: int | None = None) -> dict[str, np.ndarray]:
    """Make a song of four stems; the same arguments give the same samples.

    Songs of one `band` share voice, kit, bass, instruments, room and mixing desk, and differ in all that is played.

    Returns vocals, drums, bass and other in this order, float32 (2, t) each with t = round(seconds · rate); neither a
    stem nor their sum exceeds 0.9 of full scale.

    Raises:
        DataError: the seed is negative, the song shorter than a second, or the rate out of range.
    """
    check(seed, seconds, rate)
    players, plan, space = (np.random.default_rng([seed, k]) for k in range(3))
    song = compose(plan, seconds)
    if band is not None:
        song = played_by(song, compose(np.random.default_rng([band, len(STEMS)]), seconds))
    response = impulse(song.room, space, rate)
    room = scipy.fft.rfft(response, 2 ** ceil(np.log2(response.shape[1] / SHARE)))
    stems = {}
    for stem, rng in zip(STEMS, players.spawn(len(STEMS)), strict=True):
        stems[stem] = strip(PLAYERS[stem](song, rng, rate), song.strips[stem], room, rate)
    peak = max(float(np.abs(audio).max()) for audio in [*stems.values(), sum(stems.values())])
    return {stem: audio * np.float32(PEAK / peak) for stem, audio in stems.items()}


def check(seed: int, seconds: float, rate: int) -> None:
    """Refuse what no song can be made of.

    Raises:
        DataError: the seed is negative, the song shorter than a second, or the rate out of range.
    """
    if seed < 0:
        raise DataError(f"seed {seed} is negative; give 0 or more")
    if not 1 <= seconds < float("inf"):
        raise DataError(f"a synthetic song of {seconds:g} s cannot be made; give at least 1 s")
    if not RATES[0] <= rate <= RATES[1]:
        raise DataError(f"a sample rate of {rate} Hz is out of range; give {RATES[0]} to {RATES[1]} Hz")


def strip(dry: np.ndarray, settings: Strip, room: np.ndarray, rate: int) -> np.ndarray:
    """Pass a stem (2, t) through the desk: saturation, tilt, rumble filter, reverb, level; (2, t).

    `room` is the spectrum of the room's impulse response, (2, f), which fills a quarter of its transform.
    """
    if settings.drive:
        dry = _saturate(dry, settings.drive)
    size = 2 * (room.shape[1] - 1)
    send = np.float32(10 ** (settings.send / 20)) * room
    tone = _equaliser(settings.tilt, room.shape[1], rate)

    def desk(spectra: np.ndarray) -> np.ndarray:
        return (spectra + spectra.mean(axis=0) * send[:, None]) * tone

    out = _blockwise(dry, size, desk)
    out *= np.float32(10 ** (settings.level / 20) / _loudness(out, rate))
    fade = round(FADE * rate)
    out[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return out


def _blockwise(audio: np.ndarray, size: int, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Filter audio (2, t) by overlap-add: `change` maps the spectra of all blocks (2, k, f) at once."""
    tail = round(size * SHARE)
    block, length = size - tail, audio.shape[1]
    count = -(-length // block)
    padded = np.pad(audio, ((0, 0), (0, count * block - length))).reshape(2, count, block)
    out = scipy.fft.irfft(change(scipy.fft.rfft(padded, size)), size)
    out[:, 1:, :tail] += out[:, :-1, block:]
    return out[:, :, :block].reshape(2, -1)[:, :length]


def _saturate(dry: np.ndarray, drive: float) -> np.ndarray:
    """Round off the peaks that stand over the mean level, as tape does."""
    knee = np.float32(np.sqrt(np.square(dry).mean()) * (8 - 5 * drive) + 1e-9)
    return knee * np.tanh(dry / knee)


def _equaliser(tilt: float, bins: int, rate: int) -> np.ndarray:
    """Responses of the analogue first-order shelf and high-pass, so causal without a filter's loop; (f,)."""
    tone = 1j * np.linspace(0, rate / 2, bins, dtype=np.float32)
    gain = np.float32(10 ** (tilt / 20))
    return (gain * tone + PIVOT) / (tone + PIVOT) * tone / (tone + RUMBLE)


def _loudness(audio: np.ndarray, rate: int) -> float:
    """Root mean square over the parts that sound: tenths of a second within 20 dB of the loudest."""
    size = min(audio.shape[1], rate // 10)
    blocks = audio[:, : audio.shape[1] // size * size].reshape(2, -1, size)
    power = np.square(blocks).mean(axis=(0, 2))
    return float(np.sqrt(power[power >= power.max() / 100].mean()) + 1e-12)
