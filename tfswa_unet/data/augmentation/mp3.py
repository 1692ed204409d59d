"""MP3 compression as an augmentation."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from tfswa_unet.data.augmentation.base import AUGMENTATIONS, Augmentation
from tfswa_unet.errors import ConfigError

# Sample rates in Hz → bit rates in kb/s, of the three MPEG versions (ISO/IEC 11172-3, 13818-3, and 2.5); the first of
# each is the scale's end, which libsndfile does not encode at.
TABLES = {
    (32_000, 44_100, 48_000): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (16_000, 22_050, 24_000): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (8_000, 11_025, 12_000): (8, 16, 24, 32, 40, 48, 56, 64),
}
# Samples that encoder and decoder put first, where a frame is too small for the note that says so.
DELAY = 576 + 529


@AUGMENTATIONS.register("mp3")
class Mp3(Augmentation):
    """MP3 encoding and decoding of each chosen stem at a constant bit rate drawn from `kbps`, without delay.

    libsndfile does both in memory. Shapes: (b, s, c, t) → the same, one or two channels; levels above full scale stay.

    Args:
        p: probability that a stem is changed.
        kbps: bit rates to choose from, in kb/s.
        rate: sample rate in Hz.
        generator: see `Augmentation`.

    Raises:
        ConfigError: sample or bit rates that MP3 does not have, more than two channels, or a libsndfile without MP3.
    """

    in_workers = True

    def __init__(self, *, p: float, kbps: tuple[int, ...], rate: int, generator: torch.Generator | None = None) -> None:
        super().__init__(p=p, generator=generator)
        table = next((table for rates, table in TABLES.items() if rate in rates), None)
        if table is None:
            known = ", ".join(str(each) for each in sorted(sum(TABLES, ())))
            raise ConfigError(f"rate of augmentation Mp3 is {rate!r}, expected one of {known} Hz, or mp3=null.")
        if not kbps or not set(kbps) <= set(table[1:]):
            known = ", ".join(str(each) for each in table[1:])
            raise ConfigError(f"kbps of augmentation Mp3 is {list(kbps)}, expected some of {known} at {rate} Hz.")
        _check_library()
        self.kbps = kbps
        self.rate = rate
        self.lowest, self.highest = table[0], table[-1]

    def augment(self, stems: Tensor) -> Tensor:
        if stems.shape[2] > 2:
            raise ConfigError(
                f"augmentation Mp3 got {stems.shape[2]} channels, expected 1 or 2: set augmentation.mp3=null."
            )
        return self.to_chosen_stems(stems, self._encode)

    def _encode(self, stems: Tensor) -> Tensor:
        places = self.uniform(0, len(self.kbps), len(stems)).long().tolist()
        coded = [self._there_and_back(stem, self.kbps[place]) for stem, place in zip(stems, places, strict=True)]
        return torch.stack(coded).to(stems)

    def _there_and_back(self, stem: Tensor, kbps: int) -> Tensor:
        import soundfile

        samples = stem.detach().float().cpu().numpy().T
        peak = float(np.abs(samples).max())
        if peak == 0:
            return stem
        scale = max(1.0, peak)  # the format's full scale is 1
        file = io.BytesIO()
        # libsndfile spreads its scale from 0 to 1 over the bit rates, the highest first.
        level = (self.highest - kbps) / (self.highest - self.lowest)
        options = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": level}
        soundfile.write(file, samples / np.float32(scale), self.rate, **options)
        file.seek(0)
        decoded, _ = soundfile.read(file, dtype="float32", always_2d=True)
        start = DELAY if len(decoded) > len(samples) else 0
        return torch.from_numpy(decoded[start : start + len(samples)].T * np.float32(scale))


def _check_library() -> None:
    import soundfile

    if "MP3" not in soundfile.available_formats():
        raise ConfigError(
            "augmentation Mp3 needs a libsndfile that writes MP3, as 1.1 and newer do, got "
            f"{soundfile.__libsndfile_version__}: update soundfile, or set augmentation.mp3=null."
        )
