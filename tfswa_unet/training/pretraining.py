"""Self-supervised pre-training on mixtures: hidden patches of spectrograms predicted, segments of songs told apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfswa_unet.config import from_values
from tfswa_unet.data import ValidationTracks
from tfswa_unet.data.pairs import PAIR, PLAN, SongPairs, unlabelled
from tfswa_unet.data.tempo_key import TempoKey
from tfswa_unet.dsp import Complex, unstack_subbands
from tfswa_unet.errors import ConfigError
from tfswa_unet.models import SpectralModel
from tfswa_unet.models.config import FEATURE_MAPS
from tfswa_unet.models.spectral import noise_unit
from tfswa_unet.training.datamodule import SegmentDataModule, Tracks
from tfswa_unet.training.module import TrainingModule
from tfswa_unet.training.optimization import Monitor

LOSS = Monitor("val/loss", "loss", "", "term", -1)
FLOOR = 1e-3  # of magnitudes in units of the song's level: −60 dB, below which all is alike
MOST_SEGMENTS = 16  # of a validation track
BLENDING = ("remix", "mixup", "bleed")  # augmentations that put one song into another


@dataclass(frozen=True)
class MaskedConfig:
    """Prediction of hidden patches; see conf/task/pretrain.yaml."""

    weight: float
    share: float
    patch: tuple[int, ...]  # frames, bins

    def __post_init__(self) -> None:
        _check(self.weight >= 0, "masked.weight", self.weight, "0 (off) or above")
        _check(0 < self.share < 1, "masked.share", self.share, "a share between 0 and 1 of the patches")
        whole = len(self.patch) == 2 and min(self.patch) >= 1
        _check(whole, "masked.patch", list(self.patch), "frames and bins, both 1 or more, such as [8, 64]")


@dataclass(frozen=True)
class ContrastiveConfig:
    """Segments of one song against those of others; see conf/task/pretrain.yaml."""

    weight: float
    temperature: float
    features: int

    def __post_init__(self) -> None:
        _check(self.weight >= 0, "contrastive.weight", self.weight, "0 (off) or above")
        _check(self.temperature > 0, "contrastive.temperature", self.temperature, "a number above 0")
        _check(self.features >= 1, "contrastive.features", self.features, "1 or more")


@dataclass(frozen=True)
class PretrainConfig:
    """See conf/task/pretrain.yaml."""

    name: str
    masked: MaskedConfig
    contrastive: ContrastiveConfig

    def __post_init__(self) -> None:
        both = self.masked.weight + self.contrastive.weight
        _check(
            both > 0, "masked.weight and task.contrastive.weight", "0 both", "one above 0, or there is nothing to learn"
        )


class MixtureDataModule(SegmentDataModule):
    """Batches (b, 2, c, t) of pairs of segments, each of one song's mixture; the valid mixtures (1, c, t), one by one.

    Arguments and errors are those of `SegmentDataModule`; songs need no stems.
    """

    def _chosen(self, tracks: Tracks) -> Tracks:
        return {split: unlabelled(each) for split, each in tracks.items()}

    def _assemble(self, tracks: Tracks, tempo_keys: Sequence[TempoKey] | None) -> None:
        c = self.config
        augmentation = self.augmentation if len(self.augmentation) else None
        drawn = (c.seconds, self.rate, self.channels, self.seed, c.samples_per_epoch, c.mixing, c.on_error)
        self.training = SongPairs(tracks["train"], *drawn, augmentation)
        self.validation = ValidationTracks(
            tracks["valid"], PLAN, c.validation_seconds, self.rate, self.channels, c.on_error
        )

    def _tempo_keys(self, tracks: object) -> None:
        return None


class PretrainingModule(TrainingModule):
    """Train a model's network on mixtures: predict hidden patches of their spectrograms, tell songs' segments apart.

    Batches are pairs of segments (b, 2, c, t). Some patches of what the network sees are replaced by a learned value;
    its output, through one linear layer, predicts the log-magnitudes there, and its bottleneck's tokens, averaged over
    a segment and projected, are to be more like those of the same song's other segment than like any other song's.

    Validation does the same with segments of whole tracks (1, c, t), a track's first and last against those of all
    others, and logs `val/loss` and its weighted terms, `val/loss_masked` and `val/loss_contrastive`; where weights are
    averaged, these are the average's, and `val_raw/…` those of the weights that are trained.

    Sources: masked spectrogram patches, SSAST, arXiv 2110.09784; contrastive, CLMR, arXiv 2103.09410.

    Args:
        model: as for `TrainingModule`, as are the other arguments.
        task: see conf/task/pretrain.yaml.

    Raises:
        ConfigError: for unknown names or impossible values in any of these.
    """

    monitor = LOSS

    def __init__(
        self,
        model: dict[str, Any],
        task: dict[str, Any],
        optimizer: dict[str, Any],
        scheduler: dict[str, Any],
        augmentation: dict[str, Any],
        gradient_clip: float,
        max_skipped: int,
        gradient_checkpointing: bool,
        compile: bool,
        seed: int,
    ) -> None:
        blending = [name for name in BLENDING if (augmentation or {}).get(name)]
        if blending:
            raise ConfigError(
                f"augmentation.{blending[0]} puts one song into another, which task=pretrain is to tell apart: set "
                f"augmentation.{blending[0]}=null"
            )
        super().__init__(
            model,
            optimizer,
            scheduler,
            augmentation,
            gradient_clip,
            max_skipped,
            gradient_checkpointing,
            compile,
            seed,
        )
        self.save_hyperparameters()
        self.task = from_values(PretrainConfig, task, "task")
        c = self.model.model_config
        width, features = c.network["widths"][-1], self.task.contrastive.features
        self.hidden_value = nn.Parameter(torch.zeros(c.channels * FEATURE_MAPS[c.features], 1, 1))
        self.predict = nn.Conv2d(c.maps_out, c.channels * c.subbands, 1)
        self.project = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, features))

    def loss_of(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        segments = self.augmentation(batch).flatten(0, 1)  # those of a song side by side
        masked, embeddings = self.examine(segments, None)
        return self.total(masked, info_nce(embeddings, self.task.contrastive.temperature))

    def total(self, masked: Tensor, contrastive: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of both losses, and those of them that have a weight by name."""
        weights = self.weights
        losses = {"masked": masked, "contrastive": contrastive}
        # With its weight 0 a loss still reaches its parameters, which DDP waits for.
        total = torch.stack([weights[name] * value for name, value in losses.items()]).sum()
        return total, {name: value.detach() for name, value in losses.items() if weights[name]}

    @property
    def weights(self) -> dict[str, float]:
        """Of the losses, by name."""
        return {"masked": self.task.masked.weight, "contrastive": self.task.contrastive.weight}

    def examine(self, segments: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Hide patches of segments (b, c, t) and look at them.

        Args:
            segments: mixtures.
            generator: that chooses the patches; None for torch's own.

        Returns:
            mean absolute error of the predicted log10-magnitudes where they were hidden, and embeddings (b, d) of
            length 1.
        """
        model: SpectralModel = self.model
        spectrum, scale, seen = model.analyse(segments)
        hidden = self._choose(spectrum, generator).to(segments.device)
        shown = [torch.where(_resized(hidden, maps), self.hidden_value.to(maps.dtype), maps) for maps in seen]
        with _kept_output(model.network.bottleneck) as kept:  # type: ignore[arg-type]
            maps = model.maps(shown)
        predicted = unstack_subbands(self.predict(maps), model.model_config.subbands).float()
        unit = noise_unit(model.model_config.n_fft) / scale  # as the network's features have it
        truth = (spectrum.abs() * unit + FLOOR).log10()
        where = hidden.expand_as(truth)
        # Nothing is hidden where that has no weight: 0.
        error = ((predicted - truth).abs() * where).sum() / where.sum().clamp_min(1)
        tokens = kept[0].float().mean(dim=(1, 2))
        return error, F.normalize(self.project(tokens).float(), dim=-1)

    def _choose(self, spectrum: Complex, generator: torch.Generator | None) -> Tensor:
        """Which points of spectrograms (b, c, n, f) are hidden, (b, 1, n, f) booleans, the same in all channels."""
        (frames, bins), masked = self.task.masked.patch, self.task.masked
        b, _, n, f = spectrum.shape
        # Drawn on the CPU, so that no accelerator is waited for and all draw alike.
        chosen = torch.rand(b, -(-n // frames), -(-f // bins), generator=generator)
        patches = chosen < (masked.share if masked.weight else 0.0)
        points = patches.repeat_interleave(frames, dim=1).repeat_interleave(bins, dim=2)
        return points[:, None, :n, :f]

    def on_validation_epoch_start(self) -> None:
        self._found: dict[str, list[Tensor]] = {name: [] for name in self.validated()}

    def validation_step(self, track: Tensor, index: int) -> None:
        number = index * self.trainer.world_size + self.global_rank
        size = self.trainer.datamodule.training.size  # type: ignore[attr-defined]
        segments = evenly(track[0], size, PAIR if self.trainer.sanity_checking else MOST_SEGMENTS).to(self.device)
        for name, module in self.validated().items():
            generator = torch.Generator().manual_seed(number)
            error, embeddings = module.eval().examine(segments, generator)
            row = torch.cat([error.new_tensor([number, 0.0]), embeddings[0], embeddings[-1]])
            row[1] = error
            self._found[name].append(row)

    def on_validation_epoch_end(self) -> None:
        known = len(self.trainer.datamodule.validation)  # type: ignore[attr-defined]
        for name, rows in self._found.items():
            of_all = cast(Tensor, self.all_gather(torch.stack(rows))).flatten(0, -2)
            found = torch.stack([row for row in of_all if row[0] < known])
            pairs = found[:, 2:].unflatten(1, (PAIR, -1)).flatten(0, 1)
            contrastive = info_nce(pairs, self.task.contrastive.temperature)
            total, terms = self.total(found[:, 1].mean(), contrastive)
            parts = {f"{name}/loss_{each}": self.weights[each] * term for each, term in terms.items()}
            self.log_dict({f"{name}/loss": total, **parts})


def info_nce(embeddings: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of telling each segment's other one from all segments of other songs, by cosines.

    Args:
        embeddings: (2·b, d) of length 1, those of a song side by side.
        temperature: of the softmax.

    Returns:
        the mean, which is 0 where there is one song. Source: InfoNCE, arXiv 1807.03748; NT-Xent, arXiv 2002.05709.
    """
    alike = embeddings @ embeddings.mT / temperature
    itself = torch.eye(len(alike), dtype=torch.bool, device=alike.device)
    other = torch.arange(len(alike), device=alike.device) ^ 1
    return F.cross_entropy(alike.masked_fill(itself, -torch.inf), other)


def evenly(mixture: Tensor, size: int, most: int) -> Tensor:
    """Segments (k, c, t) of `size` samples spread evenly over a mixture (c, t'), two or more and at most `most`.

    What is shorter than one ends in zeros.
    """
    mixture = F.pad(mixture, (0, max(0, size - mixture.shape[-1])))
    last = mixture.shape[-1] - size
    count = min(most, max(PAIR, mixture.shape[-1] // size))
    return torch.stack([mixture[:, start : start + size] for start in np.linspace(0, last, count).astype(int)])


def _resized(hidden: Tensor, maps: Tensor) -> Tensor:
    """The same moments and bands at the resolution of maps (b, m, n, f)."""
    if hidden.shape[2:] == maps.shape[2:]:
        return hidden
    return F.interpolate(hidden.float(), maps.shape[2:], mode="nearest") > 0


@contextmanager
def _kept_output(module: nn.Module) -> Iterator[list[Tensor]]:
    """Keep what a module gives inside the context."""
    kept: list[Tensor] = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    try:
        yield kept
    finally:
        handle.remove()


def _check(holds: bool, key: str, value: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"task.{key} is {value}, expected {expected}")
