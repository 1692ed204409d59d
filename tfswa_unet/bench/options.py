"""What each option beyond the paper costs and gains: size, speed, and SDR after the same wall-clock of training."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from tfswa_unet import models
from tfswa_unet.bench.contest import compete
from tfswa_unet.bench.measures import count_flops, median_seconds
from tfswa_unet.bench.setting import Results, Setting, add_arguments, names, run, show, tell
from tfswa_unet.bench.subject import check_positive, mixtures
from tfswa_unet.errors import ConfigError, ModelError, unknown
from tfswa_unet.types import STEMS

if TYPE_CHECKING:
    from rich.table import Table


ROWS = Path(__file__).with_name("options.yaml")
FORWARD = 6.0  # s, the segment whose forward pass is timed
RUNS = 5
EXAMPLES = """\
examples:
  python benchmarks/options.py --list                           the rows
  python benchmarks/options.py                                  3 minutes a row
  python benchmarks/options.py --rows "base;complex mask;RMS norm" --minutes 10 --out benchmarks/results/long.json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the rows that are missing in the file, and print the table."""
    args = _parser().parse_args(argv)
    rows = load_rows(args.table)
    if args.list:
        print("\n".join(f"{name}: {' '.join(overrides)}" for name, overrides in rows.items()))
        return 0
    setting = Setting.from_args(args)
    check_positive(lr=args.lr)
    chosen = _chosen(args.rows, rows)
    configs = {name: configured(args.model, rows[name], name) for name in chosen}
    for name, config in configs.items():
        _built(config, name)  # what cannot be built is told now, not in an hour
    results = Results(args.out, {**setting.facts(), "lr": args.lr, "model": args.model})
    _check_overrides(results, rows)
    train_tracks, test_tracks = setting.prepare()
    for name in chosen:
        if name in results.records:
            tell(f"{name}: already in {args.out}")
            continue
        model = models.build(configs[name]).to(setting.place())
        record = {"overrides": rows[name], **costs(model)}
        tell(f"{name}: real-time factor {record['real_time_factor']:.3f}")
        try:
            build = partial(models.build, configs[name])
            record |= compete(name, build, args.lr, setting, train_tracks, test_tracks)
        except ModelError as error:  # one that diverges is a result too
            tell(f"{name}: {error}")
            record |= {"failed": str(error)}
        results.add(name, record)
    if args.json:
        print(json.dumps(results.to_dict(), indent=2))
        return 0
    show(table(results.records))
    return 0


def load_rows(path: Path) -> dict[str, list[str]]:
    """Overrides by row; raises ConfigError for a file that is no such table."""
    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
        if not isinstance(values, dict) or not all(isinstance(row, list) for row in values.values()):
            raise ValueError("a mapping of names to lists of overrides was expected")
        return {str(name): [str(override) for override in row] for name, row in values.items()}
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"--table {path} cannot be read: {' '.join(str(error).split())}") from error


def configured(base: str, overrides: Sequence[str], row: str) -> dict[str, Any]:
    """Configuration of a preset for all four stems with overrides such as "network.patch=[2,2]".

    Raises:
        ConfigError: for an unknown preset, or overrides that cannot be read.
    """
    try:
        values = OmegaConf.to_container(
            OmegaConf.merge(models.preset(base, STEMS), OmegaConf.from_dotlist(list(overrides)))
        )
    except OmegaConfBaseException as error:
        raise ConfigError(f"row {row!r}: {' '.join(str(error).split())}") from None
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items()}


def costs(model: Any) -> dict[str, float]:
    """What a model costs before it has learned anything: operations a second of audio, and its real-time factor."""
    device = next(model.parameters()).device
    mixture = mixtures(1, model.channels, FORWARD, model.rate).to(device)
    model.eval()

    def forward() -> torch.Tensor:
        with torch.inference_mode():
            return model(mixture)

    flops = count_flops(lambda: model(mixture)) / FORWARD
    return {"flops_per_second": flops, "real_time_factor": median_seconds(forward, RUNS, device) / FORWARD}


def table(records: Mapping[str, Any]) -> Table:
    """One line a row: sizes, speeds, SDR."""
    from rich.table import Table

    view = Table()
    view.add_column("row")
    for heading in ("parameters", "GFLOP/s of audio", "forward RTF", "segments/s", *STEMS, "average SDR", "uSDR"):
        view.add_column(heading, justify="right")
    for name, record in records.items():
        speeds = [f"{record['flops_per_second'] / 1e9:.2f}", f"{record['real_time_factor']:.3f}"]
        if "failed" in record:
            view.add_row(name, "–", *speeds, *["–"] * 7)
            continue
        scores = record["scores"]
        values = [scores[stem]["SDR"] for stem in (*STEMS, "average")] + [scores["average"]["uSDR"]]
        written = [f"{value:.2f}" if value is not None else "–" for value in values]
        size, trained = f"{record['parameters'] / 1e6:.2f} M", f"{record['segments_per_second']:.2f}"
        view.add_row(name, size, *speeds, trained, *written)
    return view


def _built(config: dict[str, Any], row: str) -> None:
    try:
        models.build(config)
    except (ConfigError, TypeError, ValueError) as error:
        raise ConfigError(f"row {row!r} cannot be built: {error}") from error


def _chosen(given: Sequence[str] | None, rows: Mapping[str, Any]) -> list[str]:
    for name in given or ():
        if name not in rows:
            raise unknown("row", name, rows)
    return [name for name in rows if given is None or name in given]


def _check_overrides(results: Results, rows: Mapping[str, Sequence[str]]) -> None:
    """A row whose overrides have changed is another row: its result must not stand under the new ones."""
    for name, record in results.records.items():
        if name in rows and record["overrides"] != list(rows[name]):
            raise ConfigError(
                f"{results.path} holds the row {name!r} with {record['overrides']} where the table now says "
                f"{list(rows[name])}: rename the row, or give another --out"
            )


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=formatter)
    add_arguments(parser, minutes=3.0, loss="fast", out="options.json")
    add = parser.add_argument
    add("--model", default="tfswa_tiny", help="the preset that rows change (default: tfswa_tiny)")
    add("--rows", type=lambda text: names(text, ";"), metavar="A;B", help="rows to measure (default: all)")
    add("--table", type=Path, default=ROWS, metavar="FILE", help="the rows (default: benchmarks/options.yaml)")
    add("--lr", type=float, default=2e-3, help="learning rate of all rows (default: 2e-3)")
    add("--list", action="store_true", help="print the rows and leave")
    return parser


if __name__ == "__main__":
    run(main)
