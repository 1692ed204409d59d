"""One network through a training and its scoring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

import torch

from benchmarks.command import tell
from benchmarks.loop import Training, train
from benchmarks.networks import Peer, ways
from benchmarks.scoring import score_songs
from benchmarks.setting import Setting
from benchmarks.songs import batches, to_score
from tfswa_unet.evaluation.provenance import commit
from tfswa_unet.types import Track

STATISTICS = 50  # batches that a network's input statistics are taken from, off the clock


def compete(
    name: str,
    build: Callable[[], Any],
    lr: float,
    setting: Setting,
    train_tracks: Sequence[Track],
    test_tracks: Sequence[Track],
) -> dict[str, Any]:
    """Build, train and score a network; every way in which its package separates is scored, and the best one counts.

    Args:
        name: for lines of progress.
        build: makes the network, on the CPU.
        lr: its learning rate.
        setting: everything else.
        train_tracks: songs to train on.
        test_tracks: songs to score.

    Returns:
        the result as plain values.

    Raises:
        ModelError: when training diverges.
    """
    torch.manual_seed(setting.seed)
    model = build().to(setting.place())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    tell(f"{name}: {parameters / 1e6:.2f} M parameters, {setting.minutes:g} minutes on {setting.place()}")
    _prepare(model, setting, train_tracks)
    trained = train(model, _batches(setting, train_tracks), Training(setting.minutes, lr, setting.terms()), name)
    songs = to_score(test_tracks)
    tell(f"{name}: {trained.steps} steps, scoring {len(songs)} songs")
    scored = {way: score_songs(songs, whole, model.stems) for way, whole in ways(model).items()}
    best = max(scored, key=lambda way: scored[way]["average"]["SDR"] or -torch.inf)
    return {
        "parameters": parameters,
        "lr": lr,
        **asdict(trained),
        "separated_by": best,
        "scores": scored[best],
        "all_ways": scored,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "commit": commit(),
    }


def _prepare(model: Any, setting: Setting, tracks: Sequence[Track]) -> None:
    if isinstance(model, Peer):
        few = islice(_batches(setting, tracks), STATISTICS)
        with torch.no_grad():
            model.prepare(stems.sum(dim=1).to(setting.place()) for stems in few)


def _batches(setting: Setting, tracks: Sequence[Track]) -> Any:
    return batches(tracks, setting.batch, setting.segment, setting.seed, setting.workers)
