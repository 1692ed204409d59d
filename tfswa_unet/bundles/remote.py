"""Models from elsewhere, kept in the user's cache folder: files behind URLs whose SHA-256 is given, and the Hub's.

What has not arrived whole, with the hash that was expected, never gets its name.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from tfswa_unet.bundles import REMOTE, hub
from tfswa_unet.errors import ModelError
from tfswa_unet.files import content_hash, replacing, write_text

CACHE = "TFSWA_CACHE"  # environment variable: where to keep what was fetched
OFFLINE = "HF_HUB_OFFLINE"  # environment variable: fetch nothing
HASH = re.compile(r"sha256=([0-9a-fA-F]{64})")
FILE_NAME = re.compile(r"\w[\w .()+-]*\.\w+")
URL_NOTE = ".url"  # ending of the note beside a file that says where it came from
SILENCE_SECONDS = 30.0  # after which a server is given up
CHUNK_BYTES = 1 << 20


def cache_folder() -> Path:
    """Where fetched models are kept: $TFSWA_CACHE, or tfswa-unet in the user's cache folder."""
    if given := os.environ.get(CACHE):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tfswa-unet"


def is_offline() -> bool:
    """Whether nothing is to be fetched: --offline, or HF_HUB_OFFLINE=1 in the environment."""
    return os.environ.get(OFFLINE, "").lower() in ("1", "on", "yes", "true")


def short_name(name: str) -> str:
    """What a remote model is called in titles and file names: its repository's name, or its file's without ending."""
    scheme, rest = _split(name)
    if scheme == "hf":
        return hub.parse(rest)[0].split("/")[1]
    return Path(_file_name(f"{scheme}://{rest}".partition("#")[0])).stem


def fetch(name: str) -> Path:
    """The file of a remote model, fetched unless the cache has it; within a process a name stays one file.

    Args:
        name: https://HOST/FILE#sha256=…, whose hash may be left out once the cache has the file, or
            hf://OWNER/NAME[@REVISION].

    Raises:
        ModelError: where it cannot be had, or is not what its hash says.
        ConfigError: where hf:// needs a package that is not installed.
    """
    found = _fetched(name, cache_folder())
    if not found.is_file():  # removed from the cache meanwhile
        _fetched.cache_clear()
        found = _fetched(name, cache_folder())
    return found


def cached() -> dict[str, Path]:
    """What the cache holds, by the names under which it can be loaded."""
    folder = cache_folder()
    notes = sorted(folder.glob(f"urls/*/*{URL_NOTE}"))
    files = {note.read_text(encoding="utf-8").strip(): note.with_suffix("") for note in notes}
    of_the_hub = {f"hf://{name}": path for name, path in hub.kept(folder / "hub").items()}
    return {name: path for name, path in {**files, **of_the_hub}.items() if path.is_file()}


@lru_cache
def _fetched(name: str, folder: Path) -> Path:
    scheme, rest = _split(name)
    try:
        if scheme == "hf":
            return hub.pull(rest, folder / "hub", is_offline())
        return _from_url(f"{scheme}://{rest}", folder / "urls")
    except OSError as error:
        raise ModelError(
            f"{name} cannot be kept in {folder} ({error.strerror or error}): make room there, or name another folder "
            f"in the environment variable {CACHE}"
        ) from error


def _split(name: str) -> tuple[str, str]:
    """Scheme, and what follows its slashes."""
    match = REMOTE.match(name)
    assert match is not None, name
    return match[1], name[match.end() :]


def _file_name(url: str) -> str:
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if not FILE_NAME.fullmatch(name):
        raise ModelError(f"{url} does not end in a file's name: give the URL of a bundle (.safetensors)")
    return name


def _from_url(given: str, folder: Path) -> Path:
    url, _, fragment = given.partition("#")
    name, match = _file_name(url), HASH.fullmatch(fragment)
    if match:
        digest = match[1].lower()
    elif fragment:
        raise ModelError(f"{given}: expected #sha256= with 64 hexadecimal digits behind the URL, got #{fragment}")
    else:
        digest = _remembered(url, name, folder)
    path = folder / digest / name
    if not (path.is_file() and content_hash(path) == digest):
        if is_offline():
            raise ModelError(
                f"{url} is not in the cache ({folder.parent}), and nothing is fetched while offline: "
                f"run `tfswa pull {given}` once without --offline and {OFFLINE}"
            )
        _download(url, path, digest)
    note = path.with_name(name + URL_NOTE)
    if not note.is_file():
        write_text(note, url + "\n")
    return path


def _remembered(url: str, name: str, folder: Path) -> str:
    """The hash of what was fetched from this URL before."""
    notes = [note for note in folder.glob("*/*") if note.name == name + URL_NOTE]
    known = [note.parent.name for note in notes if note.read_text(encoding="utf-8").strip() == url]
    if len(known) == 1:
        return known[0]
    why = f"{len(known)} files came from there" if known else "what is behind it may change"
    raise ModelError(
        f"{url} has no hash, and {why}: add #sha256= and the file's SHA-256, which its publisher gives and "
        "`sha256sum FILE` prints"
    )


def _download(url: str, path: Path, digest: str) -> None:
    """Write what is behind a URL to `path` if it has that SHA-256."""
    with replacing(path) as temporary:
        try:
            with urlopen(Request(url, headers={"User-Agent": "tfswa-unet"}), timeout=SILENCE_SECONDS) as response:
                announced = int(response.headers.get("Content-Length") or 0)
                if sys.stderr.isatty():
                    print(f"fetching {url} ({announced / 1e6:.1f} MB)", file=sys.stderr)
                with temporary.open("wb") as file:
                    shutil.copyfileobj(response, file, CHUNK_BYTES)
        except HTTPError as error:
            raise ModelError(f"{url}: the server answers {error.code} {error.reason}: check the URL") from error
        except (URLError, HTTPException, TimeoutError, ConnectionError, ValueError) as error:
            reason = getattr(error, "reason", error) or type(error).__name__
            raise ModelError(f"{url} cannot be fetched ({reason}): check the URL and the connection") from error
        got = temporary.stat().st_size
        if got < announced:
            raise ModelError(f"{url}: the connection broke off after {got:,} of {announced:,} bytes: try again")
        found = content_hash(temporary)
        if found != digest:
            raise ModelError(
                f"{url} holds a file of SHA-256 {found}, expected {digest}: it was changed or damaged, and nothing "
                "of it is kept; check the hash with whoever publishes it"
            )
