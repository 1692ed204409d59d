"""Ours against Open-Unmix and Hybrid Transformer Demucs: the same data, loss and wall-clock for each.

Songs are synthetic, each by a band of its own. The clock counts training only. Every contestant's result is in the file
as soon as it is there; run again, the script goes on with those that are missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.command import names, run, show
from benchmarks.compete import compete
from benchmarks.networks import SMALL, peer
from benchmarks.results import Results
from benchmarks.scoring import score_songs
from benchmarks.setting import Setting, add_arguments, pairs
from benchmarks.songs import to_score
from tfswa_unet import models
from tfswa_unet.data.synthetic import STEMS
from tfswa_unet.errors import unknown

if TYPE_CHECKING:
    from rich.table import Table

MIXTURE = "mixture"
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
