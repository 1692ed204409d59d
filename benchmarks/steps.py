"""Training speed of networks side by side: forward, backward, Adam; and how much of the device's best that is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from tfswa_unet.bench.clock import synchronise
from tfswa_unet.inference.precision import Precision


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
