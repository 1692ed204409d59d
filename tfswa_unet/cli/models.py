"""tfswa bundle, tfswa info: what a checkpoint or bundle holds, as a file and as facts."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfswa_unet.cli import MODEL_KINDS, add_offline

if TYPE_CHECKING:
    from rich.tree import Tree
    from torch import nn


class Bundle:
    """tfswa bundle: a checkpoint to one safetensors file."""

    EXAMPLES = """\
  tfswa bundle run/last.ckpt                            writes run/last.safetensors
  tfswa bundle run/last.ckpt -o model.safetensors
  tfswa bundle run/last.ckpt --half                     half as large
  tfswa bundle run/last.ckpt --average model.safetensors --temperature 1.5      for music unlike what it learned from
  tfswa bundle model.safetensors --half --scores scores/scores.json    adds what eval.py found of that very file
"""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("checkpoint", type=Path, metavar="CKPT", help="a Lightning checkpoint (.ckpt), or a bundle to write anew")
        told = "the bundle; beside the checkpoint with .safetensors if not given"
        add("-o", "--out", type=Path, metavar="FILE", help=told)
        add("--half", action="store_true", help="write weights in 16 bits; loaded, they have 32 again")
        told = "models of the same kind, whose weights are averaged with these; one that is named twice counts twice"
        add("--average", type=Path, nargs="+", metavar="FILE", help=told)
        told = "divide the logits of softmax or sigmoid masks by it: above 1, less is given wholly to one stem"
        add("--temperature", type=float, metavar="T", help=told)
        scores = "scores.json of eval.py for this checkpoint: medians, metric, data and tracks go into the bundle"
        add("--scores", type=Path, metavar="FILE", help=scores)

    @staticmethod
    def run(args: argparse.Namespace) -> int:
        """Write the bundle and say what is in it."""
        from itertools import chain

        from tfswa_unet.bundle import average, find_model, fingerprint, load_model, read_facts, save_bundle
        from tfswa_unet.data.sets.layouts import without_repeats

        given, facts = fingerprint(args.checkpoint), read_facts(args.checkpoint)
        evaluation = facts.get("evaluation")
        if args.scores:
            from tfswa_unet.evaluation.report import summary

            evaluation = summary(args.scores, given)
        model = load_model(args.checkpoint, pretrained=True)
        training = {"checkpoint": given, **facts.get("training", {})}
        if args.average:
            average(model, args.average)
            training["averaged_with"] = [fingerprint(each) for each in args.average]
            theirs = [read_facts(each).get("training", {}).get("sources", []) for each in args.average]
            if sources := without_repeats(chain(training.get("sources", []), *theirs)):
                training["sources"] = sources
        if args.temperature is not None:
            model.soften(args.temperature)
            training["temperature"] = args.temperature * training.get("temperature", 1.0)
        beside = args.checkpoint if args.checkpoint.is_file() else Path(find_model(args.checkpoint).name)
        path = save_bundle(
            args.out or beside.with_suffix(".safetensors"),
            model,
            training,  # with its checkpoint, which a bundle knows
            evaluation=evaluation,
            half=args.half,
        )
        size = f"{path.stat().st_size / 1e6:.1f} MB{' in half precision' if args.half else ''}"
        print(f"{path}: {', '.join(model.stems)} at {model.rate} Hz, {size}, {fingerprint(path)}")
        return 0


class Info:
    """tfswa info: what a model is made of and what it costs."""

    EXAMPLES = """\
  tfswa info model.safetensors
  tfswa info run/last.ckpt --depth 3
  tfswa info tfswa_open_small                           the model that comes with the package
  tfswa info hf://OWNER/NAME                            one of the Hugging Face Hub
  tfswa info hf://OWNER/NAME --offline                  from the cache alone
  tfswa info exported/model.onnx                        what an exported file says of itself
  tfswa info tfswa_base --json                          a preset, without trained weights
