"""tfswa bench: how fast this machine is, measured the way it is used."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

HELP = "measure speed and memory: of a model, of training, of its data, of separating a whole song"
EXAMPLES = """\
  tfswa bench forward --model tfswa_base --profile        where a forward pass spends its time
  tfswa bench forward --precision bf16                    also what bf16 costs, in dB against fp32
  tfswa bench train --model tfswa_tiny --loss fast        what a training step waits for
  tfswa bench train --checkpointing                       what gradient checkpointing costs and gains
  tfswa bench data                                        examples a second by reader, beside musdb's own
  tfswa bench data --data /data/musdb18hq --readers cached --augmentation strong
  tfswa bench separate                                    60 s of stereo from file to files
  tfswa bench separate --model tfswa_tiny model.safetensors --json
"""
MODEL = "tfswa_base"
SHARES = "shares"  # printed as percentages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmarks of `tfswa bench`."""
    benchmarks = parser.add_subparsers(title="benchmarks", metavar="WHAT", required=True)
    _add_forward(_benchmark(benchmarks, parser, "forward", "the model alone, from waveforms to stems"))
    _add_train(_benchmark(benchmarks, parser, "train", "training steps with their data, loss and optimizer"))
    _add_data(_benchmark(benchmarks, parser, "data", "the examples that training waits for, by reader of the files"))
    _add_separate(_benchmark(benchmarks, parser, "separate", "a whole song, from file to files"))


def run(args: argparse.Namespace) -> int:
    """Run the chosen benchmark, for each model where it has models, and print what it measured."""
    return args.measure(args)


def _run_models(args: argparse.Namespace) -> int:
    from tfswa_unet.bench.subject import check_model

    setting_type, measure = args.benchmark()
    given = vars(args)
    names = args.model or [MODEL]
    options = {field.name: given[field.name] for field in fields(setting_type) if field.name != "model"}
    settings = [setting_type(model=name, **options) for name in names]
    for name in names:
        check_model(name)
    records = [_rounded(asdict(measure(setting))) for setting in settings]
    if args.json:
        print(json.dumps(records[0] if len(records) == 1 else records, indent=2))
    else:
        _print_table(records)
    return 0


def _run_data(args: argparse.Namespace) -> int:
    from tfswa_unet.bench.data import DataSetting, measure_data

    given = {field.name: getattr(args, field.name) for field in fields(DataSetting)}
    readers = tuple(args.readers) if args.readers else None
    record = _rounded(asdict(measure_data(DataSetting(**{**given, "readers": readers}))))
    if args.json:
        print(json.dumps(record, indent=2))
    else:
        _print_data(record)
    return 0


def _forward() -> tuple[Any, Any]:
    from tfswa_unet.bench.forward import ForwardSetting, measure_forward

    return ForwardSetting, measure_forward


def _train() -> tuple[Any, Any]:
    from tfswa_unet.bench.train import TrainSetting, measure_training

    return TrainSetting, measure_training


def _separate() -> tuple[Any, Any]:
    from tfswa_unet.bench.separate import SeparateSetting, measure_separation

    return SeparateSetting, measure_separation


