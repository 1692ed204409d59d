"""Speed of networks side by side, ours and other packages': whole tracks, or training steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from tfswa_unet import models
from tfswa_unet.bench.measures import step_flops
from tfswa_unet.bench.networks import PUBLISHED, ways
from tfswa_unet.bench.results import MEASURED, Failure, attempt, time_in_turns
from tfswa_unet.bench.settings import PeersSetting
from tfswa_unet.bench.subject import CHANNELS, RATE, as_in_training, emulated, mixtures, set_up
from tfswa_unet.config import choice
from tfswa_unet.errors import ConfigError, unknown
from tfswa_unet.inference.precision import Precision, pick_device
from tfswa_unet.losses import WeightedLoss, objective
from tfswa_unet.processes import device_name
from tfswa_unet.training.optimization import make_optimizer
from tfswa_unet.types import STEMS

WARM_UP = 10.0  # s of the track that are separated before anything counts
BASELINES = ("htdemucs", "openunmix")
PRECISIONS = ("fp32", "bf16")
LOSS, OPTIMIZER = "waveform", "adam"  # of conf: what all of these packages can be trained with

Key = tuple[str, Any]  # name and precision
Task = tuple[Callable[[], object], Callable[[], object], int | None]  # a turn, its warm-up, and its step's operations


@dataclass(frozen=True)
class Speed:
    """How fast a system is; ratios are times over that peer's time at the same precision."""

    system: str
    precision: str
    status: str = MEASURED
    reason: str | None = None  # why it could not be measured, and has no numbers
    parameters: int | None = None
    seconds: float | None = None  # of a track, or of a training step; median
    rate: float | None = None  # real-time factor, or segments a second
    ratios: dict[str, float] = field(default_factory=dict)
    flops: int | None = None  # of a training step
    utilisation: float | None = None  # of the peak


class Step:
    """A network's training step on noise (b, s, c, t), the same for all: L1 of the waveform, Adam."""

    def __init__(self, model: Any, batch: int, seconds: float, precision: Precision) -> None:
        self.model, self.precision = model, precision
        shape = (batch, len(model.stems), model.channels, round(seconds * model.rate))
        stems = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
        self.stems = stems.to(next(model.parameters()).device)  # (b, s, c, t)
        self.loss = WeightedLoss(choice("loss", LOSS))
        self.optimizer = make_optimizer(choice("optimizer", OPTIMIZER), model)

    def __call__(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.backward()
        self.optimizer.step()

    def backward(self) -> None:
        """The forward and backward pass alone."""
        self.model.train()
        with torch.autocast(self.stems.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            total, _ = objective(self.model, self.loss, self.stems, 0)
        total.backward()

    def count(self) -> int:
        """Operations of the forward and backward pass, see `step_flops`."""
        flops = step_flops(self.model, self.backward)
        self.optimizer.zero_grad(set_to_none=True)
        return flops


def measure(setting: PeersSetting) -> dict[str, Any]:
    """Measure every system in turn; one that fails has the reason in its row.

    Gives facts of the run, and under "systems" a `Speed` for each system and precision. Raises ConfigError for unknown
    names.
    """
    builders = _builders(setting)
    device = pick_device(setting.device)
    kept = set_up(setting.threads, not setting.no_keep_pages)
    setting = replace(
        setting,
        batch=as_in_training("batch_size", setting.batch),
        segment=as_in_training("seconds", setting.segment),
    )
    lengths = ("batch", "segment") if setting.train else ("seconds",)
    return {
        "measured": "training" if setting.train else "separation",
        "device": device_name(device) if device.type == "cuda" else str(device),
        "threads": torch.get_num_threads(),
        "keep_pages": kept,
        "bf16_emulated": emulated("bf16", device),
        "torch": torch.__version__,
        "runs": setting.runs,
        **{name: getattr(setting, name) for name in lengths},
        "systems": [asdict(speed) for speed in _speeds(setting, builders, device)],
    }


def _builders(setting: PeersSetting) -> dict[str, Callable[[], Any]]:
    """What makes each system on the CPU; refuses unknown names before anything is made."""
    ours = models.names() if setting.models is None else setting.models
    theirs = PUBLISHED if setting.peers is None else setting.peers
    for option, given, known in (("--precision", setting.precision, PRECISIONS), ("--peers", theirs, PUBLISHED)):
        for name in given:
            if name not in known:
                raise unknown(option, name, known)
    presets = {name: models.preset(name, STEMS) for name in ours}
    builders: dict[str, Callable[[], Any]] = {name: partial(models.build, preset) for name, preset in presets.items()}
    builders |= {name: partial(PUBLISHED[name], STEMS) for name in theirs}
    if not builders:
        raise ConfigError("nothing to measure: name at least one of --models and --peers")
    return builders


def _speeds(setting: Any, builders: Mapping[str, Callable[[], Any]], device: torch.device) -> list[Speed]:
    """A row for each system and precision that had its turn or failed."""
    systems = {name: attempt(name, lambda build=build: build().to(device)) for name, build in builders.items()}  # type: ignore
    track = None if setting.train else mixtures(1, CHANNELS, setting.seconds, RATE)[0]
    keys: list[Key] = list(product(systems, setting.precision))
    tasks: dict[Key, Any] = {}
    for name, precision in keys:
        model = systems[name]
        make = partial(_task, setting, track, model, precision)
        tasks[name, precision] = model if isinstance(model, Failure) else attempt(f"{name} {precision}", make)
    outcomes: dict[Key, Any] = {key: task for key, task in tasks.items() if isinstance(task, Failure)}
    able: dict[Key, Task] = {key: task for key, task in tasks.items() if key not in outcomes}
    works = {key: work for key, (work, _, _) in able.items()}
    warm_ups = {key: warm_up for key, (_, warm_up, _) in able.items()}
    outcomes |= time_in_turns(works, warm_ups, setting.runs, device, partial(_described, setting))
    return [_speed(setting, key, systems[key[0]], tasks[key], outcomes) for key in keys if key in outcomes]


def _described(setting: PeersSetting, seconds: float) -> str:
    """A turn, as it is told while others wait for theirs."""
    if setting.train:
        return f"{seconds / setting.steps:.3f} s a step"
    return f"real-time factor {seconds / setting.seconds:.3f}"


def _speed(setting: Any, key: Key, model: Any, task: Any, outcomes: Mapping[Key, Any]) -> Speed:
    outcome = outcomes[key]
    if isinstance(outcome, Failure):
        return Speed(*key, **outcome.to_dict())
    _, _, flops = task
    seconds = outcome / setting.steps if setting.train else outcome
    beside = {name: outcomes.get((name, key[1])) for name in BASELINES}
    return Speed(
        *key,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        seconds=round(seconds, 4),
        rate=setting.batch / seconds if setting.train else seconds / setting.seconds,
        ratios={name: outcome / other for name, other in beside.items() if isinstance(other, float)},
        flops=flops,
        utilisation=flops / seconds / setting.peak_tflops / 1e12 if flops and setting.peak_tflops else None,
    )


def _task(setting: Any, track: Tensor | None, model: Any, precision: Precision) -> Task:
    """The separation of a track (c, t), which a part of it warms up, or where there is none a round of training."""
    if track is not None:
        whole = next(iter(ways(model, precision).values()))
        return partial(whole, track), partial(whole, track[:, : round(WARM_UP * RATE)]), None
    step = Step(model, setting.batch, setting.segment, precision)

    def turn() -> None:
        for _ in range(setting.steps):
            step()

    return turn, turn, step.count()
