"""Training segments as musdb's own documentation has them read, to compare with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tfswa_unet.errors import ConfigError
from tfswa_unet.models.presets import FOUR_STEMS


class MusdbSegments(Dataset[Tensor]):
    """Item i is (s, c, t), the four stems of a random place in a random song, drawn from i alone.

    The song's `chunk_start` and `chunk_duration` are set and its targets' `audio` read, see "Training Deep Neural
    Networks with musdb" in the documentation of musdb 0.4. That runs ffprobe and ffmpeg once for each stem.

    Args:
        root: of MUSDB18, or of MUSDB18-HQ with `is_wav`.
        is_wav: as for `musdb.DB`.
        seconds: length of a segment.
        rate: Hz of the songs.
        length: number of items.

    Raises:
        ConfigError: musdb cannot be imported, or finds no songs to train on.
    """

    def __init__(self, root: Path, is_wav: bool, seconds: float, rate: int, length: int) -> None:
        check_musdb()
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
        segment = np.zeros((len(FOUR_STEMS), 2, self.size), np.float32)
        for stem, name in zip(segment, FOUR_STEMS, strict=True):
            audio = track.targets[name].audio.T[:, : self.size]
            stem[:, : audio.shape[1]] = audio
        return torch.from_numpy(segment)


def check_musdb() -> None:
    """Refuse to go on where musdb cannot be imported.

    Raises:
        ConfigError: it is not installed, or lacks ffmpeg, without which it does not import.
    """
    try:
        import musdb  # noqa: F401
    except (ImportError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ConfigError(
            f"musdb cannot be imported ({reason}): install it and ffmpeg, or choose --readers without musdb and "
            "musdb_wav"
        ) from None
