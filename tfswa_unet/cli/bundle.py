"""tfswa bundle: a checkpoint to one safetensors file."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "turn a training checkpoint into a bundle: weights and description in one .safetensors file"
EXAMPLES = """\
  tfswa bundle run/last.ckpt                            writes run/last.safetensors
  tfswa bundle run/last.ckpt -o model.safetensors
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tfswa bundle`."""
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="a Lightning checkpoint (.ckpt)")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="the bundle; beside the checkpoint with .safetensors if not given",
    )


def run(args: argparse.Namespace) -> int:
    """Write the bundle and say what is in it."""
    from tfswa_unet.bundle import fingerprint, load_model, read_facts, save_bundle

    model = load_model(args.checkpoint)
    training = {**read_facts(args.checkpoint).get("training", {}), "checkpoint": fingerprint(args.checkpoint)}
    path = save_bundle(args.out or args.checkpoint.with_suffix(".safetensors"), model, training)
    print(
        f"{path}: {', '.join(model.stems)} at {model.rate} Hz, {path.stat().st_size / 1e6:.1f} MB, {fingerprint(path)}"
    )
    return 0
