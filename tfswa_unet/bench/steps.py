"""The training step cut into parts, each of which can be timed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

from torch import Tensor
from torch.optim import Optimizer

from tfswa_unet.bench.clock import Stopwatch
from tfswa_unet.bench.subject import Subject
from tfswa_unet.losses import Signals
from tfswa_unet.training.module import SeparationModule

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
            spectra = self.module.model.spectra(stems.sum(dim=1))
            lap("forward")
            estimate = spectra.detach().requires_grad_()
            loss = self._loss(estimate, stems)
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

    def _loss(self, spectra: Tensor, stems: Tensor) -> Tensor:
        config = self.module.model.model_config
        targets = stems[:, : spectra.shape[1]]
        length = targets.shape[-1]
        estimate = Signals(config.n_fft, config.hop, length, spectrum=spectra, step=self.taken)
        return self.module.loss(estimate, Signals(config.n_fft, config.hop, length, waveform=targets))[0]


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
