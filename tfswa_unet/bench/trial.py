"""A trial: a network trained for a set time on songs made for it, and scored on songs that it has not heard."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor

from tfswa_unet.bench.measures import synchronise
from tfswa_unet.bench.networks import Peer, Whole, ways
from tfswa_unet.bench.results import tell
from tfswa_unet.bench.settings import TrialSetting
from tfswa_unet.bench.subject import CHANNELS, RATE, set_up
from tfswa_unet.config import choice, from_values
from tfswa_unet.data import EpochSampler, Mixing, SegmentDataset, StemPlan, load_tracks
from tfswa_unet.data.segments import loader
from tfswa_unet.errors import ModelError
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
OPTIMIZER, SCHEDULER = "adamw", "cosine"  # of conf/optimizer and conf/scheduler
WARM_UP = 30  # steps of the schedule: a trial lasts minutes, not days
CLIP = 1.0  # largest gradient norm
BAD_STEPS = 20  # in a row, before training stops
REPORT = 30.0  # s between lines of progress
WHOLE_SONGS = {"p": 0.2, "redraw": 0.0}  # of data.mixing, as in experiment=demo: most examples are whole songs
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
    """Set the process up and make the songs, each by a band of its own, where they are missing.

    Raises:
        DataError: something else lies there.
    """
    set_up(setting.threads)
    reported = {0}

    def report(done: int, total: int) -> None:
        if sys.stderr.isatty() or done == total or done // 10 not in reported:
            reported.add(done // 10)
            tell(f"songs: {done} of {total} at {setting.data}")

    songs, scored = setting.songs + setting.test_songs, setting.test_songs
    length, seed = setting.song_seconds, setting.seed
    write_dataset(setting.data, songs, length, seed, test_tracks=scored, on_progress=report)
    tracks = load_tracks("musdb18hq", setting.data)
    return TrialSongs([t for t in tracks if t.split != "test"], to_score([t for t in tracks if t.split == "test"]))


def run_trial(name: str, build: Callable[[], Any], lr: float, setting: TrialSetting, songs: TrialSongs) -> Any:
    """Build, train and score a network; every way in which its package separates is scored, and the best one counts.

    Args:
        name: for lines of progress.
        build: makes the network, on the CPU.
        lr: its learning rate.
        setting: everything else.
        songs: to train on and to score.

    Returns:
        the result as plain values; one that diverges is a result too, with the reason instead of scores.
    """
    torch.manual_seed(setting.seed)
    device = pick_device(setting.device)
    model = build().to(device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    tell(f"{name}: {parameters / 1e6:.2f} M parameters, {setting.minutes:g} minutes on {device}")
    _take_statistics(model, setting, songs.train)
    made_by = {"threads": torch.get_num_threads(), "torch": torch.__version__, "commit": commit()}
    facts = {"parameters": parameters, "lr": lr, **made_by}
    try:
        terms = choice("loss", setting.loss)
        trained = train(model, batches(songs.train, setting), terms, lr, setting.minutes, name)
        tell(f"{name}: {trained.steps} steps, scoring {len(songs.test)} songs")
        scored = {way: score_songs(songs.test, whole, model.stems) for way, whole in ways(model).items()}
    except ModelError as error:
        tell(f"{name}: {DIVERGED}: {error}")
        return {**facts, "status": DIVERGED, "reason": str(error)}
    best = max(scored, key=lambda way: scored[way]["average"]["SDR"] or -torch.inf)
    return {**facts, **asdict(trained), "separated_by": best, "scores": scored[best], "all_ways": scored}


@dataclass(frozen=True)
class Trained:
    """What training did; `loss` is the mean over the last tenth of the steps."""

    steps: int
    seconds: float  # s of training
    audio_seconds: float  # s of mixtures seen, repetitions included
    segments_per_second: float
    loss: float
    bad_steps: int  # left out because their gradient was not finite


def train(
    model: Any, batches: Iterator[Tensor], terms: Mapping[str, Any], lr: float, minutes: float, name: str
) -> Trained:
    """Train until the time is up; the clock runs from the first batch's arrival to the last step's end.

    Args:
        model: maps mixtures (b, c, t) to stems (b, s, c, t); with `spectra`, losses are read off those as in
            `SeparationModule`.
        batches: stems (b, s, c, t); the mixture is their sum.
        terms: of the loss, as in conf/loss.
        lr: learning rate.
        minutes: of training.
        name: for lines of progress.

    Raises:
        ModelError: when too many steps in a row have no finite gradient.
    """
    device = next(model.parameters()).device
    loss = WeightedLoss(terms)
    optimizer = make_optimizer({**choice("optimizer", OPTIMIZER), "lr": lr}, model)
    schedule = {**choice("scheduler", SCHEDULER), "warmup_steps": WARM_UP}
    limit = 60 * minutes
    losses: list[float] = []
    elapsed = told = heard = 0.0
    scheduler = make_schedule(schedule, optimizer, lambda: RunProgress(len(losses), 0.0, min(1.0, elapsed / limit)))
    bad = in_a_row = 0
    model.train()
    stems = next(batches)
    start = time.perf_counter()
    while elapsed < limit:
        stems = stems.to(device, non_blocking=True)
        total, _ = objective(model, loss, stems, len(losses))
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
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
    return Trained(
        steps=len(losses),
        seconds=elapsed,
        audio_seconds=heard,
        segments_per_second=len(losses) * stems.shape[0] / elapsed,
        loss=_last(losses),
        bad_steps=bad,
    )


def batches(tracks: Sequence[Track], setting: TrialSetting) -> Iterator[Tensor]:
    """Endless batches of stems (b, s, c, t), the same ones in the same order for the same tracks and setting."""
    mixing = from_values(Mixing, {**choice("data", "musdb18hq")["mixing"], **WHOLE_SONGS}, "data.mixing")
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

    Args:
        songs: what is separated.
        separate: None takes the mixture itself as the estimate of every stem.
        stems: names of what `separate` gives.

    Raises:
        ModelError: for estimates that are not finite.
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


def _take_statistics(model: Any, setting: TrialSetting, tracks: Sequence[Track]) -> None:
    if isinstance(model, Peer):
        few = islice(batches(tracks, setting), STATISTICS)
        with torch.no_grad():
            model.prepare(stems.sum(dim=1).to(pick_device(setting.device)) for stems in few)


def _last(losses: list[float]) -> float:
    recent = losses[-max(1, len(losses) // 10) :]
    return sum(recent) / len(recent)
