"""SpecAugment's frequency and time masks (doi:10.21437/Interspeech.2019-2680)."""

from __future__ import annotations

import torch
from torch import Tensor

from tfswa_unet.data.augmentation.base import AUGMENTATIONS, Augmentation, spans
from tfswa_unet.dsp import frames as frame_count
from tfswa_unet.dsp import istft, stft


@AUGMENTATIONS.register("frequency_mask")
class FrequencyMask(Augmentation):
    """Frequency mask: up to `bins` neighbouring STFT bins are zeroed in all stems of each chosen example.

    Shapes: (b, s, c, t) → the same; a bin is
    rate / n_fft Hz wide. Raises ConfigError for bins below 1 or above n_fft / 2.
    """

    def __init__(
        self,
        *,
        p: float,
        bins: int,
        n_fft: int,
        hop: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p=p, generator=generator)
        self.n_fft = self.within("n_fft", n_fft, 2)
        self.hop = self.within("hop", hop, 1, n_fft // 2)
        self.bins = self.within("bins", bins, 1, n_fft // 2)

    def augment(self, stems: Tensor) -> Tensor:
        chosen = self.chosen(len(stems)).nonzero().flatten()
        if not len(chosen):
            return stems
        keep = ~spans(self, len(chosen), self.n_fft // 2 + 1, self.bins).to(stems.device)
        chosen = chosen.to(stems.device)
        spectrum = stft(stems[chosen], self.n_fft, self.hop) * keep[:, None, None, None, :]
        return stems.index_copy(0, chosen, istft(spectrum, self.n_fft, self.hop, stems.shape[-1]))


@AUGMENTATIONS.register("time_mask")
class TimeMask(Augmentation):
    """Time mask: up to `frames` neighbouring STFT frames are zeroed in all stems of each chosen example.

    Zeroing whole frames and inverting multiplies a
    waveform by what the same does to a constant 1, so only that one is ever transformed. Shapes: (b, s, c, t) → the
    same. Raises ConfigError for frames below 1.
    """

    def __init__(
        self,
        *,
        p: float,
        frames: int,
        n_fft: int,
        hop: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p=p, generator=generator)
        self.n_fft = self.within("n_fft", n_fft, 2)
        self.hop = self.within("hop", hop, 1, n_fft // 2)
        self.frames = self.within("frames", frames, 1)

    def augment(self, stems: Tensor) -> Tensor:
        length = stems.shape[-1]
        chosen = self.chosen(len(stems))
        if not chosen.any():
            return stems
        gone = spans(self, len(stems), frame_count(length, self.hop), self.frames).to(stems.device)
        ones = stft(stems.new_ones(length), self.n_fft, self.hop)
        envelope = istft(ones * ~gone[..., None], self.n_fft, self.hop, length)
        envelope = torch.where(chosen[:, None].to(stems.device), envelope, torch.ones_like(envelope))
        return stems * envelope[:, None, None, :]
