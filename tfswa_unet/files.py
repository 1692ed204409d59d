"""Files: written whole or not at all, hashes of their content, and the room that a disk has."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors of a disk that takes no more


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on a clean exit what was written there takes its place.

    The temporary name is hidden, begins with the final one and keeps its ending. Where several processes replace one
    file, each writes its own and the last one stays. Raises OSError as the file system does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:40]}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files that only their owner may read.
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path` at once; raises OSError as the file system does."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def content_hash(path: Path, pattern: str = "*") -> str:
    """SHA-256 of a file, or of the files of a folder, at any depth, that fit `pattern`, with their names."""
    digest = hashlib.sha256()
    inside = path.is_dir()
    for file in sorted(path.rglob(pattern)) if inside else [path]:
        if file.is_file():
            if inside:
                digest.update(file.relative_to(path).as_posix().encode())
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()


def free_bytes(path: Path) -> int:
    """Return the bytes that are free where `path` is, or will be."""
    place = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
    return shutil.disk_usage(place).free
