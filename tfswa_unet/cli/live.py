"""tfswa live: raw audio from standard input to a stem of it on standard output, as it comes."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfswa_unet.inference import Separator

EXAMPLES = """\
  tfswa live --model realtime.safetensors --raw 44100,2,s16le --stems vocals < mixture.raw > vocals.raw
  tfswa live --model realtime.safetensors --raw 44100,2,f32le --stems drums,bass,other < mixture.raw > no_vocals.raw
  tfswa live --model exported/realtime.live.onnx --raw 44100,2,s16le --stems vocals < mixture.raw > vocals.raw
  arecord -t raw -f S16_LE -r 44100 -c 2 --buffer-size 1024 | \\
    tfswa live --model realtime.safetensors --raw 44100,2,s16le --stems drums,bass,other | \\
    aplay -t raw -f S16_LE -r 44100 -c 2 --buffer-size 1024
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tfswa live`."""
    add = parser.add_argument
    kinds = "a bundle (.safetensors) or checkpoint (.ckpt) of a real-time model, such as tfswa_realtime is, or what "
    kinds += "`tfswa export --to onnx-live` made of it (.live.onnx), which takes less time"
    add("--model", required=True, metavar="MODEL", help=kinds)
    told = "what comes in on stdin, and goes out on stdout: such as 44100,2,s16le"
    add("--raw", required=True, metavar="RATE,CHANNELS,FORMAT", help=told)
    add("--stems", required=True, metavar="NAME,…", help="the stem to give, or several, whose sum is given")
    add("--device", default="cpu", help="cpu, cuda, cuda:N, mps or auto")
    add("--threads", type=int, default=1, metavar="N", help="CPU threads")
    add("--quiet", action="store_true", help="do not tell the latency, nor at the end how long the work took")


def run(args: argparse.Namespace) -> int:
    """Separate until the input ends."""
    import numpy as np
    import torch

    from tfswa_unet.audio import PipeReader, RawFormat, RawWriter
    from tfswa_unet.errors import ConfigError
    from tfswa_unet.inference.precision import pick_device
    from tfswa_unet.inference.separator import Separator
    from tfswa_unet.processes import keep_pages

    raw = RawFormat.parse(args.raw)
    if args.threads < 1:
        raise ConfigError(f"--threads {args.threads}: at least one thread is needed")
    torch.set_num_threads(args.threads)
    keep_pages()
    pick_device(args.device)  # refuses one that is not there before the model is loaded
    # Matrices of a hop are too small for bf16 to gain what its casts cost.
    separator = Separator.load(args.model, device=args.device, precision="fp32")
    names = [name.strip() for name in args.stems.split(",") if name.strip()]
    _check_realtime(args.model, separator)
    stream = separator.stream(raw.rate, raw.channels, stems=names)
    if not args.quiet:
        print(f"{', '.join(stream.names)} follow the input by {1000 * stream.latency:.1f} ms", file=sys.stderr)
    reader, writer = PipeReader(sys.stdin.buffer, raw), RawWriter(sys.stdout.buffer, raw)
    samples, busy = 0, 0.0
    with stream:
        # A pipe gives what it holds: a hop where the input is live, more where this has fallen behind.
        for block in reader.blocks():
            began = time.perf_counter()
            writer.write(np.sum([*stream.push(block).values()], axis=0))
            busy += time.perf_counter() - began
            samples += block.shape[1]
        writer.write(np.sum([*stream.finish().values()], axis=0))
    if not args.quiet:
        print(f"{samples / raw.rate:.1f} s, computed in {busy * raw.rate / samples:.2f} of that time", file=sys.stderr)
    return 0


def _check_realtime(name: str, separator: Separator) -> None:
    """Refuse a model whose stems come a segment late; raises ConfigError."""
    from tfswa_unet.errors import ConfigError
    from tfswa_unet.inference.stream import has_stream

    if not has_stream(separator.model):
        seconds = separator.stream(separator.model.rate, separator.model.channels).latency
        raise ConfigError(
            f"{name} is no real-time model: its stems follow the input by a segment, {seconds:g} s; give one that "
            "`python train.py model=tfswa_realtime` has trained, or let `tfswa separate - -o -` take this one"
        )
