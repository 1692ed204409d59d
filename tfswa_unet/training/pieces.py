"""What a model learned from and what its training cost, kept in its checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from tfswa_unet.data.provenance import SET
from tfswa_unet.evaluation.report import versions
from tfswa_unet.processes import device_name
from tfswa_unet.training.checkpoints import Checkpoints
from tfswa_unet.training.energy import Energy, counters

ENERGY_EVERY = 10.0  # s; counters of processors begin again after some minutes

Source = dict[str, str]  # a row of a data set's SOURCES.tsv


class Pieces(Callback):
    """Keep in checkpoints the pieces in which a run was trained, and the sources of its data sets.

    A piece is what one process, or group of processes, trained between start or `resume=` and the checkpoint. Its
    plain values:

    - `started`: UTC; `seconds` since then, validation included; `steps`: those done before it and at its end;
    - `device`: cpu, cuda, …, `device_name`, `devices` and the `threads` of each process;
    - `precision`, and the `versions` of torch and tfswa-unet;
    - `energy_joules`: of the whole processors or GPUs, where their counters can be read, else None;
    - `best_sdr`: of the run's validations up to its end, dB; None before the first.

    Args:
        sources: rows of the tables of this run's data sets, see `read_sources`; those of the pieces before join them.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = _without_repeats(sources)
        self.pieces: list[dict[str, Any]] = []
        self._trainer: Trainer | None = None  # in training
        self._since = self._read = 0.0
        self._energy = Energy([])

    def state_dict(self) -> dict[str, Any]:
        if self._trainer is not None:
            self._update(self._trainer)
        return {"pieces": [dict(piece) for piece in self.pieces], "sources": self.sources}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.pieces = state_dict["pieces"]
        self.sources = _without_repeats([*state_dict["sources"], *self.sources])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        device = pl_module.device
        self._since = self._read = time.monotonic()
        # Other machines' counters cannot be read here.
        self._energy = Energy(counters(device, trainer.device_ids) if trainer.num_nodes == 1 else [])
        piece = {
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "steps": [trainer.global_step, trainer.global_step],
            "device": device.type,
            "device_name": device_name(device),
            "devices": trainer.world_size,
            "threads": torch.get_num_threads(),
            "precision": str(trainer.precision),
            "versions": {"torch": str(torch.__version__), "tfswa-unet": versions()["tfswa-unet"]},
            "energy_joules": None,
            "best_sdr": None,
        }
        self.pieces = [*self.pieces, piece]
        self._trainer = trainer

    def on_train_batch_end(self, *_: Any) -> None:
        self._read_energy()

    def on_validation_batch_end(self, *_: Any) -> None:
        self._read_energy()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._trainer = None

    def _read_energy(self) -> None:
        if time.monotonic() - self._read >= ENERGY_EVERY:
            self._read = time.monotonic()
            self._energy.update()

    def _update(self, trainer: Trainer) -> None:
        """Bring the last piece up to date."""
        self._energy.update()
        joules = self._energy.joules
        best = next((each.best for each in trainer.checkpoint_callbacks if isinstance(each, Checkpoints)), -math.inf)
        piece = self.pieces[-1]
        piece["seconds"] = round(time.monotonic() - self._since, 3)
        piece["steps"] = [piece["steps"][0], trainer.global_step]
        piece["energy_joules"] = None if joules is None else round(joules, 3)
        piece["best_sdr"] = round(best, 4) if math.isfinite(best) else None


def _without_repeats(rows: Iterable[Source]) -> list[Source]:
    """The rows, each once, under the first of the data sets that have it."""
    kept: dict[tuple, Source] = {}
    for row in rows:
        kept.setdefault(tuple(sorted((column, field) for column, field in row.items() if column != SET)), row)
    return list(kept.values())
