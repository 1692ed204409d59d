"""A trial: a network trained for a set time on songs made for it, and scored on songs that it has not heard."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor

from tfswa_unet.bench.measures import synchronise
from tfswa_unet.bench.networks import Peer, Whole, ways
from tfswa_unet.bench.results import tell
from tfswa_unet.bench.settings import TrialSetting
from tfswa_unet.bench.subject import CHANNELS, RATE, set_up
from tfswa_unet.config import choice, compose_values, from_values
from tfswa_unet.data import EpochSampler, Mixing, SegmentDataset, StemPlan, load_tracks
from tfswa_unet.data.segments import loader
from tfswa_unet.errors import DataError, ModelError
from tfswa_unet.evaluation import aggregate
from tfswa_unet.evaluation.bsseval import score
from tfswa_unet.evaluation.report import commit
from tfswa_unet.evaluation.tracks import ScoredTrack
from tfswa_unet.inference.precision import pick_device
from tfswa_unet.losses import WeightedLoss, objective
from tfswa_unet.songs import write_dataset
from tfswa_unet.training.optimization import RunProgress, make_optimizer, make_schedule
from tfswa_unet.types import STEMS, Track

DIVERGED = "diverged"
EXPERIMENT = "demo"  # of conf/experiment: its optimizer, schedule, clipping and mixing are those of a trial
BAD_STEPS = 20  # in a row, before training stops
REPORT = 30.0  # s between lines of progress
EPOCH = 100_000  # examples; only where numbers start anew
STATISTICS = 50  # batches that a network's input statistics are taken from, off the clock

Scores = dict[str, dict[str, float | None]]  # stem or "average" → metric → dB


@dataclass(frozen=True)
class TrialSongs:
    """What is trained on and what is scored; nothing is chosen by validation, so its songs train too."""

    train: Sequence[Track]
    test: Sequence[ScoredTrack]


def check(setting: TrialSetting) -> None:
    """Refuse an unknown loss or device before any work; raises ConfigError."""
    choice("loss", setting.loss)
    pick_device(setting.device)


def prepare(setting: TrialSetting) -> TrialSongs:
    """Set the process up and find the songs, or make them, each by a band of its own.

    Raises DataError where something else lies or nothing can be scored.
    """
    set_up(setting.threads)
    if setting.dataset is not None:
        return _of_dataset(setting.dataset, setting.test_songs)

    def report(done: int, total: int) -> None:
        if sys.stderr.isatty() or done == total or done % 10 == 0:
            tell(f"songs: {done} of {total} at {setting.data}")

    songs, scored = setting.songs + setting.test_songs, setting.test_songs
    length, seed = setting.song_seconds, setting.seed
    write_dataset(setting.data, songs, length, seed, test_tracks=scored, on_progress=report)
    tracks = load_tracks("musdb18hq", setting.data)
    return TrialSongs([t for t in tracks if t.split != "test"], to_score([t for t in tracks if t.split == "test"]))


def _of_dataset(root: str, scored: int) -> TrialSongs:
    """Songs of a data set: those that train, and of those that test, or validate where none tests, the first."""
    tracks = load_tracks("auto", root)
    splits = {split: [track for track in tracks if track.split == split] for split in ("train", "valid", "test")}
    measured = (splits["test"] or splits["valid"])[:scored]
    if not splits["train"] or not measured:
        raise DataError(f"{root} has no songs that train, or none that test or validate: give a data set with both")
    return TrialSongs(splits["train"], to_score(measured))


def run_trial(name: str, build: Callable[[], Any], lr: float, setting: TrialSetting, songs: TrialSongs) -> Any:
    """Build, train and score a network; every way in which its package separates is scored, and the best one counts.

    A network that diverges is a result too, with the reason instead of scores. Lines of progress begin with `name`.
    """
    torch.manual_seed(setting.seed)
    device = pick_device(setting.device)
    model = build().to(device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    tell(f"{name}: {parameters / 1e6:.2f} M parameters, {setting.minutes:g} minutes on {device}")
    if isinstance(model, Peer):
        few = islice(batches(songs.train, setting), STATISTICS)
        with torch.no_grad():
            model.prepare(stems.sum(dim=1).to(device) for stems in few)
    versions = {"torch": torch.__version__, "commit": commit()}
    facts = {"parameters": parameters, "lr": lr, "threads": torch.get_num_threads(), **versions}
    try:
        terms = choice("loss", setting.loss)
        trained = train(model, batches(songs.train, setting), terms, lr, setting.minutes, name)
        tell(f"{name}: {trained['steps']} steps, scoring {len(songs.test)} songs")
        scored = {way: score_songs(songs.test, whole, model.stems) for way, whole in ways(model).items()}
    except ModelError as error:
        tell(f"{name}: {DIVERGED}: {error}")
        return {**facts, "status": DIVERGED, "reason": str(error)}
    known = {way: sdr for way, scores in scored.items() if (sdr := scores["average"]["SDR"]) is not None}
    best = max(known, key=known.__getitem__) if known else next(iter(scored))
    return {**facts, **trained, "separated_by": best, "scores": scored[best], "all_ways": scored}


def train(
    model: Any, batches: Iterator[Tensor], terms: Mapping[str, Any], lr: float, minutes: float, name: str
) -> dict[str, Any]:
    """Train on stems (b, s, c, t), whose sum is the mixture, with the terms of a file of conf/loss until time is up.

    The clock runs from the first batch's arrival to the last step's end. Lines of progress begin with `name`. Raises
    ModelError when too many steps in a row have no finite gradient.
    """
    device = next(model.parameters()).device
    recipe = _recipe()
    loss = WeightedLoss(terms)
    optimizer = make_optimizer({**recipe["optimizer"], "lr": lr}, model)
    limit = 60 * minutes
    losses: list[float] = []
    elapsed = told = heard = 0.0
    scheduler = make_schedule(
        recipe["scheduler"], optimizer, lambda: RunProgress(len(losses), 0.0, min(1.0, elapsed / limit))
    )
    bad = in_a_row = 0
    model.train()
    stems = next(batches)
    start = time.perf_counter()
    while elapsed < limit:
        stems = stems.to(device, non_blocking=True)
        total, _ = objective(model, loss, stems, len(losses))
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe["trainer"]["gradient_clip"])
        if torch.isfinite(norm):
            optimizer.step()
            in_a_row = 0
        else:
            bad, in_a_row = bad + 1, in_a_row + 1
            if in_a_row >= BAD_STEPS:
                raise ModelError(f"{name}: {BAD_STEPS} steps in a row had no finite gradient: lower its learning rate")
        losses.append(total.item())
        heard += stems.shape[0] * stems.shape[-1] / model.rate
        synchronise(device)
        elapsed = time.perf_counter() - start
        scheduler.step()
        if elapsed - told >= REPORT:
            told = elapsed
            tell(f"{name}: {elapsed:.0f} of {limit:.0f} s, step {len(losses)}, loss {_last(losses):.4g}")
        if elapsed < limit:
            stems = next(batches)
    return {
        "steps": len(losses),
        "seconds": elapsed,
        "audio_seconds": heard,  # of mixtures, repetitions included
        "segments_per_second": len(losses) * stems.shape[0] / elapsed,
        "loss": _last(losses),
        "bad_steps": bad,  # left out because their gradient was not finite
    }


def batches(tracks: Sequence[Track], setting: TrialSetting) -> Iterator[Tensor]:
    """Endless batches of stems (b, s, c, t), the same ones in the same order for the same tracks and setting."""
    mixing = from_values(Mixing, _recipe()["data"]["mixing"], "data.mixing")
    plan = StemPlan.from_config({stem: [stem] for stem in STEMS})
    dataset = SegmentDataset(tracks, plan, setting.segment, RATE, CHANNELS, setting.seed, EPOCH, mixing)
    sampler = EpochSampler(EPOCH)
    endless = loader(dataset, setting.batch, setting.workers, sampler, drop_last=True)
    for epoch in count():
        sampler.set_epoch(epoch)
        yield from endless


def to_score(tracks: Sequence[Track]) -> list[ScoredTrack]:
    """Tracks as scoring wants them."""
    return [ScoredTrack(track, {stem: (stem,) for stem in STEMS}) for track in tracks]


def score_songs(songs: Sequence[ScoredTrack], separate: Whole | None, stems: Sequence[str]) -> Scores:
    """Median over 1 s frames, then over songs, of museval's SDR, and mean uSDR of whole songs, in dB.

    `separate` gives the stems of these names; None takes the mixture itself as the estimate of every stem. Raises
    ModelError for estimates that are not finite.
    """
    tracks = []
    for song in songs:
        mixture = torch.from_numpy(song.mixture)
        given = mixture.expand(len(stems), *mixture.shape) if separate is None else separate(mixture)
        estimates = song.complete(dict(zip(stems, given.numpy(), strict=True)))
        rate = song.track.rate
        tracks.append(score(song.track.name, song.targets, estimates, window=rate, hop=rate, metrics="sdr"))
    scores = aggregate(tracks)
    rows = {**{stem: each.values for stem, each in scores.stems.items()}, "average": scores.average}
    return {
        stem: {metric: round(value, 3) if value == value else None for metric, value in values.items()}
        for stem, values in rows.items()
    }


@cache
def _recipe() -> dict[str, Any]:
    return compose_values("train", [f"experiment={EXPERIMENT}"])


def _last(losses: list[float]) -> float:
    """Mean over the last tenth of the steps."""
    recent = losses[-max(1, len(losses) // 10) :]
    return sum(recent) / len(recent)
