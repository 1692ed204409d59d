"""The cache: a folder of decoded stems, found again by the content of the files that they come from."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tfswa_unet.data.cache import pcm
from tfswa_unet.data.cache.decode import Stem, write_stem
from tfswa_unet.data.cache.facts import Facts
from tfswa_unet.data.reading import check_channels, stem_name
from tfswa_unet.data.tracks import OnError, check_on_error
from tfswa_unet.errors import AudioError, ConfigError, DataError, UserError
from tfswa_unet.files import free_bytes
from tfswa_unet.processes import in_processes, processors
from tfswa_unet.types import Source, Track

DEFAULT_FOLDER = Path("data/cache")
WORTH = 1000.0  # s of stems that make starting one more process worth its while
STALE = 3600.0  # s after which a temporary file belongs to nobody any more
MARGIN = 1.02  # free space asked for over the bytes of the files
SPOOL = 2  # bytes of float32, held while a stem is decoded, for each byte of its file

Report = Callable[[str, int, int], None]
Plan = list[tuple[Track, dict[str, Stem]]]
Item = TypeVar("Item")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cached:
    """Tracks read from a cache: number of their stems, of those decoded just now, and bytes of all."""

    tracks: list[Track]
    stems: int
    made: int
    bytes: int


class PcmCache:
    """Cache of decoded stems in a folder, at one rate (Hz) and number of channels.

    `probe` is `audio.probe` without tags, which opens no file that has not changed.
    A stem's file is named after the bytes of the files that it comes from, so that songs may be moved, renamed and
    shared by several data sets. A source file is hashed again only when its size or time of change is another.
    """

    def __init__(self, folder: str | Path, rate: int, channels: int) -> None:
        if rate < 1 or channels < 1:
            raise ConfigError(f"a cache at {rate} Hz with {channels} channels was asked for, expected both to be >= 1")
        self.folder = Path(folder).expanduser()
        self.rate = rate
        self.channels = channels
        self._facts = Facts(self.folder)
        self.probe = self._facts.probe

    def lookup(self, tracks: Sequence[Track]) -> list[Track]:
        """Tracks, read from the cache at its rate, of which it holds every stem; nothing is decoded."""
        found = []
        for track in tracks:
            with suppress(UserError):
                stems = self._stems(track)
                if all(stem.is_made for stem in stems.values()):
                    found.append(self._moved(track, stems))
        return found

    def build(
        self,
        tracks: Sequence[Track],
        *,
        workers: int | None = None,
        max_gb: float | None = None,
        verify: bool = False,
        on_error: OnError = "raise",
        on_progress: Report | None = None,
    ) -> Cached:
        """Decode what the cache lacks; the tracks are then read from the cache, at its rate.

        Interrupted, it goes on where it was. Several runs may build the same cache at once: they take the stems in an
        order of their own and leave out what another has done.

        Args:
            tracks: whose stems to cache; their mixtures are left out.
            workers: processes; by default as many as there are processors, if the work is worth starting them.
            max_gb: 10⁹ bytes that the cache's folder may hold.
            verify: compare every file with its checksum, and make damaged ones again.
            on_error: "skip" logs and leaves out tracks that cannot be decoded.
            on_progress: is told the phase, how much of it is done, and of how much.

        Raises:
            ConfigError: a value out of range, or more bytes than `max_gb`.
            DataError: the disk is too small, which is found before anything is decoded, or cannot be written to; no
                track can be decoded.
            AudioError: a source that cannot be decoded.
        """
        _check(workers, max_gb, on_error)
        report = on_progress or (lambda phase, done, total: None)
        self._open_folder()
        try:
            plan = self._plan(tracks, on_error, report)
            stems = {stem.path: stem for _, named in plan for stem in named.values()}
            if verify:
                _drop_damaged(list(stems.values()), report)
            missing = [stem for stem in stems.values() if not stem.is_made]
            _check_space(self.folder, missing, workers or processors(), max_gb)
            failed = _make(missing, workers, on_error, report)
        finally:
            with suppress(OSError):  # facts are found anew where they are missing
                self._facts.save()
        pcm.close_files()
        cached = []
        for track, named in plan:
            if error := next((failed[stem.path] for stem in named.values() if stem.path in failed), None):
                _log_left_out(track, error)
            else:
                cached.append(self._moved(track, named))
        if tracks and not cached:
            raise DataError(f"None of the {len(tracks)} tracks can be cached: see the messages above, or the doctor.")
        return Cached(cached, len(stems), len(missing), sum(stem.size for stem in stems.values()))

    def _open_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left in (path for path in self.folder.glob(".*-*") if path.is_file()):
                if time.time() - left.stat().st_mtime > STALE:
                    left.unlink(missing_ok=True)
        except FileNotFoundError:
            pass  # another run was faster
        except OSError as error:
            raise DataError(
                f"The cache {self.folder} cannot be used ({error.strerror}): choose a folder that you can write to "
                "(--out, or data.cache), or do without (data.cache=null)."
            ) from None

    def _plan(self, tracks: Sequence[Track], on_error: OnError, report: Report) -> Plan:
        parts = [part.path for track in tracks for source in track.sources.values() for part in source.parts]
        new = self._facts.without_digest(parts)
        for _ in _counted("reading", self._facts.digest_all(new, processors()), len(new), report):
            pass
        plan = []
        for track in tracks:
            try:
                plan.append((track, self._stems(track)))
            except UserError as error:
                if on_error == "raise":
                    raise
                _log_left_out(track, error)
        return plan

    def _stems(self, track: Track) -> dict[str, Stem]:
        return {name: self._stem(track, name) for name in track.sources}

    def _stem(self, track: Track, name: str) -> Stem:
        source = track.sources[name]
        called = stem_name(name, track.name)
        found = max(self._facts.probe(part.path, part.stream).channels for part in source.parts)
        check_channels(found, self.channels, called)
        stretches = [(self._facts.digest(part.path), part.stream, part.start, part.length) for part in source.parts]
        recipe = [pcm.FORMAT, self.rate, self.channels, track.rate, track.length, stretches]
        key = blake2b(json.dumps(recipe).encode(), digest_size=16).hexdigest()
        path = self.folder / f"{key}{pcm.SUFFIX}"
        return Stem(called, path, source, track.rate, track.length, min(found, self.channels), self.rate)

    def _moved(self, track: Track, stems: Mapping[str, Stem]) -> Track:
        sources = {name: Source(stem.path) for name, stem in stems.items()}
        length = -(-track.length * self.rate // track.rate)
        return replace(track, rate=self.rate, length=length, sources=sources, mixture=None)


@contextmanager
def progress_bars(shown: bool = True) -> Iterator[Report]:
    """Progress bars on the terminal's error stream, one a phase: gives an `on_progress`."""
    columns = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as progress:
        tasks: dict[str, TaskID] = {}

        def report(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase)
            progress.update(tasks[phase], completed=done, total=total)

        yield report


