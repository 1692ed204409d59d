"""Training speed of networks side by side: forward, backward, Adam; and how much of the device's best that is."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from tfswa_unet import models
from tfswa_unet.bench.measures import synchronise
from tfswa_unet.bench.networks import PUBLISHED, Whole, peer, ways
from tfswa_unet.bench.setting import names, run, show, tell
from tfswa_unet.bench.subject import check_positive, emulated, mixtures
from tfswa_unet.errors import ConfigError, unknown
from tfswa_unet.inference.precision import Precision, pick_device
from tfswa_unet.processes import keep_pages
from tfswa_unet.types import STEMS

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Step:
    """One network's training step on fixed noise: L1 of the waveform, Adam."""

    model: Any
    stems: Tensor  # (b, s, c, t)
    precision: Precision
    optimizer: torch.optim.Optimizer

    @classmethod
    def make(cls, model: Any, batch: int, seconds: float, precision: Precision) -> Step:
        """A step for a model on its device."""
        device = next(model.parameters()).device
        shape = (batch, len(model.stems), model.channels, round(seconds * model.rate))
        stems = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
        return cls(model, stems.to(device), precision, torch.optim.Adam(model.parameters(), lr=1e-4))

    def __call__(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.backward()
        self.optimizer.step()

    def backward(self) -> None:
        """The forward and backward pass alone."""
        self.model.train()
        device = self.stems.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16"):
            estimate = self.model(self.stems.sum(dim=1))
        (estimate.float() - self.stems).abs().mean().backward()


def time_steps(steps: Mapping[Any, Step], rounds: int, each: int, tell: Callable[[str], None]) -> dict[Any, float]:
    """Median s of a step by key, over rounds in which every network does `each` steps in its turn.

    An interruption ends the rounds, and what was measured is given.
    """
    elapsed: dict[Any, list[float]] = {key: [] for key in steps}
    try:
        for number in range(-1, rounds):  # the first is not counted
            for key, step in steps.items():
                synchronise(step.stems.device)
                start = time.perf_counter()
                for _ in range(each):
                    step()
                synchronise(step.stems.device)
                seconds = (time.perf_counter() - start) / each
                if number >= 0:
                    elapsed[key].append(seconds)
                tell(f"training, {f'round {number + 1}' if number >= 0 else 'warm-up'}: {key}: {seconds:.3f} s a step")
    except KeyboardInterrupt:
        tell("interrupted: what was measured so far follows")
    return {key: statistics.median(values) for key, values in elapsed.items() if values}


def step_flops(step: Step) -> int:
    """Operations of matrix products, attention, convolutions and LSTMs in a forward and backward pass.

    A multiplication and an addition count as two; Fourier transforms and the optimizer are not counted.
    """
    lstms = {f"{type(step.model).__name__}.{n}": m for n, m in step.model.named_modules() if isinstance(m, nn.LSTM)}
    recurrent = 0

    def add(lstm: nn.LSTM, inputs: tuple[Any, ...], _output: Any) -> None:
        nonlocal recurrent
        recurrent += lstm_flops(lstm, inputs[0].numel() // inputs[0].shape[-1])

    hooks = [lstm.register_forward_hook(add) for lstm in lstms.values()]
    # torch counts the fused attention kernels of GPUs, but not the one of CPUs.
    fused = torch.ops.aten
    mapping = {
        fused._scaled_dot_product_flash_attention_for_cpu: _attention,
        fused._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    }
    try:
        with FlopCounterMode(display=False, custom_mapping=mapping) as counter:
            step.backward()
    finally:
        for hook in hooks:
            hook.remove()
        step.optimizer.zero_grad(set_to_none=True)
    # Fused LSTMs are not counted, others are: what was counted of them gives way to the formula.
    counts = counter.get_flop_counts()
    counted = sum(sum(counts.get(name, {}).values()) for name in lstms)
    return counter.get_total_flops() - counted + 3 * recurrent


def lstm_flops(lstm: nn.LSTM, steps: int) -> int:
    """Operations of the matrix products of an LSTM's forward pass over so many vectors, all sequences together."""
    directions = 2 if lstm.bidirectional else 1
    inputs = [lstm.input_size, *[directions * lstm.hidden_size] * (lstm.num_layers - 1)]
    return steps * directions * sum(2 * 4 * lstm.hidden_size * (size + lstm.hidden_size) for size in inputs)


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


RATE, CHANNELS = 44_100, 2
WARM_UP = 10.0  # s of the track that are separated before anything counts
BASELINES = ("htdemucs", "openunmix")
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
EXAMPLES = """\
examples:
  python benchmarks/peers.py                                             60 s of stereo, everything
  python benchmarks/peers.py --models tfswa_tiny --peers htdemucs --runs 1
  python benchmarks/peers.py --train --batch 2 --segment 1.5 --peers openunmix
  python benchmarks/peers.py --train --batch 16 --precision bf16 --peak-tflops 989   on a GPU
"""
Key = tuple[str, Precision]


@dataclass(frozen=True)
class Speed:
    """How fast a system is; ratios are times over that peer's time at the same precision."""

    system: str
    parameters: int
    precision: str
    seconds: float  # of a track, or of a training step; median
    rate: float  # real-time factor, or segments a second
    ratios: dict[str, float]
    flops: int | None = None  # of a training step
    utilisation: float | None = None  # of the peak


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table or JSON."""
    args = _parser().parse_args(argv)
    systems = _systems(args)
    if args.threads:
        torch.set_num_threads(args.threads)
    kept = args.keep_pages and keep_pages()
    rows = _training(args, systems) if args.train else _separation(args, systems)
    device = pick_device(args.device)
    facts = {
        "measured": "training" if args.train else "separation",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": torch.get_num_threads(),
        "keep_pages": kept,
        "bf16_emulated": emulated("bf16", device),
        "torch": torch.__version__,
        "runs": args.runs,
        **({"batch": args.batch, "segment": args.segment} if args.train else {"seconds": args.seconds}),
    }
    if args.json:
        print(json.dumps({**facts, "systems": [asdict(row) for row in rows]}, indent=2))
        return 0
    show(table(rows, args.train), ", ".join(f"{name} {value}" for name, value in facts.items()))
    return 0


def table(rows: Sequence[Speed], training: bool) -> Table:
    """The rows beside each other."""
    from rich.table import Table

    view = Table()
    view.add_column("system")
    speed = "segments/s" if training else "real-time factor"
    ratios = [f"time / {name}" for name in BASELINES]
    for heading in ("parameters", "precision", speed, *ratios, *(["TFLOP a step", "MFU"] if training else [])):
        view.add_column(heading, justify="right")
    for row in rows:
        cells = [f"{row.parameters / 1e6:.1f} M", row.precision, f"{row.rate:.3g}"]
        cells += [f"{row.ratios[name]:.2f}" if name in row.ratios else "–" for name in BASELINES]
        if training:
            cells.append(f"{row.flops / 1e12:.3f}" if row.flops else "–")
            cells.append(f"{row.utilisation:.1%}" if row.utilisation else "–")
        view.add_row(row.system, *cells, style="dim" if row.system in PUBLISHED else "bold")
    return view


def time_tracks(wholes: dict[Key, Whole], mixture: Tensor, runs: int, warm_up: Tensor) -> dict[Key, float]:
    """Median s in which each separates a mixture (c, t); an interruption ends the rounds early."""
    elapsed: dict[Key, list[float]] = {key: [] for key in wholes}
    try:
        for key, whole in wholes.items():
            tell(f"warm-up: {' '.join(key)}")
            whole(warm_up)
        for number in range(runs):
            for key, whole in wholes.items():
                start = time.perf_counter()
                whole(mixture)  # ends on the CPU, so that nothing is left in a queue
                elapsed[key].append(time.perf_counter() - start)
                factor = elapsed[key][-1] * RATE / mixture.shape[-1]
                tell(f"round {number + 1} of {runs}: {' '.join(key)}: real-time factor {factor:.3f}")
    except KeyboardInterrupt:
        tell("interrupted: what was measured so far follows")
    return {key: statistics.median(values) for key, values in elapsed.items() if values}


def _separation(args: argparse.Namespace, systems: dict[str, Any]) -> list[Speed]:
    mixture = mixtures(1, CHANNELS, args.seconds, RATE)[0]
    wholes = {
        (name, precision): next(iter(ways(model, precision).values()))
        for name, model in systems.items()
        for precision in args.precision
    }
    medians = time_tracks(wholes, mixture, args.runs, mixture[:, : round(WARM_UP * RATE)])
    return [
        Speed(*_facts(key, systems), round(seconds, 4), seconds / args.seconds, _ratios(key, medians))
        for key, seconds in medians.items()
    ]


def _training(args: argparse.Namespace, systems: dict[str, Any]) -> list[Speed]:
    steps = {
        (name, precision): Step.make(model, args.batch, args.segment, precision)
        for name, model in systems.items()
        for precision in args.precision
    }
    flops = {key: step_flops(step) for key, step in steps.items()}
    medians = time_steps(steps, args.runs, args.steps, tell)
    return [
        Speed(
            *_facts(key, systems),
            round(seconds, 4),
            args.batch / seconds,
            _ratios(key, medians),
            flops[key],
            flops[key] / seconds / args.peak_tflops / 1e12 if args.peak_tflops else None,
        )
        for key, seconds in medians.items()
    ]


def _facts(key: Key, systems: dict[str, Any]) -> tuple[str, int, Precision]:
    name, precision = key
    return name, sum(parameter.numel() for parameter in systems[name].parameters()), precision


def _ratios(key: Key, medians: dict[Key, float]) -> dict[str, float]:
    beside = {name: medians.get((name, key[1])) for name in BASELINES}
    return {name: medians[key] / seconds for name, seconds in beside.items() if seconds}


def _systems(args: argparse.Namespace) -> dict[str, Any]:
    """Every system on the device; refuses what cannot be measured before anything is."""
    check_positive(
        seconds=args.seconds, runs=args.runs, threads=args.threads, batch=args.batch, segment=args.segment,
        steps=args.steps, peak_tflops=args.peak_tflops,
    )  # fmt: skip
    for precision in args.precision:
        if precision not in PRECISIONS:
            raise unknown("--precision", precision, PRECISIONS)
    for name in args.peers:
        if name not in PUBLISHED:
            raise unknown("--peers", name, PUBLISHED)
    device = pick_device(args.device)
    ours = {name: models.build(models.preset(name, STEMS)) for name in args.models}
    systems = ours | {name: peer(PUBLISHED, name, STEMS) for name in args.peers}
    if not systems:
        raise ConfigError("nothing to measure: name at least one of --models and --peers")
    return {name: model.to(device) for name, model in systems.items()}


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=formatter)
    add = parser.add_argument
    every = ",".join(models.names())
    add("--models", type=names, default=names(every), metavar="A,B", help=f"our presets (default: {every})")
    add(
        "--peers", type=names, default=tuple(PUBLISHED), metavar="A,B", help=f"of {', '.join(PUBLISHED)} (default: all)"
    )
    add("--precision", type=names, default=("fp32",), metavar="P,Q", help="fp32, bf16 or fp32,bf16 (default: fp32)")
    add("--runs", type=int, default=3, help="rounds over all systems; medians are given (default: 3)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    add("--threads", type=int, metavar="N", help="CPU threads, for all (default: all cores)")
    add("--no-keep-pages", dest="keep_pages", action="store_false", help="leave glibc's memory settings, for all")
    add("--json", action="store_true", help="print JSON instead of a table")
    add("--seconds", type=float, default=60.0, metavar="S", help="length of the track, stereo (default: 60)")
    add("--train", action="store_true", help="measure training steps instead: waveform L1, Adam")
    add("--batch", type=int, default=4, metavar="N", help="with --train: segments a step (default: 4)")
    add("--segment", type=float, default=6.0, metavar="S", help="with --train: length of a segment (default: 6)")
    add("--steps", type=int, default=3, metavar="N", help="with --train: steps of each system in a round (default: 3)")
    add("--peak-tflops", type=float, metavar="X", help="with --train: the device's best, for the utilisation (MFU)")
    return parser


if __name__ == "__main__":
    run(main)