"""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("model", help=f"{MODEL_KINDS}, a file of `tfswa export`, or a preset")
        parser.add_argument("--depth", type=int, default=2, metavar="N", help="levels of the layer tree")
        parser.add_argument("--json", action="store_true", help="print JSON instead")
        add_offline(parser)

    @staticmethod
    def run(args: argparse.Namespace) -> int:
        """Print the facts."""
        from tfswa_unet import models
        from tfswa_unet.bundle import find_model, fingerprint, load_model, read_facts
        from tfswa_unet.inference.exported import READERS, load_exported

        if args.model not in models.names() and (path := find_model(args.model)).suffix in READERS:
            megabytes = round(path.stat().st_size / 1e6, 1)
            _print({**load_exported(path).facts, "megabytes": megabytes, "fingerprint": fingerprint(path)}, args.json)
            return 0
        model = load_model(args.model, allow_random=True, pretrained=True)
        facts = _facts(model)
        if args.model not in models.names():
            stored = read_facts(args.model)
            facts |= {"fingerprint": fingerprint(args.model), "origin": stored.get("training", {})}
            facts |= {name: stored[name] for name in ("precision", "created", "evaluation") if stored.get(name)}
        if args.json:
            _print({**facts, "config": model.config}, as_json=True)
            return 0

        from rich.console import Console
        from rich.tree import Tree

        _print({**facts, "receptive_field": _field(facts["receptive_field"]), **_told(facts)})
        console = Console(highlight=False, soft_wrap=True)
        tree = Tree(_label("", model))
        _grow(tree, model, args.depth)
        console.print(tree)
        return 0


def _print(facts: Mapping[str, Any], as_json: bool = False) -> None:
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):>24}  {_written(value)}")


def _facts(model: Any) -> dict[str, Any]:
    from tfswa_unet.bench.measures import flops_per_second
    from tfswa_unet.bench.receptive import receptive_field

    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {
        "name": model.config.get("name"),
        "stems": list(model.stems),
        "rate": model.rate,
        "channels": model.channels,
        "parameters": parameters,
        "megabytes_fp32": round(parameters * 4 / 1e6, 1),
        "flops_per_second": flops_per_second(model),
        "receptive_field": receptive_field(model),
    }


def _grow(tree: Tree, module: nn.Module, depth: int) -> None:
    if depth > 0:
        for name, child in module.named_children():
            _grow(tree.add(_label(name, child)), child, depth - 1)


def _label(name: str, module: nn.Module) -> str:
    count = sum(parameter.numel() for parameter in module.parameters())
    return f"{name} {type(module).__name__} {count:,}".strip()


def _field(field: dict[str, Any]) -> str:
    time = f"{field['seconds']:.2f} s{' (all)' if field['fills_segment'] else ''}"
    band = f"{field['hertz']:,.0f} Hz{' (all)' if field['fills_band'] else ''}"
    return (
        f"{time} of a segment of {field['segment_seconds']:.2f} s, {band}; "
        f"with these weights mostly {field['effective_seconds']:.2f} s, {field['effective_hertz']:,.0f} Hz"
    )


def _told(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a bundle says of its training and scores, a line each; `tfswa card` and --json tell all of it."""
    from tfswa_unet.catalogue.origin import AVERAGE, MODEL, Origin, total

    if "origin" not in facts:
        return {}
    origin = Origin.from_facts({**facts, "training": facts["origin"]})
    apart = "recipe", "pieces", "sources", "evaluation"
    told: dict[str, Any] = {"origin": {name: value for name, value in facts["origin"].items() if name not in apart}}
    if origin.pieces:
        hours = total(origin.pieces, "seconds")[0] / 3600
        steps = sum(last - first for first, last in (piece.get("steps", (0, 0)) for piece in origin.pieces))
        places = dict.fromkeys("{devices} {device} ({device_name})".format_map(piece) for piece in origin.pieces)
        count = f"{len(origin.pieces)} piece{'s' if len(origin.pieces) > 1 else ''}"
        told["trained"] = f"{hours:.2f} h, {steps:,} steps in {count} on {', '.join(places)}"
    if origin.recipe:
        told["recipe"] = "in --json"
    if origin.sources:
        told["sources"] = f"{len(origin.sources)}, with their licences in --json"
    if origin.evaluation and (stems := origin.evaluation.of_stems):
        average = origin.evaluation.scores[MODEL].get(AVERAGE)
        rows = stems if average is None else {**stems, "the average": average}
        scores = ", ".join(f"{stem} {value:.2f}" for stem, value in rows.items())
        told["evaluation"] = f"SDR in dB: {scores}, on {origin.evaluation.data or 'an unnamed data set'}"
    return told


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_written, value))
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_written(each)}" for name, each in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
