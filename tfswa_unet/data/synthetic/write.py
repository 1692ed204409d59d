"""Synthetic songs on disk in the layout of MUSDB18-HQ, so that everything that reads real songs reads them too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from math import ceil
from pathlib import Path

import numpy as np

from tfswa_unet import audio
from tfswa_unet.data.processes import in_processes, processors
from tfswa_unet.data.synthetic.mix import synthesize
from tfswa_unet.data.synthetic.recipe import RATE, Recipe, claim, make_recipe
from tfswa_unet.data.synthetic.song import STEMS
from tfswa_unet.errors import DataError
from tfswa_unet.files import free_bytes

FILES = ("mixture", *STEMS)
LEVELS = 2**15  # of a 16-bit sample, on each side of zero
HEADER = 4096  # bytes, more than any of a wav file
WORTH = 300.0  # s of music that make starting one more process worth its while
MARGIN = 1.02  # free space asked for over the bytes of the files


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
    if workers is not None and workers < 1:
        raise DataError(f"{workers} workers were asked for; give workers >= 1, or leave it out to use every processor")
    recipe = make_recipe(tracks, seconds, seed, test_tracks, band)
    missing = [index for index in range(tracks) if not _complete(recipe.folder(out, index), recipe.frames)]
    _check_space(out, len(missing) * len(FILES) * (4 * recipe.frames + HEADER))
    claim(out, recipe)
    report = on_progress or (lambda done, total: None)
    report(tracks - len(missing), tracks)
    workers = workers or min(processors(), ceil(len(missing) * seconds / WORTH))
    for done, _ in enumerate(in_processes(write_song, [(out, recipe, index) for index in missing], workers), 1):
        report(tracks - len(missing) + done, tracks)


def write_song(out: Path, recipe: Recipe, index: int) -> None:
    """Make one song of a data set; its folder takes its name only when it is complete.

    Raises:
        DataError: the folder cannot be written.
    """
    sounds = synthesize(recipe.song_seed(index), recipe.seconds, RATE, recipe.band)
    stems = {stem: quantise(sound) for stem, sound in sounds.items()}
    write_stems(recipe.folder(out, index), stems)


def write_stems(folder: Path, stems: Mapping[str, np.ndarray]) -> None:
    """Write the stems (c, t) of a song and their sum, "mixture", to a folder that appears only when it is complete.

    Raises:
        DataError: the folder cannot be written.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        mixture = np.sum(list(stems.values()), axis=0)
        for name, sound in {"mixture": mixture, **stems}.items():
            audio.write(part / f"{name}.wav", sound, RATE, format="wav16")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written ({error.strerror}): make room for it there, then run again"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def quantise(sound: np.ndarray) -> np.ndarray:
    """Round audio to the values that 16 bits can hold; sums of a few stems stay exact in float32."""
    return np.rint(sound * LEVELS) / np.float32(LEVELS)


def _complete(folder: Path, frames: int) -> bool:
    files = [folder / f"{name}.wav" for name in FILES]
    return all(file.is_file() and file.stat().st_size >= 4 * frames for file in files)


def _check_space(out: Path, size: int) -> None:
    free = free_bytes(out)
    if size * MARGIN > free:
        raise DataError(
            f"{out} needs {size * MARGIN / 1e9:.2f} GB for its songs and has {free / 1e9:.2f} GB free: "
            "ask for fewer or shorter songs, or choose another disk"
        )
