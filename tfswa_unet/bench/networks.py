"""Other packages' separation networks, with random weights, in the form that ours have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfswa_unet.bench.results import MissingPackage
from tfswa_unet.inference import Separator
from tfswa_unet.inference.precision import Precision

INSTALL = "pip install demucs openunmix BS-RoFormer"
Whole = Callable[[Tensor], Tensor]  # mixture (c, t) → stems (s, c, t), both on the CPU


class Peer(nn.Module, ABC):
    """A network of another package, as a `types.StemModel`."""

    rate = 44_100
    channels = 2

    def __init__(self, stems: tuple[str, ...], network: Any) -> None:
        super().__init__()
        self.stems = stems
        self.network = network

    def forward(self, mixture: Tensor) -> Tensor:
        return self.network(mixture)

    def prepare(self, mixtures: Iterable[Tensor]) -> None:
        """Take from mixtures (b, c, t) what the package sets before training; most take nothing."""

    @abstractmethod
    def ways(self, precision: Precision = "fp32") -> dict[str, Whole]:
        """The ways in which the package separates a whole track, by name, its usual one first."""

    def by_package(self, whole: Whole, precision: Precision) -> Whole:
        """A way that the package's own code goes, in evaluation mode and a precision."""
        device = next(self.parameters()).device

        def separate(mixture: Tensor) -> Tensor:
            self.eval()
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                return whole(mixture.to(device)).float().cpu()

        return separate


class HTDemucs(Peer):
    """Hybrid Transformer Demucs, arXiv 2211.08553: demucs.htdemucs, tracks by demucs.apply.apply_model."""

    SEGMENT = 7.8  # s, published

    def __init__(self, stems: tuple[str, ...], **sizes: int) -> None:
        module = _load("demucs.htdemucs", "demucs")
        super().__init__(stems, module.HTDemucs(list(stems), samplerate=self.rate, segment=self.SEGMENT, **sizes))

    def ways(self, precision: Precision = "fp32") -> dict[str, Whole]:
        # Training leaves its segment's length behind, which demucs separates with; a short one may do it no justice.
        segments = dict.fromkeys((float(self.network.segment), self.SEGMENT))
        return {
            f"segments of {seconds:g} s": self.by_package(partial(self._track, seconds), precision)
            for seconds in segments
        }

    def _track(self, segment: float, mixture: Tensor) -> Tensor:
        apply_model = _load("demucs.apply", "demucs").apply_model
        trained, self.network.segment = self.network.segment, segment
        try:
            # Scaled as demucs.api.Separator scales tracks.
            mono = mixture.mean(dim=0)
            mean, scale = mono.mean(), mono.std() + 1e-8
            stems = apply_model(self.network, ((mixture - mean) / scale)[None], shifts=0, split=True, overlap=0.25)
        finally:
            self.network.segment = trained
        return stems[0] * scale + mean


