"""A trial: a network trained for a set time on songs made for it, and scored on songs that it has not heard."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor

from tfswa_unet.bench.loop import Training, train
from tfswa_unet.bench.networks import Peer, Whole, ways
from tfswa_unet.bench.results import tell
from tfswa_unet.bench.settings import TrialSetting
from tfswa_unet.bench.subject import CHANNELS, RATE, set_up
from tfswa_unet.config import choice, from_values
from tfswa_unet.data import EpochSampler, Mixing, SegmentDataset, StemPlan, load_tracks
from tfswa_unet.data.batches import loader
from tfswa_unet.errors import ModelError
from tfswa_unet.evaluation import MethodScores, aggregate
from tfswa_unet.evaluation.bsseval import score
from tfswa_unet.evaluation.report import commit
from tfswa_unet.evaluation.song import Song
from tfswa_unet.inference.precision import pick_device
from tfswa_unet.songs import write_dataset
from tfswa_unet.types import STEMS, Track

DIVERGED = "diverged"
WHOLE_SONGS = {"p": 0.2, "redraw": 0.0}  # of data.mixing: most examples are whole songs, which have few silent stems
EPOCH = 100_000  # examples; only where numbers start anew
STATISTICS = 50  # batches that a network's input statistics are taken from, off the clock

Scores = dict[str, dict[str, float | None]]  # stem or "average" → metric → dB


@dataclass(frozen=True)
class TrialSongs:
    """What is trained on and what is scored; nothing is chosen by validation, so its songs train too."""

    train: Sequence[Track]
    test: Sequence[Song]


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

    total = setting.songs + setting.test_songs
    write_dataset(
        setting.data,
        total,
        setting.song_seconds,
        setting.seed,
        test_tracks=setting.test_songs,
        on_progress=report,
    )
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
    facts = {
        "parameters": parameters,
        "lr": lr,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "commit": commit(),
    }
    training = Training(setting.minutes, lr, choice("loss", setting.loss))
    try:
        trained = train(model, batches(songs.train, setting), training, name)
        tell(f"{name}: {trained.steps} steps, scoring {len(songs.test)} songs")
        scored = {way: score_songs(songs.test, whole, model.stems) for way, whole in ways(model).items()}
    except ModelError as error:
        tell(f"{name}: {DIVERGED}: {error}")
        return {**facts, "status": DIVERGED, "reason": str(error)}
    best = max(scored, key=lambda way: scored[way]["average"]["SDR"] or -torch.inf)
    return {**facts, **asdict(trained), "separated_by": best, "scores": scored[best], "all_ways": scored}


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


def to_score(tracks: Sequence[Track]) -> list[Song]:
    """Tracks as scoring wants them."""
    return [Song(track, {stem: (stem,) for stem in STEMS}) for track in tracks]


def score_songs(songs: Sequence[Song], separate: Whole | None, stems: Sequence[str]) -> Scores:
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
    return _plain(aggregate(tracks))


def _plain(scores: MethodScores) -> Scores:
    rows: dict[str, Mapping[str, Any]] = {stem: values.values for stem, values in scores.stems.items()}
    rows["average"] = scores.average
    return {
        stem: {metric: round(value, 3) if value == value else None for metric, value in values.items()}
        for stem, values in rows.items()
    }


def _take_statistics(model: Any, setting: TrialSetting, tracks: Sequence[Track]) -> None:
    if isinstance(model, Peer):
        few = islice(batches(tracks, setting), STATISTICS)
        with torch.no_grad():
            model.prepare(stems.sum(dim=1).to(pick_device(setting.device)) for stems in few)
