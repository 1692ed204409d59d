"""Songs written as folders of wav files, each whole or not at all."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from math import ceil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tfswa_unet import audio
from tfswa_unet.errors import DataError
from tfswa_unet.files import free_bytes, write_text
from tfswa_unet.processes import in_processes, processors
from tfswa_unet.types import MIXTURE, Split

RATE = 44_100  # Hz
LEVELS = 2**15  # of a 16-bit sample, on each side of zero
HEADER = 4096  # bytes, more than any of a wav file
MARGIN = 1.02  # free space asked for over the bytes of the files
WORTH = 300.0  # s of music that make starting one more process worth its while
STALE = 3600.0  # s after which a temporary folder belongs to nobody any more

Make = Callable[[], Mapping[str, np.ndarray]]  # a song's stems, (c, t) each


class SongRecipe:
    """Base of the frozen dataclasses that say what the songs of a folder are made from, kept there as JSON."""

    what: ClassVar[str]  # the songs in the plural, such as "synthetic songs"
    manifest: ClassVar[str]  # name of the file that keeps the recipe
    name: ClassVar[str]  # format of the songs' names
    added: ClassVar[Mapping[str, Any]] = {}  # settings that older manifests do not name, and what they had instead
    seconds: float  # length of a song

    @property
    def count(self) -> int:
        """Number of songs."""
        raise NotImplementedError

    @property
    def frames(self) -> int:
        """Samples per channel of a song."""
        return round(self.seconds * RATE)

    def split(self, index: int) -> Split:
        """Split of a song."""
        raise NotImplementedError

    def folder(self, out: Path, index: int) -> Path:
        """Folder of a song."""
        return out / self.split(index) / self.name.format(index + 1)


def check_song(seed: int, seconds: float) -> None:
    """Check what every song is made from; raises DataError for a negative seed or less than a second."""
    if seed < 0:
        raise DataError(f"the seed is {seed}; give 0 or more")
    if not 1 <= seconds < float("inf"):
        raise DataError(f"a song of {seconds:g} s cannot be made; give at least 1 s")


def check_workers(workers: int | None) -> None:
    """Check a number of processes; raises DataError for less than one."""
    if workers is not None and workers < 1:
        raise DataError(f"{workers} workers were asked for; give workers >= 1, or leave it out to use every processor")


def write_missing(
    out: Path,
    recipe: SongRecipe,
    stems: Sequence[str],
    songs: Sequence[Make],
    workers: int | None,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Write those songs of a recipe that are not whole yet.

    Args:
        out: folder of the data set.
        recipe: what the songs are made from.
        stems: of every song.
        songs: functions that make one song each; they can be pickled.
        workers: processes; None for as many as there are processors, if the work is worth starting them.
        on_progress: is told how many songs are done, and of how many.

    Raises:
        DataError: no workers, `out` holds anything else or cannot be written, or the disk is too small.
    """
    check_workers(workers)
    missing = [index for index in range(len(songs)) if not is_whole(recipe.folder(out, index), stems, recipe.frames)]
    check_space(out, len(missing), len(stems), recipe.frames)
    claim(out, recipe)
    random.Random().shuffle(missing)  # processes that begin together should not make the same songs
    report = on_progress or (lambda done, total: None)
    report(len(songs) - len(missing), len(songs))
    workers = workers or min(processors(), ceil(len(missing) * recipe.seconds / WORTH))
    calls = [(recipe.folder(out, index), stems, recipe.frames, songs[index]) for index in missing]
    for done, _ in enumerate(in_processes(_write_one, calls, workers), 1):
        report(len(songs) - len(missing) + done, len(songs))


