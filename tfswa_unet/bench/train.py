"""The training step cut into parts, each of which can be timed."""

from __future__ import annotations

import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from tfswa_unet.bench.measures import BYTES, PeakMemory, Stopwatch, count_flops, peak_bytes
from tfswa_unet.bench.subject import Record, Subject, check_positive, mixtures, prepare
from tfswa_unet.config import choice, from_values
from tfswa_unet.data import StemPlan
from tfswa_unet.data.augmentation import split
from tfswa_unet.errors import ConfigError
from tfswa_unet.losses import compare_stems, estimate_stems
from tfswa_unet.songs import write_dataset
from tfswa_unet.training.datamodule import LoaderConfig, SegmentDataModule
from tfswa_unet.training.module import SeparationModule
from tfswa_unet.training.optimization import make_optimizer

PARTS = ("data", "augmentation", "forward", "loss", "loss_backward", "network_backward", "optimizer")


class SplitStep:
    """`SeparationModule.training_step` with its backward pass and update, cut where the model's output is.

    The loss sees the output detached; its gradient there is then sent through the network. The parameters' gradients
    are those of the whole step.

    Args:
        module: on the subject's device.
        optimizer: of its parameters.
        subject: whose precision the forward pass runs at.
    """

    def __init__(self, module: SeparationModule, optimizer: Optimizer, subject: Subject) -> None:
        self.module = module.train()
        self.optimizer = optimizer
        self.subject = subject
        self.taken = 0  # steps, since some terms of the loss take turns

    def __call__(self, batch: Tensor, lap: Callable[[str], None]) -> None:
        """Train on stems (b, s', c, t), calling `lap` with the name of each part when it is done."""
        with self.subject.autocast():
            stems = self.module.augmentation(batch)
            lap("augmentation")
            spectra = estimate_stems(self.module.model, stems.sum(dim=1))
            lap("forward")
            estimate = spectra.detach().requires_grad_()
            loss, _ = compare_stems(self.module.model, self.module.loss, estimate, stems, self.taken)
            lap("loss")
        loss.backward()
        lap("loss_backward")
        spectra.backward(estimate.grad)
        lap("network_backward")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no trainer to log to
            self.module.configure_gradient_clipping(self.optimizer)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.taken += 1
        lap("optimizer")


def run_steps(step: SplitStep, batches: Iterator[Tensor], steps: int, drain: int = 0) -> Stopwatch:
    """Time consecutive steps; waiting for a batch and bringing it to the device is the part "data".

    Args:
        step: what is done with each batch.
        batches: stems (b, s', c, t), drain + steps of them at least.
        steps: to time.
        drain: batches to throw away first: what workers had in store when nobody was training would make a slow loader
            look fast.
    """
    for _ in range(drain):
        next(batches)
    watch = Stopwatch(step.subject.device)
    for _ in range(steps):
        watch.start()
        batch = next(batches).to(step.subject.device, non_blocking=True)
        watch.lap("data")
        step(batch, watch.lap)
    return watch


WARM_UP = 2  # steps: the first makes the optimizer's state, the second is the first of the usual ones
PREFETCHED = 2  # batches that each of a loader's workers has in store
SONGS = 3  # the fewest of which one validates, as the data module asks


@dataclass(frozen=True)
class TrainSetting:
    """What `measure_training` runs; None takes what conf/data says."""

    model: str
    seconds: float = 6.0
    batch: int = 4
    steps: int = 8
    loss: str = "default"
    augmentation: str = "default"
    device: str = "auto"
    precision: str = "fp32"
    threads: int | None = None
    workers: int | None = None
    data: str | None = None  # root of a data set; None makes a few synthetic songs for the time being
    cache: str | None = None  # folder of decoded stems, as data.cache; None reads the files themselves
    checkpointing: bool = False  # a second time with gradient checkpointing
    peak_tflops: float | None = None  # what the device could do, in 10¹² operations a second

    def __post_init__(self) -> None:
        check_positive(seconds=self.seconds, batch=self.batch, steps=self.steps, peak_tflops=self.peak_tflops)
        if self.workers is not None and self.workers < 0:
            raise ConfigError(f"--workers {self.workers}: expected 0 (the training process loads) or more")


@dataclass(frozen=True)
class Checkpointing:
    """What gradient checkpointing gains and costs beside the same steps without; `ratio`s are with over without."""

    step_seconds: float  # without the waiting for data
    time_ratio: float
    activations_mb: float
    activations_ratio: float
    peak_memory_mb: float | None


@dataclass(frozen=True)
class TrainRecord(Record):
    """Training steps on `batch` segments of `audio_seconds` each."""

    audio_seconds: float
    batch: int
    steps: int
    loss: str
    augmentation: str
    workers: int
    data: str
    step_seconds: float  # median
    segments_per_second: float
    audio_seconds_per_second: float
    start_memory_mb: float | None  # with the model and the optimizer's state
    peak_memory_mb: float | None
    activations_mb: float  # the most that the network needs at once, forward and backward, beside weights and gradients
    shares: dict[str, float]  # of the steps' time, see `steps.PARTS`
    tflops: float  # 3 × the forward pass's operations a second, 10¹²
    model_flop_utilisation: float | None  # of the peak
    checkpointing: Checkpointing | None


