"""Tempo and key of every track of a data set, estimated once and remembered beside its cached stems."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from hashlib import blake2b
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from tfswa_unet import audio
from tfswa_unet.data.cache.pcm import SUFFIX
from tfswa_unet.data.indexing import OnError
from tfswa_unet.data.loops.tempo import estimate_tempo
from tfswa_unet.data.music.key import estimate_key
from tfswa_unet.data.music.music import Key, Music
from tfswa_unet.data.processes import in_processes, processors
from tfswa_unet.data.reading import read
from tfswa_unet.errors import UserError
from tfswa_unet.files import write_text
from tfswa_unet.types import Track

NAME = "music.json"
FORMAT = 1  # changed whenever the same stems would give another tempo or key
SECONDS = 60.0  # of the middle of a song
RATE = 11_000  # Hz: no tone of interest lies higher, and onsets are looked for every 110 samples
WORTH = 16  # tracks that make starting one more process worth its while

Report = Callable[[str, int, int], None]


def estimate(track: Track) -> Music:
    """Return the tempo and key of a track, from up to a minute of the middle of all its stems together.

    Raises AudioError for a stem that cannot be read and DataError for a damaged cache.
    """
    length = min(track.length, round(SECONDS * track.rate))
    start = (track.length - length) // 2
    total = np.zeros((1, length), np.float32)
    for source in track.sources.values():
        found = read(source, start, length).mean(axis=0)
        total[0, : len(found)] += found
    low = audio.resample(total, track.rate, RATE)
    return Music(estimate_tempo(low, RATE, is_loop=False), estimate_key(low, RATE))


def listen_to(
    tracks: Sequence[Track],
    folder: str | Path | None = None,
    *,
    workers: int | None = None,
    on_error: OnError = "raise",
    on_progress: Report | None = None,
) -> list[Music]:
    """Return the tempo and key of every track, those already known from `folder`/music.json.

    Args:
        tracks: whose stems, if a folder is given, lie in the cache there: what is known is found by their names, which
            say what they hold.
        folder: of the cache; without it nothing is remembered.
        workers: processes; by default as many as there are processors, if the work is worth starting them.
        on_error: "skip" takes a track that cannot be read for one without tempo and key.
        on_progress: is told the phase, how much of it is done, and of how much.

    Raises:
        AudioError, DataError: a track that cannot be read.
    """
    path = None if folder is None else Path(folder).expanduser() / NAME
    names = [_name(track) for track in tracks]
    known = {} if path is None else _load(path)
    missing = {name: track for name, track in zip(names, tracks, strict=True) if name not in known}
    workers = workers or min(processors(), ceil(len(missing) / WORTH))
    try:
        done = in_processes(_estimate, list(missing.items()), workers)
        for count, (name, found) in enumerate(done, 1):
            if isinstance(found, Music):
                known[name] = found
            elif on_error == "raise":
                raise found
            if on_progress:
                on_progress("listening", count, len(missing))
    finally:
        if path is not None and missing:
            with suppress(OSError):  # what is missing is found anew
                _save(path, known)
    return [known.get(name, Music(None, None)) for name in names]


def _estimate(name: str, track: Track) -> tuple[str, Music | UserError]:
    try:
        return name, estimate(track)
    except UserError as error:
        return name, error


def _name(track: Track) -> str:
    parts = [part for source in track.sources.values() for part in source.parts]
    # A file of the cache is named after what it holds, wherever it lies.
    places = [
        (part.path.name if part.path.suffix == SUFFIX else str(part.path), part.stream, part.start) for part in parts
    ]
    return blake2b(json.dumps(sorted(places)).encode(), digest_size=16).hexdigest()


def _save(path: Path, known: dict[str, Music]) -> None:
    # Beside what others have written meanwhile.
    tracks = {key: asdict(music) for key, music in {**_load(path), **known}.items()}
    write_text(path, json.dumps({"format": FORMAT, "tracks": tracks}))


def _load(path: Path) -> dict[str, Music]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {key: _checked(**each) for key, each in stored["tracks"].items()} if stored["format"] == FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _checked(tempo: Any, key: Any) -> Music:
    found = Music(None if tempo is None else float(tempo), None if key is None else Key(**key))
    if found.tempo is not None and not 0 < found.tempo < float("inf"):
        raise ValueError(found)
    if found.key is not None and (found.key.tonic not in range(12) or not isinstance(found.key.minor, bool)):
        raise ValueError(found)
    return found
