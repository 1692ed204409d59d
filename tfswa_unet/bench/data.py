"""How fast examples are read, by reader of the files, and what each augmentation adds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tfswa_unet.bench.layouts import MADE, DataSetAt, MusdbSegments, check_musdb, made_songs, own_songs
from tfswa_unet.bench.measures import median_seconds
from tfswa_unet.bench.settings import DataSetting
from tfswa_unet.bench.subject import CHANNELS, RATE, as_in_training, mixtures, set_up
from tfswa_unet.config import choice, from_values
from tfswa_unet.data import StemPlan
from tfswa_unet.data.augmentation import AUGMENTATIONS, build_augmentation, split
from tfswa_unet.errors import unknown
from tfswa_unet.processes import processors
from tfswa_unet.training.datamodule import LoaderConfig, SegmentDataModule
from tfswa_unet.types import STEMS

RUNS = 3  # of each augmentation
ALL = "strong"  # the file of conf/augmentation that names all of them
BASELINE = "musdb"  # of the ratios: musdb's own reader on .stem.mp4
MUSDB = {"musdb": False, "musdb_wav": True}  # is_wav
CACHED = "cached"
PLAIN, AUGMENTED = "none", "default"
ENDLESS = 10_000_000  # examples in an epoch, so that none ends while it is measured
SHORTEST = 1.0  # s that are measured at least, for readers of a thousand examples a second
SONG, SHORTEST_SONG = 5, 2.0  # segments in a song that is made, and s
WARM_UP = 2  # batches of each worker: the first waits for the process to start


@dataclass(frozen=True)
class AugmentationCost:
    """One augmentation with its settings in conf/augmentation/strong, but for p = 1, alone on a batch."""

    augmentation: str
    milliseconds: float  # for one example, all its stems
    in_workers: bool  # runs in the loader's processes, on one thread each; else in training's own


@dataclass(frozen=True)
class DataRow:
    """One reader, with what was done to its examples: (s, c, t) of `seconds` a sample."""

    reader: str
    augmentation: str
    samples_per_second: float
    ratio_to_musdb: float | None  # to musdb's own reader on .stem.mp4; None where that was not measured


@dataclass(frozen=True)
class DataRecord:
    """`settings` are those that were run, with nothing left open but what was made for the time being."""

    settings: DataSetting
    rows: tuple[DataRow, ...]
    augmentations: tuple[AugmentationCost, ...]


def measure(setting: DataSetting) -> DataRecord:
    """Measure readers one after the other on the same songs, as training on four stems waits for them.

    Ours are measured through `SegmentDataModule`, with the mixing of conf/data; musdb's reads whole songs only, in as
    many processes. The files are in the system's memory before they are read, so that no disk is measured. musdb
    decodes a stem from its beginning to the segment: on songs longer than those made here it is slower.

    Raises:
        ConfigError: for unknown names or impossible values, or where musdb or ffmpeg is needed and missing.
        DataError: for a data set that is missing or unusable.
    """
    own = None if setting.data is None else own_songs(setting.data, setting.kind)
    seconds, batch = as_in_training("seconds", setting.seconds), as_in_training("batch_size", setting.batch)
    readers = _checked_readers(setting, tuple(own or MADE))
    workers = processors() if setting.workers is None else min(setting.workers, processors())
    set_up(setting.threads)
    setting = replace(
        setting, seconds=seconds, batch=batch, readers=readers, workers=workers, threads=torch.get_num_threads()
    )
    loading = {"seconds": seconds, "batch_size": batch, "workers": workers}
    speeds = {(reader, name): 0.0 for reader in readers for name in _augmentations(setting, reader)}
    with tempfile.TemporaryDirectory() as folder:
        places = own or made_songs(Path(folder), max(SHORTEST_SONG, SONG * seconds), readers)
        cache = setting.cache or str(Path(folder) / "cache")
        for reader, name in speeds:
            for_workers, for_batches = split(choice("augmentation", name))
            augment = build_augmentation(for_batches, rate=RATE).train()
            loader = _loader(loading, reader, places[reader], cache, for_workers)
            speeds[reader, name] = samples_per_second(loader, augment, setting.samples)
            del loader  # its processes end before others are measured
    musdb = speeds.get((BASELINE, PLAIN))
    rows = tuple(DataRow(*which, speed, speed / musdb if musdb else None) for which, speed in speeds.items())
    return DataRecord(setting, rows, tuple(measure_augmentations(batch, len(STEMS), seconds, RATE)))


def data_module(
    values: dict[str, Any], stems: dict[str, Any], rate: int, channels: int, augmentation: Any
) -> SegmentDataModule:
    """Training's data module, ready to give batches.

    Args:
        values: as in conf/data.
        stems: as in conf/stems.
        rate: Hz that the stems are given at.
        channels: that they are given with.
        augmentation: what the loader's workers do.
    """
    config, plan = from_values(LoaderConfig, values, "data"), StemPlan.from_config(stems)
    return SegmentDataModule(config, plan, rate, channels, seed=0, augmentation=augmentation).ready()


def samples_per_second(loader: DataLoader[Tensor], augment: Callable[[Tensor], Tensor], samples: int) -> float:
    """Examples a second after a warm-up; whole rounds of the workers, whose batches come at about the same time.

    Args:
        loader: gives batches (b, s, c, t) without end.
        augment: is done with each.
        samples: to be counted at least, in `SHORTEST` s at least.
    """
    batches = iter(loader)
    a_round = max(1, loader.num_workers)
    for _ in range(WARM_UP * a_round):
        augment(next(batches))
    counted, start = 0, time.perf_counter()
    while counted < samples or time.perf_counter() - start < SHORTEST:
        counted += sum(len(augment(next(batches))) for _ in range(a_round))
    return counted / (time.perf_counter() - start)


def measure_augmentations(batch: int, stems: int, seconds: float, rate: int) -> list[AugmentationCost]:
    """Median time of each augmentation on the CPU, of a batch of `batch` stereo examples at `rate` Hz."""
    sounds = mixtures(batch * stems, 2, seconds, rate).unflatten(0, (batch, stems)) / stems
    costs = []
    for name, settings in choice("augmentation", ALL).items():
        augment = build_augmentation({name: {**settings, "p": 1.0}}, rate=rate).train()
        in_workers = AUGMENTATIONS[name].in_workers
        with _threads(1 if in_workers else torch.get_num_threads()):
            elapsed = median_seconds(lambda augment=augment: augment(sounds), RUNS, sounds.device)  # type: ignore[misc]
        costs.append(AugmentationCost(name, 1000 * elapsed / batch, in_workers))
    return costs


def _checked_readers(setting: DataSetting, available: tuple[str, ...]) -> tuple[str, ...]:
    """What the setting asks for; what cannot be measured is refused before work starts."""
    readers = tuple(dict.fromkeys(setting.readers or available))
    for reader in readers:
        if reader not in available:
            raise unknown("reader" if setting.data is None else f"reader of {setting.data}", reader, available)
        for name in _augmentations(setting, reader):
            choice("augmentation", name)
    if set(MUSDB) & set(readers):
        check_musdb()
    return readers


def _augmentations(setting: DataSetting, reader: str) -> tuple[str, ...]:
    if reader in MUSDB:
        return (PLAIN,)
    if setting.augmentation is not None:
        return (setting.augmentation,)
    return (PLAIN, AUGMENTED) if reader == CACHED else (PLAIN,)


def _loader(
    loading: dict[str, Any], reader: str, place: DataSetAt, cache: str, augmentation: Any
) -> DataLoader[Tensor]:
    if reader in MUSDB:
        segments = MusdbSegments(place.root, MUSDB[reader], loading["seconds"], RATE, ENDLESS)
        workers = loading["workers"]
        return DataLoader(segments, loading["batch_size"], num_workers=workers, persistent_workers=workers > 0)
    ours = {"root": str(place.root), "samples_per_epoch": ENDLESS, "cache": cache if reader == CACHED else None}
    values = {**choice("data", place.kind), **loading, **ours}
    stems = {stem: [stem] for stem in STEMS}
    return data_module(values, stems, RATE, CHANNELS, augmentation).train_dataloader()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