def _benchmark(benchmarks: Any, parser: argparse.ArgumentParser, name: str, about: str) -> argparse.ArgumentParser:
    """A benchmark's parser with the options that all, or all of a model, have."""
    benchmark = benchmarks.add_parser(
        name, help=about, description=f"{about[0].upper()}{about[1:]}.", formatter_class=parser.formatter_class
    )
    add = benchmark.add_argument
    add("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    add("--json", action="store_true", help="print JSON: an object, or a list of them for several models")
    if name == "data":
        benchmark.set_defaults(measure=_run_data)
        return benchmark
    add("--model", nargs="+", help=f"presets (random weights), bundles or checkpoints (default: {MODEL})")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--precision", default="fp32", help="auto, fp32 or bf16")
    models = {"forward": _forward, "train": _train, "separate": _separate}
    benchmark.set_defaults(measure=_run_models, benchmark=models[name])
    return benchmark


def _add_forward(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--seconds", type=float, default=6.0, metavar="S", help="length of a segment")
    add("--batch", type=int, default=1, metavar="N", help="segments at a time")
    add("--runs", type=int, default=5, metavar="N", help="calls counted after a warm-up; the median is given")
    add("--compile", action="store_true", help="compile the network with torch.compile first")
    add("--profile", action="store_true", help="show the share of the time of each kind of module")
    add(
        "--compare",
        choices=["fp32"],
        help="SNR of the output in dB against fp32 without compilation; bf16 always shows it",
    )


def _add_train(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--seconds", type=float, default=6.0, metavar="S", help="length of a segment")
    add("--batch", type=int, default=4, metavar="N", help="segments a step")
    add("--steps", type=int, default=8, metavar="N", help="steps counted after a warm-up")
    add("--loss", default="default", metavar="NAME", help="as in conf/loss: default, fast, waveform")
    add("--augmentation", default="default", metavar="NAME", help="as in conf/augmentation: none, default, strong")
    add("--data", metavar="ROOT", help="a data set (default: a few synthetic songs, made for the time being)")
    add("--cache", metavar="FOLDER", help="decode the data set to it first, as training does (default: read its files)")
    add("--workers", type=int, metavar="N", help="loader processes (default: as in conf/data)")
    add("--checkpointing", action="store_true", help="also with gradient checkpointing: its price and gain")
    add("--peak-tflops", type=float, metavar="X", help="the device's best, to tell how much of it is used")


def _add_data(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--seconds", type=float, default=6.0, metavar="S", help="length of a segment")
    add("--batch", type=int, default=4, metavar="N", help="segments at a time")
    add("--samples", type=int, default=48, metavar="N", help="segments counted after a warm-up, at least 1 s of them")
    add("--workers", type=int, metavar="N", help="loader processes (default and most: as many as processors; 0: none)")
    add(
        "--readers",
        nargs="+",
        metavar="NAME",
        help="some of musdb, musdb_wav (its own), stem_mp4, wav, flac, cached (default: all); of a data set with "
        "--data those that read it, files for layouts other than MUSDB18's",
    )
    add(
        "--augmentation",
        metavar="NAME",
        help="as in conf/augmentation: none, default, strong (default: none, and the cache with default as well)",
    )
    add("--data", metavar="ROOT", help="a data set (default: a few synthetic songs, made for the time being)")
    add("--kind", default="auto", help="its layout, as data.kind")
    add("--cache", metavar="FOLDER", help="where to decode it to, and to leave it (default: for the time being)")


def _add_separate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--seconds", type=float, default=60.0, metavar="S", help="length of the song, stereo at 44.1 kHz")
    add("--runs", type=int, default=3, metavar="N", help="runs counted after a warm-up; the median is given")
    add("--segment", type=float, default=6.0, metavar="S", help="seconds that the model sees at once")
    add("--overlap", type=float, default=1.0, metavar="S", help="seconds that neighbouring segments share")
    add("--batch", type=int, metavar="N", help="segments at a time (default: 8 on CUDA, else 1)")


def _rounded(value: Any) -> Any:
    """Five digits of every number that is not whole: more is noise."""
    if isinstance(value, Mapping):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _print_table(records: list[dict[str, Any]]) -> None:
    """One column a model, one row a number; what nothing was measured for is left out."""
    from rich.console import Console
    from rich.table import Table

    columns = [dict(_rows(record)) for record in records]
    table = Table(show_header=False, box=None)
    for label in dict.fromkeys(label for column in columns for label in column):
        table.add_row(label, *(column.get(label, "–") for column in columns))
    Console(highlight=False, soft_wrap=True).print(table, markup=False)


def _print_data(record: Mapping[str, Any]) -> None:
    """One row a reader, then one an augmentation."""
    from rich.console import Console
    from rich.table import Table

    settings = record["settings"]
    readers = Table("reader", "augmentation", box=None)
    augmentations = Table("augmentation at p = 1", box=None)
    for table, name in ((readers, "samples/s"), (readers, "× musdb"), (augmentations, "ms a sample")):
        table.add_column(name, justify="right")
    augmentations.add_column("runs in")
    for row in record["rows"]:
        ratio = row["ratio_to_musdb"]
        shown = (_written(row["samples_per_second"]), "–" if ratio is None else _written(ratio))
        readers.add_row(row["reader"], row["augmentation"], *shown)
    for cost in record["augmentations"]:
        place = "workers" if cost["in_workers"] else "training"
        augmentations.add_row(cost["augmentation"], _written(cost["milliseconds"]), place)
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"samples of 4 stems × {settings['seconds']:g} s, batches of {settings['batch']}, "
        f"{settings['workers']} workers, {settings['threads']} threads"
    )
    for table in (readers, augmentations):
        console.print()
        console.print(table)


def _rows(record: Mapping[str, Any], under: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in record.items():
        label = f"{under}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            rows += _rows(value, f"{label}: ")
        elif value is not None:
            rows.append((label, f"{value:.1%}" if under.startswith(SHARES) else _written(value)))
    return rows


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