@dataclass(frozen=True)
class _Pass:
    watch: Stopwatch
    start_mb: float | None
    peak_mb: float | None
    activations_mb: float

    @property
    def seconds(self) -> list[float]:
        return [sum(parts.values()) for parts in self.watch.rounds]

    @property
    def working(self) -> float:
        """Median s of a step without the waiting for data."""
        return statistics.median(sum(parts.values()) - parts["data"] for parts in self.watch.rounds)


def measure_training(setting: TrainSetting) -> TrainRecord:
    """Train for a few steps on the model's stems and say what they cost.

    Raises:
        ConfigError: for unknown names or impossible values.
        DataError: for a data set that is missing or unusable.
        ModelError: for a model that cannot be loaded.
    """
    loss, augmentation = choice("loss", setting.loss), choice("augmentation", setting.augmentation)
    subject = prepare(setting.model, setting.device, setting.precision, setting.threads)
    facts = subject.facts()
    module = SeparationModule(
        subject.model.config, loss, choice("optimizer", "adamw"), choice("scheduler", "constant"), augmentation
    ).to(subject.device)
    subject = replace(subject, model=module.model)  # the one that was loaded may go
    with _loader(setting, subject.model) as data:
        plain = _measure(setting, subject, module, data, False)
        second = _measure(setting, subject, module, data, True) if setting.checkpointing else None
    total = sum(plain.seconds)
    segments = setting.steps * setting.batch / total
    mixture = mixtures(setting.batch, module.model.channels, setting.seconds, module.model.rate).to(subject.device)
    tflops = 3 * count_flops(lambda: module.model(mixture)) * setting.steps / total / 1e12
    return TrainRecord(
        **facts,
        audio_seconds=setting.seconds,
        batch=setting.batch,
        steps=setting.steps,
        loss=setting.loss,
        augmentation=setting.augmentation,
        workers=data.config.workers,
        data=setting.data or "synthetic",
        step_seconds=statistics.median(plain.seconds),
        segments_per_second=segments,
        audio_seconds_per_second=segments * setting.seconds,
        start_memory_mb=plain.start_mb,
        peak_memory_mb=plain.peak_mb,
        activations_mb=plain.activations_mb,
        shares=plain.watch.shares(),
        tflops=tflops,
        model_flop_utilisation=tflops / setting.peak_tflops if setting.peak_tflops else None,
        checkpointing=_compared(plain, second) if second else None,
    )


def _measure(
    setting: TrainSetting, subject: Subject, module: SeparationModule, data: SegmentDataModule, checkpointing: bool
) -> _Pass:
    network: Any = module.model.network
    network.checkpointing = checkpointing
    optimizer = make_optimizer(module.hparams["optimizer"], module.model)
    step = SplitStep(module, optimizer, subject)
    batches = iter(data.train_dataloader())
    mixture = next(batches).to(subject.device).sum(dim=1)

    def there_and_back() -> None:
        with subject.autocast():
            spectra = module.model.spectra(mixture)
        spectra.backward(torch.ones_like(spectra))

    there_and_back()  # the parameters' gradients stay
    activations = peak_bytes(there_and_back, subject.device)
    optimizer.zero_grad(set_to_none=True)
    run_steps(step, batches, WARM_UP)
    peak = PeakMemory(subject.device)
    run_steps(step, batches, 1)  # with fresh pages, which cost time
    watch = run_steps(step, batches, setting.steps, drain=_in_store(data.config.workers))
    return _Pass(watch, peak.start_mb, peak.megabytes(), activations / BYTES)


def _compared(plain: _Pass, checkpointed: _Pass) -> Checkpointing:
    return Checkpointing(
        step_seconds=checkpointed.working,
        time_ratio=checkpointed.working / plain.working,
        activations_mb=checkpointed.activations_mb,
        activations_ratio=checkpointed.activations_mb / plain.activations_mb,
        peak_memory_mb=checkpointed.peak_mb,
    )


def _in_store(workers: int) -> int:
    return workers * PREFETCHED


@contextmanager
def _loader(setting: TrainSetting, model: Any) -> Iterator[SegmentDataModule]:
    """The data module of a run, with as many examples as the steps need and workers go on fetching at their end."""
    values = {**choice("data", "musdb18hq"), "seconds": setting.seconds, "batch_size": setting.batch}
    if setting.workers is not None:
        values["workers"] = setting.workers
    batches = 2 + WARM_UP + setting.steps + 2 * _in_store(values["workers"])
    values |= {"samples_per_epoch": batches * setting.batch, "kind": "auto", "cache": setting.cache}
    plan = StemPlan.from_config(model.config["stems"])
    with tempfile.TemporaryDirectory() as folder:
        values["root"] = setting.data or str(Path(folder) / "songs")
        if setting.data is None:
            write_dataset(values["root"], SONGS, max(2.0, 1.5 * setting.seconds), seed=0, workers=1)
        config = from_values(LoaderConfig, values, "data")
        slow, _ = split(choice("augmentation", setting.augmentation))  # the module has the others
        yield SegmentDataModule(config, plan, model.rate, model.channels, seed=0, augmentation=slow).ready()
