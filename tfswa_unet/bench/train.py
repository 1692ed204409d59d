"""What training steps cost: time by part, memory, and the price of gradient checkpointing."""

from __future__ import annotations

import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from tfswa_unet.bench.data import data_module
from tfswa_unet.bench.measures import BYTES, PeakMemory, Stopwatch, count_flops, count_operations, peak_bytes
from tfswa_unet.bench.settings import TrainSetting
from tfswa_unet.bench.subject import Subject, mixtures, prepare
from tfswa_unet.config import choice
from tfswa_unet.data.augmentation import split
from tfswa_unet.dsp import Ratios
from tfswa_unet.losses import WeightedLoss, compare_stems, estimate_stems, objective
from tfswa_unet.songs import write_dataset
from tfswa_unet.training.datamodule import SegmentDataModule
from tfswa_unet.training.module import SeparationModule
from tfswa_unet.training.optimization import make_optimizer

PARTS = ("data", "augmentation", "forward", "loss", "loss_backward", "network_backward", "optimizer")
WARM_UP = 2  # steps: the first makes the optimizer's state, the second is the first of the usual ones
PREFETCHED = 2  # batches that each of a loader's workers has in store
COUNTED = 0.1  # s of audio while operations are counted: CPUs transform longer signals in pieces, whose number varies
SONGS = 3  # the fewest of which one validates, as the data module asks


def measure(setting: TrainSetting) -> dict[str, Any]:
    """Train for a few steps on the model's stems and say what they cost.

    Raises as `subject.prepare` does, ConfigError for unknown names, and DataError for an unusable data set.
    """
    loss, augmentation = choice("loss", setting.loss), choice("augmentation", setting.augmentation)
    subject = prepare(setting)
    module = SeparationModule(
        subject.model.config, loss, choice("optimizer", "adamw"), choice("scheduler", "constant"), augmentation
    ).to(subject.device)
    model = module.model
    subject = replace(subject, model=model)  # the one that was loaded may go
    with tempfile.TemporaryDirectory() as folder:
        data = _data(setting, model, augmentation, Path(folder) / "songs")
        operations = step_operations(subject, module.loss)
        plain = _measure(setting.steps, subject, module, data, False)
        second = _measure(setting.steps, subject, module, data, True) if setting.checkpointing else None
    total = sum(plain.seconds())
    batch, seconds = data.config.batch_size, data.config.seconds
    segments = setting.steps * batch / total
    mixture = mixtures(batch, model.channels, seconds, model.rate).to(subject.device)
    tflops = 3 * count_flops(lambda: model(mixture)) * setting.steps / total / 1e12
    return {
        **subject.facts(),
        "audio_seconds": seconds,
        "batch": batch,
        "steps": setting.steps,
        "loss": setting.loss,
        "augmentation": setting.augmentation,
        "workers": data.config.workers,
        "data": setting.data or "synthetic",
        "step_seconds": statistics.median(plain.seconds()),
        "segments_per_second": segments,
        "audio_seconds_per_second": segments * seconds,
        **plain.memory,
        "activations_mb": plain.activations_mb,
        "operations": operations,
        "shares": plain.watch.shares(),
        "tflops": tflops,
        "model_flop_utilisation": tflops / setting.peak_tflops if setting.peak_tflops else None,
        "checkpointing": _compared(plain, second) if second else None,
    }


def step_operations(subject: Subject, loss: WeightedLoss) -> int:
    """Operations of the forward pass, the loss and the backward pass of a step, at the subject's precision.

    A GPU launches each of them, which takes longer than most of them do. The optimizer has its own. A first step is not
    counted, which makes what later ones find: windows of transforms.
    """
    model = subject.model.train()
    samples = round(COUNTED * model.rate)
    stems = 0.1 * torch.randn(1, len(model.stems), model.channels, samples, device=subject.device)

    def step() -> None:
        with subject.autocast():
            total, _ = objective(model, loss, stems, step=0)
        total.backward()
        model.zero_grad(set_to_none=True)

    step()
    return count_operations(step)


