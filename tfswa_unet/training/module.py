"""One training step: stems → augmentation → mixture → model → loss; steps that are not finite are skipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.modules.batchnorm import _BatchNorm

from tfswa_unet.data import ValidationTracks
from tfswa_unet.data.augmentation import build_augmentation, split
from tfswa_unet.errors import RunError
from tfswa_unet.evaluation.tracks import Audio
from tfswa_unet.files import replacing
from tfswa_unet.inference.precision import Precision
from tfswa_unet.losses import WeightedLoss, objective
from tfswa_unet.models import build
from tfswa_unet.training.activity import ActivityHead
from tfswa_unet.training.optimization import (
    SDR,
    AveragedWeights,
    Monitor,
    RunProgress,
    make_optimizer,
    make_schedule,
    run_progress,
)
from tfswa_unet.training.validation import Validation


class TrainingModule(L.LightningModule):
    """Train a model by the loss that a subclass computes of a batch, and validate it by its `monitor`.

    A step whose loss or gradient is not finite is skipped: weights and running statistics stay as they were before it.

    Args:
        model: configuration for `models.build`, as plain values (they travel in the checkpoint).
        optimizer: `name` and its arguments.
        scheduler: `name` and its arguments.
        augmentation: as for `build_augmentation`; what belongs into the loader's workers is left to the data set.
        gradient_clip: largest gradient norm; 0 turns clipping off.
        max_skipped: steps in a row that may be skipped before training stops.
        gradient_checkpointing: recompute each block's activations in the backward pass.
        compile: let torch.compile rewrite each of the network's blocks; the first steps take minutes.
        seed: of the augmentation.

    Raises:
        ConfigError: for unknown names or impossible values in any of these.
    """

    monitor: ClassVar[Monitor]

    def __init__(
        self,
        model: dict[str, Any],
        optimizer: dict[str, Any],
        scheduler: dict[str, Any],
        augmentation: dict[str, Any],
        gradient_clip: float,
        max_skipped: int,
        gradient_checkpointing: bool,
        compile: bool,
        seed: int,
    ) -> None:
        super().__init__()
        self.model = build(model)
        self.model.network.checkpointing = gradient_checkpointing  # type: ignore[assignment]
        if compile:
            for region in self.model.network.regions():  # type: ignore[operator]
                region.compile(dynamic=False)  # in place, so that the names in checkpoints stay
        _, for_batches = split(augmentation)
        self.augmentation = build_augmentation(for_batches, rate=self.model.rate)
        self.seed = seed
        # Made once for its checks: what cannot be made is refused before a run starts.
        make_schedule(scheduler, make_optimizer(optimizer, self), lambda: RunProgress(0, 0.0, 0.0))
        self.gradient_clip = gradient_clip
        self.max_skipped = max_skipped
        self.skipped = self.skipped_in_a_row = 0
        self._statistics: list[Tensor] = []  # running ones, in training
        self._before: list[Tensor] = []  # the same after the last good step

    def loss_of(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch (b, s, c, t), and its terms by name."""
        raise NotImplementedError

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["skipped"] = [self.skipped, self.skipped_in_a_row]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.skipped, self.skipped_in_a_row = checkpoint.get("skipped", (0, 0))

    def on_train_start(self) -> None:
        norms = [each for each in self.model.modules() if isinstance(each, _BatchNorm)]
        found = [each for norm in norms for each in (norm.running_mean, norm.running_var)]
        self._statistics = [each for each in found if each is not None]
        self._before = [each.clone() for each in self._statistics]

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        # Drawn from these alone, so that a run resumed in mid-epoch repeats what it would have drawn.
        numbers = (self.seed, self.current_epoch, index, self.global_rank)
        self.augmentation.seed(*numbers)
        torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))  # such as a network's dropout
        total, parts = self.loss_of(batch)
        self.log("train/loss", total.detach(), prog_bar=True)
        self.log_dict({f"train/{name}": part for name, part in parts.items()})
        self._last = {"stems": batch, "seed": self.seed, "epoch": self.current_epoch, "batch": index}
        # A loss that is not finite makes the gradient so, in all processes that share it.
        return total * torch.where(total.detach().isfinite(), 1.0, torch.nan)

    def validated(self) -> dict[str, Any]:
        """What their metrics are logged under → the modules that are validated: the averaged one and this, or this."""
        averages = [each for each in self.trainer.callbacks if isinstance(each, AveragedWeights)]  # type: ignore[attr-defined]
        return {"val": averages[0].module, "val_raw": self} if averages else {"val": self}

    def configure_optimizers(self) -> Any:
        optimizer = make_optimizer(self.hparams["optimizer"], self)
        schedule = make_schedule(self.hparams["scheduler"], optimizer, lambda: run_progress(self.trainer))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Clip, log the norm, and skip a step whose gradient is not finite."""
        limit = self.gradient_clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.parameters(), limit)
        if isinstance(norm, DTensor):
            norm = norm.full_tensor()  # of the processes' parts
        self.log("train/gradient_norm", norm)
        if torch.isfinite(norm):
            self.skipped_in_a_row = 0
            _copy(self._statistics, self._before)
            return
        optimizer.zero_grad(set_to_none=True)
        _copy(self._before, self._statistics)
        self.skipped += 1
        self.skipped_in_a_row += 1
        self.log("train/skipped", float(self.skipped))
        if self.skipped_in_a_row >= self.max_skipped:
            self._give_up()

    def _give_up(self) -> None:
        path = Path(self.trainer.default_root_dir) / "checkpoints" / f"not_finite_{self.global_rank}.pt"
        with replacing(path) as temporary:
            torch.save(self._last, temporary)
        steps, self.skipped_in_a_row = self.skipped_in_a_row, 0  # whoever goes on begins to count anew
        raise RunError(
            f"the loss or its gradient was not finite for {steps} steps in a row, up to step {self.global_step}: look "
            f"whether the stems of the last batch, kept in {path}, are finite and of usual level; if they are, lower "
            "optimizer.lr, or train with strategy=bf16 or fp32 instead of fp16"
        )


class SeparationModule(TrainingModule):
    """Train a separation model on stems; the mixture is made here, after augmentation, as their sum.

    Batches are stems (b, s', c, t) of which the first s are targets; the rest only belongs to the mixture.

    Validation separates whole tracks (s', c, t) and logs `val/sdr`, `val/si_sdr` and both for each stem; where
    weights are averaged, these are the average's, and `val_raw/…` those of the weights that are trained.

    Args:
        model: as for `TrainingModule`, as are the other arguments.
        loss: term → options, for `WeightedLoss`.
        activity: of stems in frames, learned beside them, for `ActivityHead`; nothing for stems alone.

    Raises:
        ConfigError: for unknown names or impossible values in any of these.
    """

    monitor = SDR

    def __init__(
        self,
        model: dict[str, Any],
        loss: dict[str, Any],
        optimizer: dict[str, Any],
        scheduler: dict[str, Any],
        augmentation: dict[str, Any],
        gradient_clip: float = 1.0,
        max_skipped: int = 20,
        gradient_checkpointing: bool = False,
        compile: bool = False,
        seed: int = 0,
        activity: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            model,
            optimizer,
            scheduler,
            augmentation,
            gradient_clip,
            max_skipped,
            gradient_checkpointing,
            compile,
            seed,
        )
        self.save_hyperparameters()
        self.loss = WeightedLoss(loss)
        self.activity = ActivityHead(activity, self.model) if activity else None
        self.teacher: Callable[[Tensor], Tensor] | None = None  # makes stems of batches that are mixtures

    def forward(self, mixture: Tensor) -> Tensor:
        return self.model(mixture)

    def loss_of(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        stems = self.augmentation(self.teacher(batch) if self.teacher else batch)
        learn = self.activity.objective if self.activity else objective
        return learn(self.model, self.loss, stems, self.global_step)

    def on_validation_epoch_start(self) -> None:
        models = {name: module.whole_model() for name, module in self.validated().items()}
        precision: Precision = "bf16" if str(self.trainer.precision).startswith("bf16") else "fp32"
        tracks: ValidationTracks = self.trainer.datamodule.validation  # type: ignore[attr-defined]
        self._validation = Validation(models, self.device, precision, tracks.longest)

    def validation_step(self, stems: Tensor, index: int) -> None:
        if self.trainer.sanity_checking:
            stems = stems[..., : self._validation.segment]  # whether it can be done is seen from the beginning
        number = index * self.trainer.world_size + self.global_rank
        if number < len(self.trainer.datamodule.validation):  # type: ignore[attr-defined]
            self._validation.add(stems)

    def on_validation_epoch_end(self) -> None:
        # Summed over processes before any is left out, so that all of them log the same names.
        sums = self.trainer.strategy.reduce(self._validation.sums.to(self.device), reduce_op="sum")
        self.log_dict(self._validation.means(sums))

    def whole_model(self) -> nn.Module:
        """The model with all of its weights in this process."""
        return self.model

    def separate(self, mixture: Tensor) -> dict[str, Audio]:
        """Separate a mixture (c, t) by the model that the last validation scored first, stems (c, t) by name."""
        return self._validation.separate(mixture)


def _copy(those: list[Tensor], to: list[Tensor]) -> None:
    if those:
        torch._foreach_copy_(to, those)
