"""What the processes of one run have in common, proved before their first step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch.distributed
from lightning import Callback, LightningModule, Trainer
from torch import nn

from tfswa_unet.errors import ConfigError
from tfswa_unet.training.resuming import Resumable, differences, say

DIGITS = 16  # of a hash, in hexadecimal


class OneConfiguration(Callback):
    """End a run of several processes before its first step, in all of them, where they do not hold the same.

    Compared are the resolved configuration, hashes of the initial weights and of the songs' lengths, and the step to go
    on from. Nothing else would tell: processes of different learning rates or songs train on, and average.

    Args:
        values: the resolved configuration, plain values.
        resume: the checkpoint from which the run goes on, or None.

    Raises:
        ConfigError: in `setup`, with what differs.
    """

    def __init__(self, values: Mapping[str, Any], resume: Resumable | None) -> None:
        self.values = values
        self.resume = resume

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.world_size == 1:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        ours = {
            **self.values,
            "the hash of the initial weights": weights_hash(pl_module),
            "the hash of the songs' lengths": _hash([list(s.reader.lengths) for s in (data.training, data.validation)]),
            "the step to go on from": self.resume.step if self.resume else None,
        }
        held: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(held, ours)
        refuse_differences(held)
        say("%d processes hold one configuration, %s", len(held), _hash(ours))


def refuse_differences(held: Sequence[Mapping[str, Any]]) -> None:
    """Raise ConfigError where what a process holds is not what the first one, `held[0]`, does."""
    for rank, theirs in enumerate(held):
        found = differences(held[0], theirs)
        if found:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            raise ConfigError(
                f"process {rank} of {len(held)} is not of the same run as process 0: "
                f"{', '.join(found[:3])}{more}; start all of them with the same command, code and songs"
            )


def weights_hash(model: nn.Module) -> str:
    """SHA-256 of a model's weights and running statistics, its first digits."""
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:DIGITS]


def _hash(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:DIGITS]
