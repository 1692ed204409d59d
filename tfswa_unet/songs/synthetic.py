"""Procedural songs with stems, and data sets of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np
import scipy.fft

from tfswa_unet.errors import DataError
from tfswa_unet.songs.bass import bass
from tfswa_unet.songs.compose import compose, played_by
from tfswa_unet.songs.drums import drums
from tfswa_unet.songs.instruments import other
from tfswa_unet.songs.score import Strip
from tfswa_unet.songs.sounds import impulse
from tfswa_unet.songs.voice import vocals
from tfswa_unet.songs.writing import RATE, SongRecipe, check_song, write_missing
from tfswa_unet.types import STEMS, Split

GENERATOR = 1  # raised whenever the same seed gives other songs
ONE_IN = 10  # one song in so many tests, and as many validate
RATES = (16_000, 192_000)
PLAYERS = {"vocals": vocals, "drums": drums, "bass": bass, "other": other}
RUMBLE = 25.0  # Hz: below lies nothing that a loudspeaker plays
PIVOT = 900.0  # Hz, of the spectral tilt
PEAK = 0.9  # full scale; the rest is headroom for rounding
FADE = 0.01  # s, at the end
TAIL = 1 / 4  # share of a transform that holds the tail of the room


@dataclass(frozen=True)
class Recipe(SongRecipe):
    """Recipe of a synthetic data set: number of songs, s of each, seed, songs that validate and test, band."""

    what, manifest, name = "synthetic songs", "synthetic.json", "song-{:04d}"

    tracks: int
    seconds: float
    seed: int
    valid_tracks: int
    test_tracks: int
    band: int | None = None  # None: each song has a band of its own
    generator: int = GENERATOR

    def split(self, index: int) -> Split:
        """Split of a song: training songs come first, test songs last."""
        if index >= self.tracks - self.test_tracks:
            return "test"
        return "valid" if index >= self.tracks - self.test_tracks - self.valid_tracks else "train"

    def song_seed(self, index: int) -> int:
        """Seed of one song, which depends on no other song."""
        return int.from_bytes(np.random.SeedSequence([self.seed, index]).generate_state(4).tobytes(), "little")


def synthesize(seed: int, seconds: float, rate: int = 44_100, band: int | None = None) -> dict[str, np.ndarray]:
    """Synthesize a song of four stems; the same arguments give the same samples.

    Songs of one `band` share voice, kit, bass, instruments, room and mix, and differ in all that is played.

    Returns vocals, drums, bass and other in this order, float32 (2, t) each with t = round(seconds · rate); neither a
    stem nor their sum exceeds 0.9 of full scale.

    Raises:
        DataError: the seed is negative, the song shorter than a second, or the rate out of range.
    """
    check_song(seed, seconds)
    if not RATES[0] <= rate <= RATES[1]:
        raise DataError(f"a sample rate of {rate} Hz is out of range; give {RATES[0]} to {RATES[1]} Hz")
    players, plan, space = (np.random.default_rng([seed, k]) for k in range(3))
    score = compose(plan, seconds)
    if band is not None:
        score = played_by(score, compose(np.random.default_rng([band, len(STEMS)]), seconds))
    response = impulse(score.room, space, rate)
    room = scipy.fft.rfft(response, 2 ** ceil(np.log2(response.shape[1] / TAIL)))
    stems = {}
    for stem, rng in zip(STEMS, players.spawn(len(STEMS)), strict=True):
        stems[stem] = apply_strip(PLAYERS[stem](score, rng, rate), score.strips[stem], room, rate)
    peak = max(float(np.abs(audio).max()) for audio in [*stems.values(), sum(stems.values())])
    return {stem: audio * np.float32(PEAK / peak) for stem, audio in stems.items()}


def make_recipe(
    tracks: int, seconds: float, seed: int, test_tracks: int | None = None, band: int | None = None
) -> Recipe:
    """Recipe with its splits filled in: a tenth of the songs test and as many validate, one each from three songs on.

    Raises:
        DataError: no songs, songs shorter than a second, a negative seed or band, or no song left to train on.
    """
    if tracks < 1:
        raise DataError(f"{tracks} synthetic songs were asked for; ask for tracks >= 1")
    check_song(seed, seconds)
    if band is not None and band < 0:
        raise DataError(f"band {band} is negative; give 0 or more")
    tenth = max(1, round(tracks / ONE_IN))
    if test_tracks is None:
        test_tracks = tenth if tracks > 1 else 0
    if not 0 <= test_tracks < tracks:
        raise DataError(
            f"{test_tracks} of {tracks} synthetic songs cannot be for testing; give 0 to {tracks - 1} test tracks"
        )
    return Recipe(tracks, float(seconds), seed, min(tenth, tracks - test_tracks - 1), test_tracks, band)


def write_dataset(
    out: str | Path,
    tracks: int,
    seconds: float,
    seed: int,
    *,
    test_tracks: int | None = None,
    band: int | None = None,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write synthetic songs as out/{train,valid,test}/<song>/{mixture,vocals,drums,bass,other}.wav.

    16-bit stereo at 44.1 kHz; the mixture is exactly the sum of the written stems. A song's bytes depend on `seed` and
    its number only, not on `workers` (processes; by default as many as there are processors, if the work is worth
    starting them). With `band` all songs are played by one band, see `synthesize`. Run again after an interruption, it
    makes what is missing. `on_progress` is told how many songs are done, and of how many.

    Raises:
        DataError: a value is out of range, `out` holds anything but this very data set, or the disk is too small.
    """
    out = Path(out).expanduser()
    recipe = make_recipe(tracks, seconds, seed, test_tracks, band)
    songs = [partial(synthesize, recipe.song_seed(k), recipe.seconds, RATE, recipe.band) for k in range(tracks)]
    write_missing(out, recipe, STEMS, songs, workers, on_progress)


def apply_strip(dry: np.ndarray, settings: Strip, room: np.ndarray, rate: int) -> np.ndarray:
    """Channel strip: saturation, spectral tilt, high-pass, reverb send and level of a stem (2, t); (2, t).

    `room` is the spectrum of the room's impulse response, (2, f), which fills a quarter of its transform.
    """
    if settings.drive:
        dry = _saturate(dry, settings.drive)
    size = 2 * (room.shape[1] - 1)
    send = np.float32(10 ** (settings.send / 20)) * room
    tone = _equaliser(settings.tilt, room.shape[1], rate)

    def desk(spectra: np.ndarray) -> np.ndarray:
        return (spectra + spectra.mean(axis=0) * send[:, None]) * tone

    out = overlap_add(dry, size, desk)
    out *= np.float32(10 ** (settings.level / 20) / _loudness(out, rate))
    fade = round(FADE * rate)
    out[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return out


def overlap_add(audio: np.ndarray, size: int, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Filter audio (2, t) by overlap-add: `change` maps the spectra of all blocks (2, k, f) at once."""
    tail = round(size * TAIL)
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
