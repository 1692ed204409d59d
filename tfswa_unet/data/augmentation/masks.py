"""SpecAugment's frequency and time masks (doi:10.21437/Interspeech.2019-2680)."""

from __future__ import annotations

import torch
from torch import Tensor

from tfswa_unet.data.augmentation.base import AUGMENTATIONS, Augmentation
from tfswa_unet.dsp import frames as frame_count
from tfswa_unet.dsp import istft, stft


class SpectrogramMask(Augmentation):
    """Base of masks over a span of an STFT with `n_fft` samples a window and `hop` samples between frames."""

    def __init__(self, *, p: float, n_fft: int, hop: int, generator: torch.Generator | None) -> None:
        super().__init__(p=p, generator=generator)
        self.n_fft = self.within("n_fft", n_fft, 2)
        self.hop = self.within("hop", hop, 1, n_fft // 2)

    def kept(self, count: int, size: int, longest: int) -> Tensor:
        """Draw masks (count, size), each False over one span of 1 to `longest` neighbours anywhere inside."""
        longest = min(longest, size)
        width = (1 + self.uniform(0, longest, count, 1).floor()).clamp(max=longest)
        first = (self.uniform(0, 1, count, 1) * (size - width + 1)).floor()
        place = torch.arange(size, device=width.device)
        return (place < first) | (place >= first + width)


@AUGMENTATIONS.register("frequency_mask")
class FrequencyMask(SpectrogramMask):
    """Frequency mask: up to `bins` neighbouring STFT bins are zeroed in all stems of each chosen example.

    Shapes: (b, s, c, t) → the same; a bin is rate / n_fft Hz wide. Raises ConfigError for bins below 1 or above
    n_fft / 2.
    """

    def __init__(self, *, p: float, bins: int, n_fft: int, hop: int, generator: torch.Generator | None = None) -> None:
        super().__init__(p=p, n_fft=n_fft, hop=hop, generator=generator)
        self.bins = self.within("bins", bins, 1, n_fft // 2)

    def augment(self, stems: Tensor) -> Tensor:
        return self.to_chosen(stems, self._mask)

    def _mask(self, stems: Tensor) -> Tensor:
        kept = self.kept(len(stems), self.n_fft // 2 + 1, self.bins).to(stems.device)
        spectrum = stft(stems, self.n_fft, self.hop) * kept[:, None, None, None]
        return istft(spectrum, self.n_fft, self.hop, stems.shape[-1])


@AUGMENTATIONS.register("time_mask")
class TimeMask(SpectrogramMask):
    """Time mask: up to `frames` neighbouring STFT frames are zeroed in all stems of each chosen example.

    Zeroing whole frames and inverting multiplies a waveform by what the same does to a constant 1, so only that one is
    ever transformed. Shapes: (b, s, c, t) → the same. Raises ConfigError for frames below 1.
    """

    def __init__(
        self, *, p: float, frames: int, n_fft: int, hop: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(p=p, n_fft=n_fft, hop=hop, generator=generator)
        self.frames = self.within("frames", frames, 1)

    def augment(self, stems: Tensor) -> Tensor:
        return self.to_chosen(stems, self._mask)

    def _mask(self, stems: Tensor) -> Tensor:
        length = stems.shape[-1]
        kept = self.kept(len(stems), frame_count(length, self.hop), self.frames).to(stems.device)
        ones = stft(stems.new_ones(length), self.n_fft, self.hop)
        return stems * istft(ones * kept[..., None], self.n_fft, self.hop, length)[:, None, None]
