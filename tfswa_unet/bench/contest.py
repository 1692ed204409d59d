"""Scores of whole songs: museval's SDR and the demixing challenges' uSDR."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from tfswa_unet import models
from tfswa_unet.bench.loop import Training, train
from tfswa_unet.bench.networks import SMALL, Peer, Whole, peer, ways
from tfswa_unet.bench.setting import Results, Setting, add_arguments, batches, names, pairs, run, show, tell, to_score
from tfswa_unet.errors import unknown
from tfswa_unet.evaluation import MethodScores, aggregate
from tfswa_unet.evaluation.bsseval import score
from tfswa_unet.evaluation.report import commit
from tfswa_unet.evaluation.tracks import ScoredTrack
from tfswa_unet.types import MIXTURE, STEMS, Track

if TYPE_CHECKING:
    from rich.table import Table


Scores = dict[str, dict[str, float | None]]  # stem or "average" → metric → dB


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
    return _plain(aggregate(tracks))


def _plain(scores: MethodScores) -> Scores:
    rows: dict[str, Mapping[str, Any]] = {stem: values.values for stem, values in scores.stems.items()}
    rows["average"] = scores.average
    return {
        stem: {metric: round(value, 3) if value == value else None for metric, value in values.items()}
        for stem, values in rows.items()
    }


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


EXAMPLES = """\
examples:
  python benchmarks/contest.py                                  20 minutes each
  python benchmarks/contest.py --only tfswa_tiny --minutes 5 --out benchmarks/results/tiny.json
  python benchmarks/contest.py --loss fast --lr tfswa_tiny=1e-3,htdemucs=3e-4 --out benchmarks/results/fast.json
"""


@dataclass(frozen=True)
class Contestant:
    """A network and the learning rate that suits it."""

    build: Callable[[], Any]
    lr: float


CONTESTANTS = {
    "tfswa_tiny": Contestant(lambda: models.build(models.preset("tfswa_tiny", STEMS)), 2e-3),
    "openunmix": Contestant(lambda: peer(SMALL, "openunmix", STEMS), 1e-3),
    "htdemucs": Contestant(lambda: peer(SMALL, "htdemucs", STEMS), 1e-3),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Train and score whoever is missing in the file, and print the table."""
    args = _parser().parse_args(argv)
    setting, rates = Setting.from_args(args), _rates(args.lr)
    if args.only is not None and args.only not in CONTESTANTS:
        raise unknown("--only", args.only, CONTESTANTS)
    results = Results(args.out, {**setting.facts(), "lr": rates})
    missing = [name for name in CONTESTANTS if name not in results.records and args.only in (None, name)]
    for name in missing:
        CONTESTANTS[name].build()  # a package that is not there is told now, not in an hour
    train_tracks, test_tracks = setting.prepare()
    if MIXTURE not in results.records:
        results.add(MIXTURE, {"scores": score_songs(to_score(test_tracks), None, STEMS)})
    for name in missing:
        record = compete(name, CONTESTANTS[name].build, rates[name], setting, train_tracks, test_tracks)
        results.add(name, record)
    if args.json:
        print(json.dumps(results.to_dict(), indent=2))
        return 0
    show(table(results.records))
    return 0


def table(records: Mapping[str, Any]) -> Table:
    """Two rows a network: museval's SDR, and uSDR, which is another metric."""
    from rich.table import Table

    view = Table()
    view.add_column("network")
    for heading in ("parameters", "steps", "audio", "dB", *STEMS, "average"):
        view.add_column(heading, justify="right")
    for name, record in records.items():
        facts = ["–", "–", "–"]
        if "steps" in record:
            audio = f"{record['audio_seconds'] / 60:.1f} min"
            facts = [f"{record['parameters'] / 1e6:.1f} M", f"{record['steps']:,}", audio]
        for metric, cells in (("SDR", facts), ("uSDR", [""] * 3)):
            values = [record["scores"][stem][metric] for stem in (*STEMS, "average")]
            written = [f"{value:.2f}" if value is not None else "–" for value in values]
            view.add_row(name if metric == "SDR" else "", *cells, metric, *written)
        view.add_section()
    return view


def _rates(given: Sequence[str]) -> dict[str, float]:
    changed = pairs(given, "--lr")
    for name in changed:
        if name not in CONTESTANTS:
            raise unknown("contestant in --lr", name, CONTESTANTS)
    return {name: contestant.lr for name, contestant in CONTESTANTS.items()} | changed


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=formatter)
    add_arguments(parser, minutes=20.0, loss="waveform", out="contest.json")
    rates = ",".join(f"{name}={contestant.lr:g}" for name, contestant in CONTESTANTS.items())
    parser.add_argument("--lr", type=names, default=(), metavar="NAME=X", help=f"a,b: rates to change ({rates})")
    parser.add_argument("--only", metavar="NAME", help=f"train one: {', '.join(CONTESTANTS)}")
    return parser


if __name__ == "__main__":
    run(main)