def _check(workers: int | None, max_gb: float | None, on_error: OnError) -> None:
    if workers is not None and workers < 1:
        raise ConfigError(f"{workers} workers were asked for, expected 1 or more, or none for every processor")
    if max_gb is not None and not (isinstance(max_gb, int | float) and max_gb > 0):
        raise ConfigError(
            f"a cache of {max_gb} GB was asked for (--max-gb, or data.cache_max_gb): expected more than 0, or none "
            "for all that the disk has"
        )
    check_on_error(on_error)


def _check_space(folder: Path, missing: Sequence[Stem], workers: int, max_gb: float | None) -> None:
    if not missing:
        return
    sizes = sorted((stem.size for stem in missing), reverse=True)
    needed = sum(sizes)
    what = f"The cache {folder} needs {needed / 1e9:.2f} GB more for {len(sizes)} stems"
    held = sum(path.stat().st_size for path in folder.glob(f"[!.]*{pcm.SUFFIX}"))
    if max_gb is not None and held + needed > max_gb * 1e9:
        raise ConfigError(
            f"{what} and holds {held / 1e9:.2f} GB, over the {max_gb:g} GB that it may hold (--max-gb, "
            "or data.cache_max_gb): allow more, or delete what other data sets have left in it."
        )
    free = free_bytes(folder)
    if needed * MARGIN + SPOOL * sum(sizes[:workers]) > free:
        raise DataError(
            f"{what} and its disk has {free / 1e9:.2f} GB free: choose another disk (--out, or data.cache=FOLDER), or "
            "train without it (data.cache=null)."
        )


def _drop_damaged(stems: Sequence[Stem], report: Report) -> None:
    made = [stem for stem in stems if stem.is_made]
    with ThreadPoolExecutor(processors()) as pool:
        sound = pool.map(pcm.is_whole, [stem.path for stem in made])
        for stem, whole in zip(made, _counted("verifying", sound, len(made), report), strict=True):
            if not whole:
                stem.path.unlink(missing_ok=True)


def _make(missing: list[Stem], workers: int | None, on_error: OnError, report: Report) -> dict[Path, AudioError]:
    """Decode stems, and give those that cannot be where `on_error` goes on without them."""
    # Runs that begin together must not decode the same stems at the same time; a generator of its own, because theirs
    # are seeded alike.
    random.Random().shuffle(missing)
    seconds = sum(stem.length / stem.rate for stem in missing)
    workers = workers or min(processors(), ceil(seconds / WORTH))
    done = in_processes(_make_one, [(stem,) for stem in missing], workers)
    failed = {}
    for path, error in _counted("decoding", done, len(missing), report):
        if error is not None:
            if on_error == "raise":
                raise error
            failed[path] = error
    return failed


def _make_one(stem: Stem) -> tuple[Path, AudioError | None]:
    try:
        if not stem.is_made:
            write_stem(stem)
    except AudioError as error:
        return stem.path, error
    return stem.path, None


def _log_left_out(track: Track, error: UserError) -> None:
    log.warning("track %r: %s; it is left out (data.on_error=skip)", track.name, error)


def _counted(phase: str, items: Iterable[Item], total: int, report: Report) -> Iterator[Item]:
    for done, item in enumerate(items, 1):
        report(phase, done, total)
        yield item