class SplitStep:
    """`SeparationModule.training_step` with its backward pass and update, cut where the model's output is.

    The loss sees the output detached; its gradient there is then sent through the network. The parameters' gradients
    are those of the whole step. The forward pass runs at the subject's precision.
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
            estimate = estimate_stems(self.module.model, stems.sum(dim=1))
            lap("forward")
            output = _output(estimate)
            leaf = output.detach().requires_grad_()
            estimate = replace(estimate, ratio=leaf) if isinstance(estimate, Ratios) else leaf
            loss, _ = compare_stems(self.module.model, self.module.loss, estimate, stems, self.taken)
            lap("loss")
        loss.backward()
        lap("loss_backward")
        output.backward(leaf.grad)
        lap("network_backward")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no trainer to log to
            self.module.configure_gradient_clipping(self.optimizer)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.taken += 1
        lap("optimizer")


def run_steps(step: SplitStep, batches: Iterator[Tensor], steps: int, drain: int = 0) -> Stopwatch:
    """Time consecutive steps on stems (b, s', c, t); waiting for them and bringing them to the device is "data".

    `drain` batches are thrown away first: what workers had in store when nobody was training would make a slow loader
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


def _output(estimate: Tensor | Ratios) -> Tensor:
    """What of a model's estimate depends on its weights."""
    return estimate.ratio if isinstance(estimate, Ratios) else estimate


@dataclass(frozen=True)
class _Pass:
    watch: Stopwatch  # of the steps
    memory: dict[str, float | None]
    activations_mb: float  # the most that the network needs at once, forward and backward, beside weights and gradients

    def seconds(self, without: str = "") -> list[float]:
        return [sum(parts.values()) - parts.get(without, 0.0) for parts in self.watch.rounds]


def _measure(
    steps: int, subject: Subject, module: SeparationModule, data: SegmentDataModule, checkpointing: bool
) -> _Pass:
    network: Any = module.model.network
    network.checkpointing = checkpointing
    optimizer = make_optimizer(module.hparams["optimizer"], module.model)
    step = SplitStep(module, optimizer, subject)
    batches = iter(data.train_dataloader())
    mixture = next(batches).to(subject.device).sum(dim=1)

    def there_and_back() -> None:
        with subject.autocast():
            output = _output(estimate_stems(module.model, mixture))
        output.backward(torch.ones_like(output))

    there_and_back()  # the parameters' gradients stay
    activations = peak_bytes(there_and_back, subject.device)
    optimizer.zero_grad(set_to_none=True)
    run_steps(step, batches, WARM_UP)
    peak = PeakMemory(subject.device)
    run_steps(step, batches, 1)  # with fresh pages, which cost time
    watch = run_steps(step, batches, steps, drain=data.config.workers * PREFETCHED)
    return _Pass(watch, peak.facts(), activations / BYTES)


def _compared(plain: _Pass, checkpointed: _Pass) -> dict[str, Any]:
    """What gradient checkpointing gains and costs beside the same steps without it."""
    before, after = (statistics.median(each.seconds(without="data")) for each in (plain, checkpointed))
    return {
        "step_seconds": after,  # without the waiting for data
        "time_ratio": after / before,
        "activations_mb": checkpointed.activations_mb,
        "activations_ratio": checkpointed.activations_mb / plain.activations_mb,
        "peak_memory_mb": checkpointed.memory["peak_memory_mb"],
    }


def _data(setting: TrainSetting, model: Any, augmentation: dict[str, Any], songs: Path) -> SegmentDataModule:
    """The data module of a run, with as many examples as the steps need and workers go on fetching at their end."""
    given = {"seconds": setting.seconds, "batch_size": setting.batch, "workers": setting.workers}
    values = choice("data", "musdb18hq") | {name: value for name, value in given.items() if value is not None}
    batches = 2 + WARM_UP + setting.steps + 2 * values["workers"] * PREFETCHED
    values |= {"samples_per_epoch": batches * values["batch_size"], "kind": "auto", "cache": setting.cache}
    values["root"] = setting.data or str(songs)
    if setting.data is None:
        write_dataset(songs, SONGS, max(2.0, 1.5 * values["seconds"]), seed=0, workers=1)
    for_workers, _ = split(augmentation)  # the module has the others
    return data_module(values, model.config["stems"], model.rate, model.channels, for_workers)
