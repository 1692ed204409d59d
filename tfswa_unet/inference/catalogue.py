"""Songs of a large catalogue: listed in a manifest, and stems kept wherever fsspec can write."""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePath
from typing import IO, Any

from tfswa_unet.errors import AudioError, ConfigError

SCHEME = "://"  # what tells an address from a path
READ_BYTES = 1 << 20  # at once


def read_manifest(path: Path) -> list[tuple[Path, str]]:
    """Path and track name of each line of a text file: a path, or a path, a tab and the name for its stems.

    Relative paths begin at the manifest's folder, and are themselves the track's name, without their ending; of others
    the file's name is.

    Raises:
        ConfigError: where it cannot be read, or lists nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"the manifest {path} cannot be read ({error}): give a text file with a song a line"
        ) from error
    songs = []
    for _, given, name in listed_songs(lines):
        song = PurePath(given)
        inside = not song.is_absolute() and ".." not in song.parts
        songs.append((path.parent / song, name or (str(song.with_suffix("")) if inside else song.stem)))
    if not songs:
        raise ConfigError(f"the manifest {path} lists no song: give a text file with a song a line")
    return songs


def listed_songs(lines: Iterable[str]) -> Iterator[tuple[int, str, str]]:
    """Number, song and name of each line of a manifest that is not empty; the name is "" where the line gives none."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            song, _, name = line.partition("\t")
            yield number, song.strip(), name.strip()


class Store:
    """Files below an address that fsspec opens, such as s3://bucket/stems; each appears whole or not at all.

    Raises:
        ConfigError: for an address that nothing installed can open.
    """

    def __init__(self, address: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise ConfigError(f"{address} needs fsspec: pip install 'tfswa-unet[ray]'") from error
        self._address = address.rstrip("/")
        try:
            self._files: Any = fsspec.core.url_to_fs(self._address)[0]
        except Exception as error:  # each kind of storage has its own
            raise ConfigError(f"{address} cannot be opened ({error}): check it, and install what it needs") from error
        self._root = self._files._strip_protocol(self._address)
        self._held: set[str] | None = None

    def address(self, name: str) -> str:
        """Full address of a file."""
        return f"{self._address}/{name}"

    def holds(self, names: Iterable[str]) -> bool:
        """Whether all these files were there when it was asked first, or have been put there since.

        Raises:
            ConfigError: where it cannot be listed.
        """
        if self._held is None:
            try:
                self._held = set(self._files.find(self._root))
            except FileNotFoundError:
                self._held = set()
            except Exception as error:
                raise ConfigError(f"{self._address} cannot be listed ({error}): check address and rights") from error
        return all(self._path(name) in self._held for name in names)

    def put(self, files: Mapping[str, Path]) -> None:
        """Copy local files there, by name; under temporary names until all have arrived.

        Raises:
            AudioError: where that fails; no file has its name then, unless renaming failed.
        """
        paths = {name: self._path(name) for name in files}
        parts = {name: f"{posixpath.dirname(path)}/.{secrets.token_hex(8)}.part" for name, path in paths.items()}
        try:
            for name, file in files.items():
                self._files.makedirs(posixpath.dirname(paths[name]), exist_ok=True)
                self._files.put_file(str(file), parts[name])
            for name in files:
                self._files.mv(parts[name], paths[name])
        except Exception as error:
            for part in parts.values():
                with suppress(Exception):
                    self._files.rm_file(part)
            raise AudioError(f"{self._address} cannot be written ({error}): check its rights and room") from error
        if self._held is not None:
            self._held.update(paths.values())

    def size(self, name: str) -> int:
        """Bytes of a file; raises FileNotFoundError where there is none."""
        return int(self._files.info(self._path(name))["size"])

    def open(self, name: str) -> IO[bytes]:
        """Open a file to read it, from wherever it is sought."""
        # Of blocks that storage elsewhere takes by itself, a part of a file needs 50 MB.
        opened: IO[bytes] = self._files.open(self._path(name), "rb", block_size=READ_BYTES)
        return opened

    def get(self, name: str, file: Path) -> None:
        """Copy a file from there."""
        self._files.get_file(self._path(name), str(file))

    def remove(self, name: str) -> None:
        """Delete a file, or a folder and all below it, where it is there."""
        with suppress(FileNotFoundError):
            self._files.rm(self._path(name), recursive=True)

    def folders(self) -> list[str]:
        """Names of the folders at the top, as they are now."""
        self._files.invalidate_cache()
        try:
            found = self._files.ls(self._root, detail=True)
        except FileNotFoundError:
            return []
        return [posixpath.basename(each["name"].rstrip("/")) for each in found if each["type"] == "directory"]

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"
