"""How fast examples are read, by reader of the files, and what each augmentation adds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
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


def measure(setting: DataSetting) -> dict[str, Any]:
    """Measure readers one after the other on the same songs, as training on four stems waits for them.

    Ours are measured through `SegmentDataModule`, with the mixing of conf/data; musdb's reads whole songs only, in as
    many processes. The files are in the system's memory before they are read, so that no disk is measured. musdb
    decodes a stem from its beginning to the segment: on songs longer than those made here it is slower.

    Raises ConfigError for unknown names, or where musdb or ffmpeg is needed and missing; DataError for an unusable data
    set.
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
    pairs = [(reader, name) for reader in readers for name in _augmentations(setting, reader)]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        places = own or made_songs(Path(folder), max(SHORTEST_SONG, SONG * seconds), readers)
        cache = setting.cache or str(Path(folder) / "cache")
        for reader, name in pairs:
            for_workers, for_batches = split(choice("augmentation", name))
            augment = build_augmentation(for_batches, rate=RATE).train()
            loader = _loader(loading, reader, places[reader], cache, for_workers)
            speed = samples_per_second(loader, augment, setting.samples)
            rows.append({"reader": reader, "augmentation": name, "samples_per_second": speed})
            del loader  # its processes end before others are measured
    musdb = next((row["samples_per_second"] for row in rows if row["reader"] == BASELINE), None)
    for row in rows:
        row["ratio_to_musdb"] = row["samples_per_second"] / musdb if musdb else None
    augmentations = measure_augmentations(batch, len(STEMS), seconds)
    return {"settings": asdict(setting), "rows": rows, "augmentations": augmentations}


def data_module(
    values: dict[str, Any], stems: dict[str, Any], rate: int, channels: int, augmentation: Any
) -> SegmentDataModule:
    """Training's data module, ready to give batches; its values are as in conf/data, its stems as in conf/stems."""
    config, plan = from_values(LoaderConfig, values, "data"), StemPlan.from_config(stems)
    return SegmentDataModule(config, plan, rate, channels, seed=0, augmentation=augmentation).ready()


def samples_per_second(loader: DataLoader[Tensor], augment: Callable[[Tensor], Tensor], samples: int) -> float:
    """Examples a second of batches (b, s, c, t) after a warm-up, over so many samples and `SHORTEST` s at least.

    Whole rounds of the workers are counted, whose batches come at about the same time.
    """
    batches = iter(loader)
    a_round = max(1, loader.num_workers)
    for _ in range(WARM_UP * a_round):
        augment(next(batches))
    counted, start = 0, time.perf_counter()
    while counted < samples or time.perf_counter() - start < SHORTEST:
        counted += sum(len(augment(next(batches))) for _ in range(a_round))
    return counted / (time.perf_counter() - start)


def measure_augmentations(batch: int, stems: int, seconds: float) -> list[dict[str, Any]]:
    """Median time on the CPU of each augmentation of conf/augmentation/strong, with p = 1, alone on stereo examples.

    Milliseconds are of one example, all its stems. What the loader's workers do has one thread, as there.
    """
    sounds = mixtures(batch * stems, CHANNELS, seconds, RATE).unflatten(0, (batch, stems)) / stems
    threads = torch.get_num_threads()
    costs = []
    for name, settings in choice("augmentation", ALL).items():
        augment = build_augmentation({name: {**settings, "p": 1.0}}, rate=RATE).train()
        in_workers = AUGMENTATIONS[name].in_workers
        torch.set_num_threads(1 if in_workers else threads)
        elapsed = median_seconds(partial(augment, sounds), RUNS, sounds.device)
        costs.append({"augmentation": name, "milliseconds": 1000 * elapsed / batch, "in_workers": in_workers})
    torch.set_num_threads(threads)
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
