"""Songs from loops on disk, in the layout of MUSDB18-HQ."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import ceil
from pathlib import Path

from tfswa_unet.data.loops.arrange import arrange
from tfswa_unet.data.loops.library import Library, digest, divide, scan
from tfswa_unet.data.loops.plan import MANIFEST, RATE, Plan
from tfswa_unet.data.making import check_space, claim, is_whole, write_song
from tfswa_unet.data.processes import in_processes, processors
from tfswa_unet.errors import DataError

WORTH = 300.0  # s of music that make starting one more process worth its while


def write_songs(
    root: str | Path,
    out: str | Path,
    songs: int,
    seconds: float,
    seed: int,
    *,
    bpm: tuple[float, float] = (90.0, 140.0),
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[str, ...]:
    """Write songs from the samples of root/{vocals,drums,bass,other}/ as out/{train,valid}/<song>/<stem>.wav.

    16-bit stereo at 44.1 kHz with mixture.wav, exactly the sum of the written stems. Songs that validate are made from
    samples that none that trains has, where a stem has two or more. A song's bytes depend on the samples, `seed` and
    its number. Run again after an interruption, it makes what is missing. `on_progress` is told how many songs are
    done, and of how many.

    Returns:
        The stems that the songs have: those for which there are samples.

    Raises:
        DataError: a value is out of range, samples are missing, `out` holds anything but these very songs, or the disk
            is too small.
        AudioError: a sample cannot be read.
    """
    root, out = Path(root).expanduser(), Path(out).expanduser()
    if workers is not None and workers < 1:
        raise DataError(f"{workers} workers were asked for; give 1 or more, or leave it out to use every processor")
    library = scan(root)
    plan = Plan(songs, float(seconds), seed, *bpm, samples=digest(library, root))
    missing = [index for index in range(songs) if not is_whole(plan.folder(out, index), library, plan.frames)]
    check_space(out, len(missing), len(library), plan.frames)
    claim(out, MANIFEST, plan, "songs from loops")
    random.Random().shuffle(missing)  # processes that begin together should not make the same songs
    train, valid = divide(library, seed)
    report = on_progress or (lambda done, total: None)
    report(songs - len(missing), songs)
    calls = [(out, plan, index, train if plan.split(index) == "train" else valid) for index in missing]
    workers = workers or min(processors(), ceil(len(missing) * plan.seconds / WORTH))
    for done, _ in enumerate(in_processes(write_one, calls, workers), 1):
        report(songs - len(missing) + done, songs)
    return tuple(library)


def write_one(out: Path, plan: Plan, index: int, library: Library) -> None:
    """Make one song, unless another process did meanwhile.

    Raises:
        DataError: the folder cannot be written.
    """
    folder = plan.folder(out, index)
    if not is_whole(folder, library, plan.frames):
        write_song(folder, arrange(library, (plan.seed, index), plan.frames, plan.slowest, plan.fastest), RATE)
