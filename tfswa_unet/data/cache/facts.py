"""Format and digest of source files, kept in one JSON file of a cache so that unchanged ones are not opened again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from tfswa_unet import audio
from tfswa_unet.errors import AudioError
from tfswa_unet.files import write_text

NAME = "index.json"
FORMAT = 1  # of the JSON file
HASHED = 1 << 20  # bytes at a time

Entry = TypeVar("Entry")


@dataclass
class FileFacts:
    """Size and time of change (ns) of a file, and what held for it then."""

    size: int
    mtime_ns: int
    digest: str | None = None  # of its bytes
    streams: dict[str, dict[str, Any]] = field(default_factory=dict)


class Facts:
    """Format and digest of source files, kept in `folder`/index.json.

    Whatever cannot be read there is found anew, so that nothing is lost but time if two processes write it at once.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._files = self._load()
        self._changed: set[str] = set()

    def probe(self, path: str | Path, stream: int = 0) -> audio.AudioInfo:
        """`audio.probe` without tags, which opens no file that has not changed."""
        known = self._of(path)
        if str(stream) not in known.streams:
            info = audio.probe(path, stream)
            known.streams[str(stream)] = {
                name: getattr(info, name) for name in ("rate", "channels", "length", "streams", "codec")
            }
            self._changed.add(_name(path))
        return audio.AudioInfo(Path(path), tags={}, **known.streams[str(stream)])

    def digest(self, path: Path) -> str:
        """Hash of a file's bytes; raises AudioError for a file that cannot be read."""
        known = self._of(path)
        if known.digest is None:
            known.digest = _digest(path)
            self._changed.add(_name(path))
        return known.digest

    def without_digest(self, paths: Iterable[Path]) -> list[Path]:
        """Files whose digest is not known."""
        return [path for path in dict.fromkeys(paths) if self._of(path).digest is None]

    def digest_all(self, paths: Sequence[Path], threads: int) -> Iterator[None]:
        """Find the digests of many files, yielding after each."""
        # Reading and hashing both run outside the interpreter's lock.
        with ThreadPoolExecutor(threads) as pool:
            futures = [pool.submit(self.digest, path) for path in paths]
            try:
                for future in as_completed(futures):
                    future.result()
                    yield
            finally:
                pool.shutdown(cancel_futures=True)

    def save(self) -> None:
        """Write what was found, beside what others have written meanwhile; raises OSError as the file system does."""
        if self._changed:
            save_entries(self.path, "files", FORMAT, self._load() | {name: self._files[name] for name in self._changed})
            self._changed.clear()

    def _load(self) -> dict[str, FileFacts]:
        return load_entries(self.path, "files", FORMAT, _checked)

    def _of(self, path: str | Path) -> FileFacts:
        try:
            state = os.stat(path)
        except OSError as error:
            raise AudioError(f"{path}: cannot be read: {error.strerror}") from None
        known = self._files.get(_name(path))
        if known is None or (known.size, known.mtime_ns) != (state.st_size, state.st_mtime_ns):
            known = self._files[_name(path)] = FileFacts(state.st_size, state.st_mtime_ns)
        return known


def load_entries(path: Path, key: str, form: int, make: Callable[..., Entry]) -> dict[str, Entry]:
    """Entries of a JSON file in a cache, made from their fields; none of a file that is missing, damaged or outdated.

    `key` is what the file calls them, `form` the number of its format.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {name: make(**each) for name, each in stored[key].items()} if stored["format"] == form else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def save_entries(path: Path, key: str, form: int, entries: Mapping[str, Any]) -> None:
    """Write dataclasses for `load_entries`; raises OSError as the file system does."""
    write_text(path, json.dumps({"format": form, key: {name: asdict(each) for name, each in entries.items()}}))


def _name(path: str | Path) -> str:
    return os.path.abspath(path)


def _digest(path: Path) -> str:
    found = blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            while chunk := file.read(HASHED):
                found.update(chunk)
    except OSError as error:
        raise AudioError(f"{path}: cannot be read: {error.strerror}") from None
    return found.hexdigest()


def _checked(**values: Any) -> FileFacts:
    facts = FileFacts(**values)
    for stream in facts.streams.values():
        audio.AudioInfo(path=Path(), tags={}, **stream)
    return facts
