"""Training and validation batches of stems."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from tfswa_unet.data import EpochSampler, Mixing, SegmentDataset, StemPlan, ValidationSegments, load_tracks


@dataclass(frozen=True)
class LoaderConfig:
    """Where segments come from and how they are batched; see conf/data."""

    root: str
    kind: str
    seconds: float
    samples_per_epoch: int
    batch_size: int  # examples a device
    workers: int
    validation_seconds: float
    validation_per_track: int | None
    mixing: dict[str, Any] = field(default_factory=dict)


class SegmentDataModule(L.LightningDataModule):
    """Batches (b, s', c, t): random crops of the train tracks, fixed segments of the valid tracks.

    Args:
        config: where the data lies and how it is batched.
        plan: output stems.
        rate: Hz that the model works at.
        channels: channels that the model works with.
        seed: of everything that is drawn.

    Raises:
        DataError: no tracks at the place, or tracks that cannot be used.
        ConfigError: a stem that the data set lacks, or an impossible size.
    """

    def __init__(self, config: LoaderConfig, plan: StemPlan, rate: int, channels: int, seed: int) -> None:
        super().__init__()
        self.config = config
        tracks = {split: load_tracks(config.kind, config.root, split) for split in ("train", "valid")}
        self.training = SegmentDataset(
            tracks["train"],
            plan,
            config.seconds,
            rate,
            channels,
            seed,
            config.samples_per_epoch,
            Mixing.from_config(config.mixing),
        )
        self.validation = ValidationSegments(
            tracks["valid"], plan, config.validation_seconds, rate, channels, config.validation_per_track
        )

    @property
    def covers_mixture(self) -> bool:
        """Whether the output stems are all there is, so that they sum to the mixture."""
        return self.training.targets == len(self.training.names)

    def train_dataloader(self) -> DataLoader[Tensor]:
        sampler = EpochSampler(len(self.training), *self._place())
        if self.trainer:
            # A run resumed in mid-epoch goes on with the next example instead of repeating the epoch's first ones.
            sampler.skip = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready * self.config.batch_size
        return self._loader(self.training, sampler=sampler, drop_last=len(sampler) >= self.config.batch_size)

    def val_dataloader(self) -> DataLoader[Tensor]:
        rank, replicas = self._place()
        return self._loader(self.validation, sampler=DistributedSampler(self.validation, replicas, rank, shuffle=False))

    def _place(self) -> tuple[int, int]:
        """(rank, replicas) of this process."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, dataset: Dataset[Tensor], **options: Any) -> DataLoader[Tensor]:
        return DataLoader(
            dataset,
            batch_size=self.config.batch_size,
            num_workers=self.config.workers,
            persistent_workers=self.config.workers > 0,
            pin_memory=torch.cuda.is_available(),
            **options,
        )