class OpenUnmix(Peer):
    """Open-Unmix, doi 10.21105/joss.01667: one openunmix.model.OpenUnmix a stem, tracks by its Separator.

    With `softmask`, stems' magnitudes only divide the mixture among them, so that the stems sum to it.
    """

    BANDWIDTH = 16_000  # Hz that the network sees

    def __init__(self, stems: tuple[str, ...], hidden: int, n_fft: int, softmask: bool) -> None:
        model = _load("openunmix.model", "openunmix")
        seen = _load("openunmix.utils", "openunmix").bandwidth_to_max_bin(self.rate, n_fft, self.BANDWIDTH)
        targets = {stem: model.OpenUnmix(n_fft // 2 + 1, self.channels, hidden, max_bin=int(seen)) for stem in stems}
        # One step of expectation maximisation is the package's default.
        separator = model.Separator(targets, niter=1, softmask=softmask, n_fft=n_fft, n_hop=n_fft // 4)
        super().__init__(stems, separator)

    def forward(self, mixture: Tensor) -> Tensor:
        """What the package's Separator gives without expectation maximisation, differentiable and in one batch."""
        spectrum = torch.view_as_complex(self.network.stft(mixture))  # (b, c, f, n): bins first here
        magnitude = spectrum.abs()
        estimates = torch.stack([target(magnitude) for target in self.network.target_models.values()], dim=1).float()
        if self.network.softmask:
            stems = estimates / (estimates.sum(dim=1, keepdim=True) + 1e-10) * spectrum[:, None]
        else:
            stems = estimates * spectrum.sgn()[:, None]
        return self.network.istft(torch.view_as_real(stems), length=mixture.shape[-1])

    def prepare(self, mixtures: Iterable[Tensor]) -> None:
        """Set the input's mean and scale by the mixtures' spectrograms, as openunmix's training script does."""
        sums, squares, frames = torch.zeros(1), torch.zeros(1), 0
        for mixture in mixtures:
            magnitude = torch.view_as_complex(self.network.stft(mixture)).abs().mean(dim=1).double()  # (b, f, n)
            sums = sums + magnitude.sum(dim=(0, 2)).cpu()
            squares = squares + magnitude.square().sum(dim=(0, 2)).cpu()
            frames += magnitude.shape[0] * magnitude.shape[2]
        mean = sums / frames
        scale = (squares / frames - mean.square()).clamp_min(0).sqrt()
        scale = scale.clamp_min(1e-4 * scale.max().item())
        for target in self.network.target_models.values():
            target.input_mean.data.copy_(-mean[: target.nb_bins])
            target.input_scale.data.copy_(1 / scale[: target.nb_bins])

    def ways(self, precision: Precision = "fp32") -> dict[str, Whole]:
        steps = {"one EM step": 1, "mixture's phase": 0}
        return {name: self.by_package(partial(self._track, count), precision) for name, count in steps.items()}

    def _track(self, steps: int, mixture: Tensor) -> Tensor:
        self.network.niter = steps
        return self.network(mixture[None])[0]


class BSRoFormer(Peer):
    """BS-RoFormer, arXiv 2309.02612, by lucidrains' package; tracks in chunks of 8 s that share a quarter.

    With the paper's residual connections: the package's hyper-connections, its default now, take about twice the time.
    """

    CHUNK, SHARED = 8.0, 2.0  # s

    def __init__(self, stems: tuple[str, ...], dim: int, depth: int, **sizes: int) -> None:
        module = _load("bs_roformer", "BS-RoFormer")
        network = module.BSRoformer(
            dim=dim, depth=depth, stereo=True, num_stems=len(stems), num_residual_streams=1, **sizes
        )
        super().__init__(stems, network)

    def forward(self, mixture: Tensor) -> Tensor:
        stems = self.network(mixture)
        return F.pad(stems, (0, mixture.shape[-1] - stems.shape[-1]))  # the package drops what is no whole hop

    def ways(self, precision: Precision = "fp32") -> dict[str, Whole]:
        whole, _ = _by_separator(self, precision, segment_seconds=self.CHUNK, overlap_seconds=self.SHARED)
        return {"chunks": whole}


def ways(model: Any, precision: Precision = "fp32") -> dict[str, Whole]:
    """The ways in which a model separates a whole track, ours or another package's; the usual one first."""
    if isinstance(model, Peer):
        return model.ways(precision)
    whole, seconds = _by_separator(model, precision)
    return {f"segments of {seconds:g} s": whole}


Builder = Callable[[tuple[str, ...]], Peer]  # raises MissingPackage where the package is not installed
PUBLISHED: dict[str, Builder] = {
    "htdemucs": lambda stems: HTDemucs(stems, depth=4, channels=48, t_layers=5, bottom_channels=512),
    "openunmix": lambda stems: OpenUnmix(stems, hidden=512, n_fft=4096, softmask=False),
    "bs_roformer": lambda stems: BSRoFormer(stems, dim=192, depth=6),
}
# For a contest with tfswa_tiny (0.8 M parameters) and tfswa_base (2.6 M): 8.9 M, 0.8 M and 2.6 M.
SMALL: dict[str, Builder] = {
    "openunmix": lambda stems: OpenUnmix(stems, hidden=256, n_fft=2048, softmask=True),
    "htdemucs": lambda stems: HTDemucs(stems, depth=4, channels=8, t_layers=5, bottom_channels=64),
    "bs_roformer": lambda stems: BSRoFormer(
        stems,
        dim=64,
        depth=2,
        heads=4,
        dim_head=16,
        time_transformer_depth=1,
        freq_transformer_depth=1,
        mask_estimator_depth=1,
    ),
}


def _by_separator(model: Any, precision: Precision, **seconds: Any) -> tuple[Whole, float]:
    """Whole tracks by our own separator, and the length of its segments in s."""
    separator = Separator(model, next(model.parameters()).device, precision=precision, **seconds)

    def separate(mixture: Tensor) -> Tensor:
        stems = separator.separate(mixture.numpy(), model.rate)
        return torch.stack([torch.from_numpy(stem) for stem in stems.values()])

    return separate, separator.segment_seconds


def _load(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingPackage(
            f"{package} cannot be imported ({error}): run `{INSTALL}` in this environment, or leave that peer out"
        ) from error
