"""Where the stems of finished jobs lie: in the data folder, or below any address that fsspec opens."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tfswa_unet.errors import ConfigError
from tfswa_unet.inference.catalogue import Store
from tfswa_unet.service.settings import Settings

LOG = logging.getLogger("tfswa.results")
ID = re.compile(r"[0-9a-f]{32}")


class Unanswered(Exception):
    """The storage of the results does not answer."""


@dataclass(frozen=True)
class Stem:
    """A file of a finished job; `file` is its name below the job's folder, `path` where it lies on this machine."""

    file: str
    size: int  # bytes
    path: Path | None
    open: Callable[[], IO[bytes]]

    @property
    def name(self) -> str:
        """The file's own name."""
        return PurePosixPath(self.file).name


class Results:
    """The files of finished jobs: a folder for each, by its id.

    Where settings name an address, a worker's files are put there before their job is done, and what clients take is
    read from there. Files that lie in the data folder, as before there was an address, are found too.

    Raises:
        ConfigError: for an address that cannot be opened.
    """

    def __init__(self, settings: Settings) -> None:
        self._jobs, self._incoming = settings.jobs, settings.incoming
        self._store = None if settings.results is None else Store(settings.results)

    def check(self) -> None:
        """Write and delete a file at the address; raises ConfigError where that fails."""
        if self._store is None:
            return
        with tempfile.TemporaryDirectory(dir=self._incoming) as folder:
            probe = Path(folder, "probe")
            probe.touch()
            try:
                self._store.put({"probe": probe})
                self._store.remove("probe")
            except Exception as error:  # each kind of storage has its own
                raise ConfigError(f"the results cannot be kept: {error}") from None

    def keep(self, id: str, files: Iterable[str]) -> None:
        """Put a job's files where they stay; raises AudioError where that fails."""
        if self._store is not None:
            self._store.put({f"{id}/{file}": self._jobs / id / file for file in files})

    def tidy(self, id: str, run: str | None, attempts: int) -> None:
        """Delete all folders of an ended job but the run that gave its stems, where that stays."""
        folder = self._jobs / id
        if self._store is not None:
            shutil.rmtree(folder, ignore_errors=True)
            for other in {f"run-{number}" for number in range(1, attempts + 1)} - {run}:
                self._forget(f"{id}/{other}")
            return
        for path in folder.iterdir() if folder.exists() else ():
            if path.name != run:
                shutil.rmtree(path, ignore_errors=True)

    def delete(self, id: str) -> None:
        """Delete all files of a job."""
        shutil.rmtree(self._jobs / id, ignore_errors=True)
        self._forget(id)

    def sweep(self, known: Callable[[], set[str]]) -> None:
        """Delete what lies at the address for jobs that are not known, which are asked for after what is there."""
        if self._store is None:
            return
        try:
            found = [name for name in self._store.folders() if ID.fullmatch(name)]
        except Exception:
            LOG.warning("the results cannot be listed", exc_info=True)
            return
        ids = known() if found else set()
        for name in found:
            if name not in ids:
                self._forget(name)

    def find(self, id: str, file: str) -> Stem:
        """A job's file by its name below the job's folder.

        Raises:
            FileNotFoundError: where it is not there.
            Unanswered: where that cannot be known.
        """
        # There first: what lies here while its job is being tidied up is about to go.
        if self._store is not None:
            store, name = self._store, f"{id}/{file}"
            with suppress(FileNotFoundError), _answering():
                return Stem(file, store.size(name), None, lambda: store.open(name))
        path = self._jobs / id / file
        return Stem(file, path.stat().st_size, path, lambda: path.open("rb"))

    @contextmanager
    def adding(self, id: str, stem: Stem, file: str) -> Iterator[tuple[Path, Path]]:
        """Give paths of a stem and of a file to be made of it, which is kept beside it.

        Raises:
            Unanswered: where the stem cannot be had, or the file not be kept.
        """
        if stem.path is not None:
            yield stem.path, self._jobs / id / file
            return
        assert self._store is not None
        with tempfile.TemporaryDirectory(dir=self._incoming) as folder:
            source, target = Path(folder, stem.name), Path(folder, PurePosixPath(file).name)
            with _answering():
                self._store.get(f"{id}/{stem.file}", source)
            yield source, target
            with _answering():
                self._store.put({f"{id}/{file}": target})

    def _forget(self, name: str) -> None:
        if self._store is not None:
            try:
                self._store.remove(name)
            except Exception:  # what stays is swept up later
                LOG.warning("%s cannot be deleted", name, exc_info=True)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:  # each kind of storage has its own
        LOG.warning("the results' storage fails", exc_info=True)
        raise Unanswered("the results' storage does not answer") from error