def claim(out: Path, recipe: SongRecipe, *, begin: bool = True) -> None:
    """Write a recipe to its manifest in `out` if that is new or empty, or accept the same recipe that lies there.

    Without `begin` nothing is written. What was interrupted long ago is cleared away. Raises DataError where the folder
    holds anything else, or cannot be made.
    """
    manifest, values = out / recipe.manifest, asdict(recipe)  # type: ignore[call-overload]
    try:
        # Listed before the manifest is looked for: another process may be claiming the folder for the same songs.
        filled = out.exists() and any(not path.name.startswith(".") for path in out.iterdir())
        if manifest.exists():
            _compare(manifest, values, recipe)
        elif filled:
            told = f"holds files that are no {recipe.what} (there is no {manifest.name})"
            raise DataError(f"{out} {told}: choose an empty folder")
        elif begin:
            out.mkdir(parents=True, exist_ok=True)
            write_text(manifest, json.dumps(values, indent=2) + "\n")
    except OSError as error:
        told = f"cannot take {recipe.what} ({error.strerror})"
        raise DataError(f"{out} {told}: choose a folder that you can write to") from None
    for left in out.glob("*/.*-*"):
        if left.is_dir() and time.time() - left.stat().st_mtime > STALE:
            shutil.rmtree(left, ignore_errors=True)


def check_space(out: Path, songs: int, stems: int, frames: int) -> None:
    """Check that the disk of `out` can hold `songs` songs of `stems` stems and a mixture, each `frames` long.

    Raises DataError with the bytes that are needed and those that are free.
    """
    needed = songs * (stems + 1) * (4 * frames + HEADER) * MARGIN
    free = free_bytes(out)
    if needed > free:
        raise DataError(
            f"{out} needs {needed / 1e9:.2f} GB for its songs and has {free / 1e9:.2f} GB free: "
            "ask for fewer or shorter songs, or choose another disk"
        )


def is_whole(folder: Path, stems: Iterable[str], frames: int) -> bool:
    """Whether a song's folder holds its stems and their mixture, each `frames` samples long or longer."""
    try:
        return all((folder / f"{name}.wav").stat().st_size >= 4 * frames for name in (MIXTURE, *stems))
    except OSError:
        return False


def write_song(folder: Path, stems: Mapping[str, np.ndarray], rate: int) -> None:
    """Write stems (c, t) at `rate` Hz and their sum, mixture.wav, in 16 bits to a folder that appears when it is whole.

    The written mixture is exactly the sum of the written stems. Several processes may write the same song at once.
    Raises DataError where the folder cannot be written.
    """
    # Sums of a few values that 16 bits can hold are exact in float32.
    rounded = {name: np.rint(stem * LEVELS) / np.float32(LEVELS) for name, stem in stems.items()}
    mixture = np.sum(list(rounded.values()), axis=0)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for name, sound in {MIXTURE: mixture, **rounded}.items():
                audio.write(part / f"{name}.wav", sound, rate, format="wav16")
            part.chmod(0o755)  # mkdtemp makes folders that only their owner may read
            _put(part, folder, stems, mixture.shape[-1])
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written ({error.strerror}): make room for it there, then run again"
        ) from None


def _write_one(folder: Path, stems: Sequence[str], frames: int, make: Make) -> None:
    if not is_whole(folder, stems, frames):  # another process may have made it meanwhile
        write_song(folder, make(), RATE)


def _put(part: Path, folder: Path, stems: Iterable[str], frames: int) -> None:
    if is_whole(folder, stems, frames):
        return  # another process was faster
    shutil.rmtree(folder, ignore_errors=True)
    try:
        os.replace(part, folder)
    except OSError:
        if not is_whole(folder, stems, frames):
            raise


def _compare(manifest: Path, asked: Mapping[str, Any], recipe: SongRecipe) -> None:
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DataError(
            f"{manifest} cannot be read as JSON: choose another folder, or delete {manifest.parent} and start anew"
        )
    found = {**recipe.added, **found}
    differences = [
        f"{key} {found.get(key)} where {value} is asked for" for key, value in asked.items() if found.get(key) != value
    ]
    if differences:
        raise DataError(
            f"{manifest.parent} holds other {recipe.what}, {', '.join(differences)}: choose another folder, "
            "ask for what it holds, or delete it"
        )
