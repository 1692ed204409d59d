"""tfswa export: a model as a file that other programs run."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tfswa_unet.cli import MODEL_KINDS, add_offline

if TYPE_CHECKING:
    from tfswa_unet.export import Price

EXAMPLES = """\
  tfswa export model.safetensors -o exported                          ONNX, for onnxruntime on any machine
  tfswa export model.safetensors -o exported --to torchscript         for libtorch, without Python
  tfswa export model.safetensors -o exported --to pt2                 for torch, without this package
  tfswa export model.safetensors -o exported --to aoti                machine code of this processor, 6 s at a time
  tfswa export model.safetensors -o exported --to tensorrt            an engine of this GPU, 6 s at a time
  tfswa export model.safetensors -o exported --to onnx-int8           a third of the size
  tfswa export model.safetensors -o exported --to onnx-int8 --calibrate album/
  tfswa export model.safetensors -o exported --to onnx-int8 --int8 dynamic
  tfswa export realtime.safetensors -o exported --to onnx-live        a real-time model's frame, for `tfswa live`
  tfswa export tfswa_open_small -o exported                           the model that comes with the package
  tfswa export hf://OWNER/NAME -o exported --offline                  one of the Hugging Face Hub, from the cache
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tfswa export`."""
    add = parser.add_argument
    add("model", metavar="MODEL", help=f"{MODEL_KINDS}; a preset has random weights")
    add("-o", "--out", type=Path, default=Path("exported"), metavar="DIR", help="folder of the file")
    add("--to", default="onnx", metavar="TARGET", help="onnx, onnx-int8, onnx-live, torchscript, pt2, aoti or tensorrt")
    add("--int8", metavar="HOW", help="with onnx-int8: static (if not given) or dynamic, of matrix products only")
    told = "with static INT8: a folder of music that ranges are taken from; synthetic songs if not given"
    add("--calibrate", type=Path, metavar="DIR", help=told)
    add("--allow-loss", action="store_true", help="write INT8 also where it costs more than 0.2 dB of SDR")
    add("--threads", type=int, metavar="N", help="CPU threads; all cores if not given")
    add_offline(parser)


def run(args: argparse.Namespace) -> int:
    """Export, and say how near the file's stems are to torch's."""
    import torch

    from tfswa_unet.errors import ConfigError
    from tfswa_unet.export import Request, export

    request = Request(args.model, args.out, args.to, args.int8, args.calibrate, args.allow_loss)
    if args.threads is not None:
        if args.threads < 1:
            raise ConfigError(f"--threads {args.threads}: at least one thread is needed")
        torch.set_num_threads(args.threads)
    started = time.perf_counter()
    with _Display() as display:
        exported = export(request, display.step)
    size = f"{exported.path.stat().st_size / 1e6:.1f} MB in {time.perf_counter() - started:.0f} s"
    print(f"{exported.path}: {size}")
    print(f"against torch{', before INT8' if exported.price else ''}, silence is silent:")
    for each in exported.parity:
        print(f"  {each}")
    if exported.price:
        _tell_price(exported.price)
    return 0


class _Display:
    """The step under way on stderr: with the time it takes on a terminal, as a line elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        self._shown = console.is_terminal
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not self._shown)
        self._task = self._progress.add_task("loading the model", total=None)

    def __enter__(self) -> _Display:
        self._progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._progress.stop()

    def step(self, step: str) -> None:
        if self._shown:
            self._progress.reset(self._task, description=step)
        else:
            print(f"{step} …", file=sys.stderr, flush=True)


def _tell_price(price: Price) -> None:
    from tfswa_unet.export.int8 import SONG_SECONDS, SONGS

    print(f"SDR on {SONGS} synthetic songs, fp32 → INT8:")
    for stem, (full, small) in price.sdr.items():
        print(f"  {stem}: {full:.2f} → {small:.2f} dB")
    print(f"  mean loss {price.loss:.3f} dB")
    sizes, seconds = (f"{price.size[i] / 1e6:.1f}" for i in (0, 1)), (f"{price.seconds[i]:.3f}" for i in (0, 1))
    print(f"size {' → '.join(sizes)} MB, {SONG_SECONDS:g} s of audio in {' → '.join(seconds)} s on this CPU")
    if price.speed < 1:
        print("fp32 is faster here: where its size does not matter, --to onnx is the better choice")
