"""Songs from loops on disk, in the layout of MUSDB18-HQ."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from pathlib import Path

from tfswa_unet.data.loops.arrange import arrange
from tfswa_unet.data.loops.library import Library, digest, divide, scan
from tfswa_unet.data.loops.plan import Plan, claim
from tfswa_unet.data.processes import in_processes, processors
from tfswa_unet.data.synthetic.write import quantise, write_stems
from tfswa_unet.errors import DataError
from tfswa_unet.files import free_bytes

WORTH = 300.0  # s of music that make starting one more process worth its while
MARGIN = 1.02  # free space asked for over the bytes of the files
HEADER = 4096  # bytes, more than any of a wav file


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
    files = ("mixture", *library)
    missing = [index for index in range(songs) if not _complete(plan.folder(out, index), files, plan.frames)]
    needed = len(missing) * len(files) * (4 * plan.frames + HEADER) * MARGIN
    if needed > (free := free_bytes(out)):
        raise DataError(
            f"{out} needs {needed / 1e9:.2f} GB for its songs and has {free / 1e9:.2f} GB free: "
            "ask for fewer or shorter songs, or choose another disk"
        )
    claim(out, plan)
    train, valid = divide(library, seed)
    report = on_progress or (lambda done, total: None)
    report(songs - len(missing), songs)
    calls = [(out, plan, index, train if plan.split(index) == "train" else valid) for index in missing]
    workers = workers or min(processors(), ceil(len(missing) * plan.seconds / WORTH))
    for done, _ in enumerate(in_processes(write_song, calls, workers), 1):
        report(songs - len(missing) + done, songs)
    return tuple(library)


def write_song(out: Path, plan: Plan, index: int, library: Library) -> None:
    """Make one song; its folder takes its name only when it is complete.

    Raises:
        DataError: the folder cannot be written.
    """
    sounds = arrange(library, (plan.seed, index), plan.frames, plan.slowest, plan.fastest)
    stems = {stem: quantise(sound) for stem, sound in sounds.items()}
    write_stems(plan.folder(out, index), stems)


def _complete(folder: Path, names: tuple[str, ...], frames: int) -> bool:
    files = [folder / f"{name}.wav" for name in names]
    return all(file.is_file() and file.stat().st_size >= 4 * frames for file in files)
