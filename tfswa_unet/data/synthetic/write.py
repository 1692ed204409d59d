"""Synthetic songs on disk in the layout of MUSDB18-HQ, so that everything that reads real songs reads them too."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import ceil
from pathlib import Path

from tfswa_unet.data.making import check_space, claim, is_whole, write_song
from tfswa_unet.data.processes import in_processes, processors
from tfswa_unet.data.synthetic.mix import synthesize
from tfswa_unet.data.synthetic.recipe import MANIFEST, RATE, Recipe, make_recipe
from tfswa_unet.data.synthetic.song import STEMS
from tfswa_unet.errors import DataError

WORTH = 300.0  # s of music that make starting one more process worth its while


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
    missing = [index for index in range(tracks) if not is_whole(recipe.folder(out, index), STEMS, recipe.frames)]
    check_space(out, len(missing), len(STEMS), recipe.frames)
    claim(out, MANIFEST, recipe, "synthetic songs")
    random.Random().shuffle(missing)  # processes that begin together should not make the same songs
    report = on_progress or (lambda done, total: None)
    report(tracks - len(missing), tracks)
    workers = workers or min(processors(), ceil(len(missing) * seconds / WORTH))
    for done, _ in enumerate(in_processes(write_one, [(out, recipe, index) for index in missing], workers), 1):
        report(tracks - len(missing) + done, tracks)


def write_one(out: Path, recipe: Recipe, index: int) -> None:
    """Make one song of a data set, unless another process did meanwhile.

    Raises:
        DataError: the folder cannot be written.
    """
    folder = recipe.folder(out, index)
    if not is_whole(folder, STEMS, recipe.frames):
        write_song(folder, synthesize(recipe.song_seed(index), recipe.seconds, RATE, recipe.band), RATE)
