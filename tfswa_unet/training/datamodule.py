"""Training and validation batches of stems."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import lightning as L
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, Sampler

from tfswa_unet.data import EpochSampler, Mixing, SegmentDataset, StemPlan, ValidationSegments, load_data
from tfswa_unet.data.augmentation import Compose, build_augmentation
from tfswa_unet.data.augmentation.compose import Config
from tfswa_unet.data.batches import loader
from tfswa_unet.data.cache import PcmCache, progress_bars
from tfswa_unet.data.music import Music, listen_to
from tfswa_unet.data.tracks import OnError
from tfswa_unet.processes import processors
from tfswa_unet.types import Split, Track

log = logging.getLogger(__name__)


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
    options: dict[str, Any] = field(default_factory=dict)  # of the data set's kind
    mixture: tuple[dict[str, Any], ...] = ()  # the data sets of kind "mixture"
    on_error: OnError = "raise"
    cache: str | None = None  # folder of decoded stems; None reads the data set's own files
    cache_max_gb: float | None = None  # 10⁹ bytes that the folder may hold; None: what the disk has


class SegmentDataModule(L.LightningDataModule):
    """Batches (b, s', c, t): random crops of the train tracks, fixed segments of the valid tracks.

    Args:
        config: where the data lies and how it is batched.
        plan: output stems.
        rate: Hz that the model works at.
        channels: channels that the model works with.
        seed: of everything that is drawn.
        augmentation: of single training examples, done where they are read, as for `build_augmentation`.

    Raises:
        DataError: no tracks at the place, or tracks that cannot be used.
        ConfigError: a stem that the data set lacks, an impossible size, mixing or augmentation.
    """

    def __init__(
        self,
        config: LoaderConfig,
        plan: StemPlan,
        rate: int,
        channels: int,
        seed: int,
        augmentation: Config | Sequence[Config] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        mixing = Mixing.from_config(config.mixing)
        augment = _augmentation(augmentation, rate)
        tracks = _tracks(config, rate, channels)
        self.training = SegmentDataset(
            tracks["train"],
            plan,
            config.seconds,
            rate,
            channels,
            seed,
            config.samples_per_epoch,
            mixing,
            config.on_error,
            _music(config, tracks["train"]) if mixing.needs_music else None,
            augment,
        )
        self.validation = ValidationSegments(
            tracks["valid"],
            plan,
            config.validation_seconds,
            rate,
            channels,
            config.validation_per_track,
            config.on_error,
        )

    @property
    def covers_mixture(self) -> bool:
        """Whether the output stems are all there is, so that they sum to the mixture."""
        return self.training.targets == len(self.training.names)

    def train_dataloader(self) -> DataLoader[Tensor]:
        sampler = EpochSampler(len(self.training), *self._place())
        if self.trainer:
            # A run resumed in mid-epoch goes on with the next example instead of repeating the epoch's first ones.
            sampler.skip = self.trainer.fit_loop.epoch_loop.batch_progress.current.processed * self.config.batch_size  # type: ignore[attr-defined]
        drop_last = len(sampler) >= self.config.batch_size
        return loader(self.training, self.config.batch_size, self._workers(), sampler, drop_last)

    def val_dataloader(self) -> DataLoader[Tensor]:
        rank, replicas = self._place()
        sampler: Sampler[int] = DistributedSampler(self.validation, replicas, rank, shuffle=False)
        return loader(self.validation, self.config.batch_size, self._workers(), sampler)

    def teardown(self, stage: str) -> None:
        """Say which tracks could not be read, where on_error went without them."""
        for dataset in (self.training, self.validation):
            if summary := dataset.faults.summary():
                log.warning("%s", summary)

    def _place(self) -> tuple[int, int]:
        """(rank, replicas) of this process."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _workers(self) -> int:
        return min(self.config.workers, processors())


def _augmentation(config: Config | Sequence[Config] | None, rate: int) -> Compose | None:
    augmentation = build_augmentation(config, rate=rate)
    return augmentation if len(augmentation) else None


def _music(config: LoaderConfig, tracks: Sequence[Track]) -> list[Music]:
    with progress_bars() as report:
        return listen_to(tracks, config.cache, on_error=config.on_error, on_progress=report)


def _tracks(config: LoaderConfig, rate: int, channels: int) -> dict[Split, list[Track]]:
    """The train and valid tracks, decoded to the cache first where there is one."""
    splits: tuple[Split, ...] = ("train", "valid")
    if config.cache is None:
        return {split: load_data(asdict(config), split) for split in splits}
    cache = PcmCache(config.cache, rate, channels)
    tracks = [track for split in splits for track in load_data(asdict(config), split, probe=cache.probe)]
    with progress_bars() as report:
        cached = cache.build(tracks, max_gb=config.cache_max_gb, on_error=config.on_error, on_progress=report).tracks
    return {split: [track for track in cached if track.split == split] for split in splits}
