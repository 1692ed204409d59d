"""The same few songs in the layouts and formats that data sets come in, for what reads them to be measured."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tfswa_unet import audio
from tfswa_unet.data.sets.layouts import detect
from tfswa_unet.data.sets.musdb import STREAMS, SUFFIX
from tfswa_unet.data.tracks import find_songs
from tfswa_unet.errors import ConfigError
from tfswa_unet.processes import processors
from tfswa_unet.songs import write_dataset
from tfswa_unet.types import STEMS

SONGS = 5  # of which one validates, as the data module asks: as many to train on as there are stems
BIT_RATE = "256k"  # of each stream, as in MUSDB18
# The folder and kind of the songs that are made for each reader.
LAYOUTS = {
    "musdb": ("stem_mp4", "musdb18"),
    "musdb_wav": ("wav", "musdb18hq"),
    "stem_mp4": ("stem_mp4", "musdb18"),
    "wav": ("wav", "musdb18hq"),
    "flac": ("flac", "folders"),
    "cached": ("wav", "musdb18hq"),
}
MADE = tuple(LAYOUTS)
STEM_MP4 = "musdb and stem_mp4"  # what cannot be measured without ffmpeg
# The readers of a data set of one's own, by its kind.
OWN = {"musdb18": ("musdb", "stem_mp4", "cached"), "musdb18hq": ("musdb_wav", "wav", "cached")}
OTHERS = ("files", "cached")


@dataclass(frozen=True)
class DataSetAt:
    """Where a reader finds its data set, and of which kind it is, as `data.root` and `data.kind`."""

    root: Path
    kind: str


def made_songs(folder: Path, seconds: float, readers: Collection[str]) -> dict[str, DataSetAt]:
    """Make synthetic songs of `seconds` in `folder` and give each of the readers its data set.

    Lengths, stems and splits are the same everywhere. Raises ConfigError where ffmpeg is needed and missing or fails.
    """
    places = {reader: DataSetAt(folder / LAYOUTS[reader][0], LAYOUTS[reader][1]) for reader in readers}
    needed = {place.root.name for place in places.values()}
    if "stem_mp4" in needed and shutil.which("ffmpeg") is None:
        raise ConfigError(
            "ffmpeg, which is to make the .stem.mp4 files, is not on the PATH: install it, or choose --readers without "
            f"{STEM_MP4}"
        )
    write_dataset(folder / "wav", SONGS, seconds, seed=0, test_tracks=0, workers=1)
    for name, write in (("stem_mp4", _write_stem_mp4), ("flac", _write_flac)):
        if name in needed:
            _for_each_song(folder / "wav", folder / name, write)
    return places


def own_songs(root: str, kind: str) -> dict[str, DataSetAt]:
    """The readers that a data set of one's own can be measured with; "auto" finds its kind. Raises as `find_songs`."""
    find_songs(kind, root)
    path = Path(root).expanduser()
    found = detect(path) if kind == "auto" else kind
    return dict.fromkeys(OWN.get(found, OTHERS), DataSetAt(path, found))


def _for_each_song(songs: Path, out: Path, write: Callable[[Path, Path], None]) -> None:
    folders = sorted(songs.glob("*/*"))
    targets = [out / song.relative_to(songs) for song in folders]
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(processors()) as pool:
        list(pool.map(write, folders, targets))


def _write_stem_mp4(song: Path, target: Path) -> None:
    streams = sorted(STREAMS, key=STREAMS.__getitem__)
    inputs = [word for stem in streams for word in ("-i", str(song / f"{stem}.wav"))]
    maps = [word for number in range(len(streams)) for word in ("-map", f"{number}:a")]
    target = target.with_name(target.name + SUFFIX)
    command = ["ffmpeg", "-v", "error", *inputs, *maps, "-c:a", "aac", "-b:a", BIT_RATE, str(target)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise ConfigError(
            f"ffmpeg could not make {target} ({' '.join(done.stderr.split())}): make room there, or choose --readers "
            f"without {STEM_MP4}"
        )


def _write_flac(song: Path, target: Path) -> None:
    target.mkdir()
    for stem in STEMS:
        path = song / f"{stem}.wav"
        audio.write(target / f"{stem}.flac", audio.read(path), audio.probe(path).rate, "flac16")


class MusdbSegments(Dataset[Tensor]):
    """Item i is (s, c, t), the four stems of a random place in a random song, drawn from i alone.

    The song's `chunk_start` and `chunk_duration` are set and its targets' `audio` read, see "Training Deep Neural
    Networks with musdb" in the documentation of musdb 0.4. That runs ffprobe and ffmpeg once for each stem. Raises
    ConfigError where musdb finds no songs to train on under `root`, of MUSDB18, or of MUSDB18-HQ with `is_wav`.
    """

    def __init__(self, root: Path, is_wav: bool, seconds: float, rate: int, length: int) -> None:
        import musdb

        self.tracks = musdb.DB(root=str(root), is_wav=is_wav, subsets="train", split="train").tracks
        if not self.tracks:
            raise ConfigError(f"musdb finds no songs to train on under {root}: expected some in {root / 'train'}")
        self.seconds = seconds
        self.size = round(seconds * rate)
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, item: int) -> Tensor:
        rng = np.random.default_rng(item)
        track = self.tracks[rng.integers(len(self.tracks))]
        track.chunk_duration = self.seconds
        track.chunk_start = rng.uniform(0, max(0.0, track.duration - self.seconds))
        segment = np.zeros((len(STEMS), 2, self.size), np.float32)
        for stem, name in zip(segment, STEMS, strict=True):
            audio = track.targets[name].audio.T[:, : self.size]
            stem[:, : audio.shape[1]] = audio
        return torch.from_numpy(segment)


def check_musdb() -> None:
    """Raises ConfigError where musdb is not installed, or lacks ffmpeg, without which it does not import."""
    try:
        import musdb  # noqa: F401
    except (ImportError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ConfigError(
            f"musdb cannot be imported ({reason}): install it and ffmpeg, or choose --readers without musdb and "
            "musdb_wav"
        ) from None
