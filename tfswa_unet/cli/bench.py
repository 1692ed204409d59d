"""tfswa bench: how fast this machine is and what networks learn in a given time, measured the way they are used."""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import partial
from importlib import import_module
from itertools import chain
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from tfswa_unet.bench import settings
from tfswa_unet.bench.settings import ModelSetting, Setting

STATUS = """
Of several systems one may fail, such as for want of memory or of a package: the others are measured, its row says why,
and the exit status is 1. One that diverges in training has been measured.
"""

# `tfswa_unet.bench.NAME` measures what a setting asks for.
BENCHMARKS: dict[str, type[Setting]] = {
    "forward": settings.ForwardSetting,
    "train": settings.TrainSetting,
    "data": settings.DataSetting,
    "separate": settings.SeparateSetting,
    "live": settings.LiveSetting,
    "serve": settings.ServeSetting,
    "scoring": settings.ScoringSetting,
    "peers": settings.PeersSetting,
    "contest": settings.ContestSetting,
    "options": settings.OptionsSetting,
    "exports": settings.ExportsSetting,
}
EXAMPLES = """\
  tfswa bench forward --model tfswa_base --profile        where a forward pass spends its time
  tfswa bench forward --precision bf16                    also what bf16 costs, in dB against fp32
  tfswa bench train --model tfswa_tiny --loss fast        what a training step waits for
  tfswa bench train --checkpointing                       what gradient checkpointing costs and gains
  tfswa bench data                                        examples a second by reader, beside musdb's own
  tfswa bench data --data /data/musdb18hq --readers cached --augmentation strong
  tfswa bench separate                                    60 s of stereo from file to files
  tfswa bench separate --model tfswa_tiny model.safetensors --json
  tfswa bench live --threads 1                            how long a hop takes on one core
  tfswa bench live --model realtime.safetensors --hops 10000
  tfswa bench serve                                       200 songs of 10 s from 50 clients
  tfswa bench serve --model model.safetensors --clients 8 --jobs 40 --json
  tfswa bench scoring                                     30 s, ours and museval in turn
  tfswa bench scoring --long 240                          four minutes by ours as well
  tfswa bench peers                                       60 s of stereo, everything
  tfswa bench peers --models tfswa_tiny --peers htdemucs --precision fp32,bf16 --runs 1
  tfswa bench peers --train --batch 2 --segment 1.5 --peers openunmix
  tfswa bench peers --train --batch 16 --precision bf16 --peak-tflops 989   on a GPU
  tfswa bench contest                                     20 minutes each
  tfswa bench contest --only tfswa_tiny --minutes 5 --out runs/bench/tiny.json
  tfswa bench contest --loss fast --lr tfswa_tiny=1e-3,htdemucs=3e-4 --out runs/bench/fast.json
  tfswa bench contest --dataset /data/musdb18hq           with songs of your own
  tfswa bench options --list                              the rows
  tfswa bench options                                     3 minutes a row
  tfswa bench options --rows "base;complex mask;RMS norm" --minutes 10 --out runs/bench/long.json
  tfswa bench exports                                     every preset and target, some minutes each
  tfswa bench exports --models tfswa_mobile tfswa_tiny --targets onnx,pt2
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmarks of `tfswa bench`."""
    benchmarks = parser.add_subparsers(title="benchmarks", metavar="WHAT", dest="what", required=True)
    for name, setting in BENCHMARKS.items():
        examples = (line for line in EXAMPLES.splitlines() if line.split()[2] == name)
        about = inspect.getdoc(setting) or name
        command = benchmarks.add_parser(
            name,
            help=f"{about[0].lower()}{about[1:]}".removesuffix("."),
            description=f"{about}\n{STATUS if name != 'data' else ''}",
            epilog="\n".join(["examples:", *examples]),
            formatter_class=parser.formatter_class,
        )
        if issubclass(setting, ModelSetting):
            kinds = "presets (random weights), bundles or checkpoints"
            kinds += ", or files of tfswa export" if name == "forward" else ""
            command.add_argument("--model", nargs="+", metavar="NAME", help=f"{kinds} (default: {setting.preset})")
        _add_options(command, setting)
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Run the chosen benchmark, for each model where it has models, and print what it measured; 1 if any failed."""
    from tfswa_unet.bench.results import FAILED, rounded
    from tfswa_unet.bench.tables import show

    measure = import_module(f"tfswa_unet.bench.{args.what}").measure
    setting = BENCHMARKS[args.what]
    if issubclass(setting, ModelSetting):
        measured = _of_models(args, setting, measure)
    else:
        measured = measure(_given(args, setting))
    if not hasattr(setting, "out"):  # whose file holds the same numbers
        measured = rounded(measured)
    if args.json:
        print(json.dumps(measured, indent=2))
    else:
        show(args.what, measured)
    return 1 if any(record.get("status") == FAILED for record in _records(measured)) else 0


def _of_models(args: argparse.Namespace, setting: type[ModelSetting], measure: Callable[[Any], Any]) -> Any:
    """A record for a model, or a list of them for several."""
    from tfswa_unet.bench.results import recorded
    from tfswa_unet.bench.subject import check_model

    given = {name: _given(args, setting, model=name) for name in args.model or [setting.preset]}
    for name in given:
        check_model(name)
    records = [{"model": name, **recorded(name, partial(measure, each))} for name, each in given.items()]
    return records[0] if len(records) == 1 else records


def _records(measured: Any) -> Iterable[Mapping[str, Any]]:
    """What can fail by itself: a model, a system, a network."""
    if isinstance(measured, list):
        return measured
    return measured["results"].values() if "results" in measured else measured.get("systems", [measured])


def _given(args: argparse.Namespace, setting: type[Setting], **more: Any) -> Setting:
    values = {field.name: getattr(args, field.name) for field in fields(setting)}
    lists = {name: tuple(chain(*value)) for name, value in values.items() if isinstance(value, list)}
    return setting(**values | lists | more)


def _add_options(parser: argparse.ArgumentParser, setting: type[Setting]) -> None:
    """An option for each field: its type from its hint, its help and default from the field."""
    hints = get_type_hints(setting)
    for field in fields(setting):
        if "help" not in field.metadata:
            continue
        name = f"--{field.name.replace('_', '-')}"
        hint = hints[field.name]
        kind = get_args(hint)[0] if isinstance(hint, UnionType) else hint
        about, metavar = field.metadata["help"], field.metadata["metavar"]
        if kind is bool:
            parser.add_argument(name, action="store_true", help=about)
        elif get_origin(kind) is tuple:
            names: Any = field.default
            default = None if names is None else ",".join(names)
            parser.add_argument(name, nargs="+", type=_names, default=default, metavar=metavar, help=about)
        else:
            parser.add_argument(name, type=kind, default=field.default, metavar=metavar, help=about)


def _names(text: str) -> tuple[str, ...]:
    """The names in "a,b,c"."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
