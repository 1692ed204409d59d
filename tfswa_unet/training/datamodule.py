"""Training and validation batches of stems, in Lightning's life cycle.

The constructor opens the songs and refuses what cannot work; `prepare_data`, in one process a machine, makes songs,
decodes them to the cache and estimates tempo and key; `setup`, in every process, reads what it left.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, Sampler

from tfswa_unet import audio
from tfswa_unet.data import EpochSampler, Mixing, SegmentDataset, StemPlan, ValidationTracks, data_sets, load_data
from tfswa_unet.data.augmentation import build_augmentation
from tfswa_unet.data.augmentation.base import Config
from tfswa_unet.data.cache import PcmCache, Report, progress_bars
from tfswa_unet.data.pairs import PLAN, unlabelled
from tfswa_unet.data.segments import loader
from tfswa_unet.data.tempo_key import TempoKey, estimate_tempo_keys
from tfswa_unet.data.tracks import DataSet, OnError, index, list_data
from tfswa_unet.errors import ConfigError, DataError
from tfswa_unet.processes import processors
from tfswa_unet.songs.making import make_songs, recipe_of
from tfswa_unet.songs.writing import RATE, SongRecipe
from tfswa_unet.types import STEMS, Source, Split, Track

SPLITS: tuple[Split, ...] = ("train", "valid")
Tracks = Mapping[Split, Sequence[Track]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoaderConfig:
    """Where segments come from and how they are batched; see conf/data."""

    sets: dict[str, Any]  # see `data_sets`
    kind: str | None
    root: str | None
    on_error: OnError
    seconds: float
    samples_per_epoch: int
    batch_size: int  # examples a device
    workers: int
    cache: str | None  # folder of decoded stems; None reads the data sets' own files
    cache_max_gb: float | None
    validation_seconds: float | None  # of each validation track; None for all of it
    mixing: Mixing

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"data.{name} is {getattr(self, name)}, expected {least} or more.")


class SegmentDataModule(L.LightningDataModule):
    """Batches (b, s', c, t) of random crops of the train tracks; the valid tracks (s', c, t), one by one.

    `training` and `validation` are there from the beginning and read the songs' own files, or those that are yet to be
    made; from `setup` on they read the cache. Without a trainer, `ready` does what has to be done before.

    Args:
        config: where the data lies and how it is batched.
        plan: output stems.
        rate: Hz that the model works at.
        channels: channels that the model works with.
        seed: of everything that is drawn.
        augmentation: of single training examples, done where they are read, as for `build_augmentation`.
        mixtures: train songs are read as mixtures, (b, 1, c, t), whether they have stems or not.

    Raises:
        DataError: no tracks at the place, or tracks that cannot be used.
        ConfigError: a stem that the data sets lack, an impossible size or augmentation.
    """

    training: SegmentDataset
    validation: ValidationTracks

    def __init__(
        self,
        config: LoaderConfig,
        plan: StemPlan,
        rate: int,
        channels: int,
        seed: int,
        augmentation: Config | Sequence[Config] | None = None,
        mixtures: bool = False,
    ) -> None:
        super().__init__()
        self.config, self.plan, self.mixtures = config, plan, mixtures
        self.rate, self.channels, self.seed = rate, channels, seed
        self.augmentation = build_augmentation(augmentation, rate=rate)
        self.sets = data_sets(vars(config))
        made = {name: each for name, each in self.sets.items() if each.make or each.render}
        self._recipes = {name: recipe for name, each in made.items() if (recipe := recipe_of(each))}
        self._cache = None if config.cache is None else PcmCache(config.cache, rate, channels)
        self._tracks = self._foreseen() if self._recipes else self._indexed()
        self._assemble(self._tracks, [TempoKey(None, None)] * len(self._tracks["train"]))

    @property
    def covers_mixture(self) -> bool:
        """Whether the output stems are all there is, so that they sum to the mixture."""
        return self.training.targets == len(self.training.names)

    def prepare_data(self) -> None:
        """Make the songs that are missing, decode all stems to the cache and estimate tempo and key where matched.

        Raises:
            DataError: songs that cannot be made, a disk that is too small, no track that can be decoded.
            ConfigError: more bytes than the cache may hold.
            AudioError: a file that cannot be decoded.
        """
        with progress_bars() as report:
            for name in self._recipes:
                make_songs(self.sets[name], report)
            if self._cache is None:
                return
            tracks = self._indexed() if self._recipes else self._tracks
            every = [track for split in SPLITS for track in tracks[split]]
            config = self.config
            told = _telling(report, self._cache.folder)
            self._cache.build(every, max_gb=config.cache_max_gb, on_error=config.on_error, on_progress=told)
        self._tempo_keys(self._cached(tracks)["train"])

    def setup(self, stage: str) -> None:
        """Read what `prepare_data` left.

        Raises DataError where it is not there any more.
        """
        tracks = self._cached(self._indexed() if self._recipes else self._tracks)
        self._assemble(tracks, self._tempo_keys(tracks["train"]))

    def ready(self) -> SegmentDataModule:
        """Prepare and set up without a trainer, and return this."""
        self.prepare_data()
        self.setup("fit")
        return self

    def train_dataloader(self) -> DataLoader[Tensor]:
        sampler = EpochSampler(len(self.training), *self._place())
        if self.trainer:
            # A run resumed in mid-epoch goes on with the next example instead of repeating the epoch's first ones.
            batches: Any = self.trainer.fit_loop.epoch_loop.batch_progress  # type: ignore[attr-defined]
            # Behind the last one it reads none before the next epoch.
            done = 0 if batches.is_last_batch else batches.current.processed
            sampler.skip = done * self.config.batch_size
        drop_last = len(sampler) >= self.config.batch_size
        return loader(self.training, self.config.batch_size, self._workers(), sampler, drop_last)

    def val_dataloader(self) -> DataLoader[Tensor]:
        rank, replicas = self._place()
        # All processes get equally many; those that have none left get the first tracks again, which are not scored.
        sampler: Sampler[int] = DistributedSampler(self.validation, replicas, rank, shuffle=False)
        # Read in this process: separating takes far longer, and workers would each hold whole tracks ready.
        return DataLoader(self.validation, batch_size=None, sampler=sampler)

    def transfer_batch_to_device(self, batch: Tensor, device: torch.device, dataloader_idx: int) -> Tensor:
        # A validation track goes there segment by segment.
        is_track = batch.ndim == 3
        return batch if is_track else super().transfer_batch_to_device(batch, device, dataloader_idx)

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

    def _assemble(self, tracks: Tracks, tempo_keys: Sequence[TempoKey] | None) -> None:
        config = self.config
        self.training = SegmentDataset(
            tracks["train"],
            PLAN if self.mixtures else self.plan,
            config.seconds,
            self.rate,
            self.channels,
            self.seed,
            config.samples_per_epoch,
            config.mixing,
            config.on_error,
            tempo_keys,
            self.augmentation if len(self.augmentation) else None,
        )
        self.validation = ValidationTracks(
            tracks["valid"], self.plan, config.validation_seconds, self.rate, self.channels, config.on_error
        )

    def _indexed(self) -> Tracks:
        """All tracks, their files opened."""
        probe = audio.probe if self._cache is None else self._cache.probe
        on_error = self.config.on_error
        return self._chosen({split: load_data(self.sets, split, on_error=on_error, probe=probe) for split in SPLITS})

    def _foreseen(self) -> Tracks:
        """All tracks as they will be when the missing songs are made."""
        there = {name: each for name, each in self.sets.items() if name not in self._recipes}
        songs = [song for each in list_data(there).values() for song in each]
        made = [track for name, recipe in self._recipes.items() for track in _planned(name, self.sets[name], recipe)]
        tracks = {split: [track for track in made if track.split == split] for split in SPLITS}
        for split in SPLITS:
            tracks[split] += index([song for song in songs if song.split == split], self.config.on_error)
        return self._chosen(tracks)

    def _chosen(self, tracks: Tracks) -> Tracks:
        """The same tracks; where mixtures are learned from, those without stems all train, as nothing scores them."""
        if not self.mixtures:
            return tracks
        labelled = [track for track in tracks["valid"] if track.sources]
        if not labelled:
            raise DataError(
                "There are no songs with stems to validate with: add some, as in data=[unlabelled,folders] "
                "data.sets.folders.root=SONGS."
            )
        alone = [track for track in tracks["valid"] if not track.sources]
        return {"train": unlabelled([*tracks["train"], *alone]), "valid": labelled}

    def _cached(self, tracks: Tracks) -> Tracks:
        """The same tracks, read from the cache where there is one."""
        if self.config.cache is None:
            return tracks
        cache = PcmCache(self.config.cache, self.rate, self.channels)  # anew: another process may have filled it
        cached = {split: cache.lookup(tracks[split]) for split in SPLITS}
        if self.config.on_error == "raise" and any(len(cached[split]) < len(tracks[split]) for split in SPLITS):
            raise DataError(f"The cache {cache.folder} has lost stems since it was filled: run again.")
        return cached

    def _tempo_keys(self, tracks: Sequence[Track]) -> list[TempoKey] | None:
        if not self.config.mixing.needs_tempo_keys:
            return None
        with progress_bars(self._place()[0] == 0) as report:
            return estimate_tempo_keys(tracks, self.config.cache, on_error=self.config.on_error, on_progress=report)


def _telling(report: Report, folder: Path) -> Report:
    """The same report, which says at the first stem that is decoded what one waits for."""
    told = False

    def tell(phase: str, done: int, total: int) -> None:
        nonlocal told
        if phase == "decoding" and not told:
            told = True
            log.warning("decoding %d stems to %s, once: training begins when they are there", total, folder)
        report(phase, done, total)

    return tell


def _planned(name: str, data_set: DataSet, recipe: SongRecipe) -> list[Track]:
    folders = [recipe.folder(Path(data_set.root).expanduser(), number) for number in range(recipe.count)]
    return [
        Track(
            folder.name,
            recipe.split(number),
            RATE,
            recipe.frames,
            {stem: Source(folder / f"{stem}.wav") for stem in STEMS},
            collection=name,
            weight=data_set.weight,
        )
        for number, folder in enumerate(folders)
    ]
