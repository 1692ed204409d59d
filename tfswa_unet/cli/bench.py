"""tfswa bench: how fast this machine is, measured the way it is used."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

HELP = "measure speed: separation of a whole song from file to files"
EXAMPLES = """\
  tfswa bench separate                                  60 s of stereo through tfswa_base, weights random
  tfswa bench separate --model tfswa_tiny --json
  tfswa bench separate --model model.safetensors --seconds 180 --precision bf16
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmarks of `tfswa bench`."""
    benchmarks = parser.add_subparsers(title="benchmarks", metavar="WHAT", required=True)
    separate = benchmarks.add_parser("separate", help="read, separate and write a song", description=HELP)
    add = separate.add_argument
    add("--model", default="tfswa_base", help="a preset (random weights), bundle or checkpoint (default: %(default)s)")
    add("--seconds", type=float, default=60.0, help="length of the song, stereo at 44.1 kHz (default: %(default)s)")
    add(
        "--runs", type=int, default=3, help="runs counted after one warm-up; the median is given (default: %(default)s)"
    )
    add("--segment", type=float, default=6.0, metavar="S", help="seconds that the model sees at once (default: 6)")
    add("--overlap", type=float, default=1.0, metavar="S", help="seconds that neighbouring segments share (default: 1)")
    add("--batch", type=int, metavar="N", help="segments at a time (default: 8 on CUDA, else 1)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    add("--precision", default="fp32", help="auto, fp32 or bf16 (default: fp32)")
    add("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    add("--json", action="store_true", help="print one JSON object instead of a line")
    separate.set_defaults(measure=_separate)


def run(args: argparse.Namespace) -> int:
    """Run the chosen benchmark and print what it measured."""
    result = args.measure(args)
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        print(", ".join(f"{name} {value}" for name, value in result.items()))
    return 0


def _separate(args: argparse.Namespace) -> dict[str, object]:
    import resource

    import numpy as np
    import torch

    from tfswa_unet import audio
    from tfswa_unet.bundle import load_model
    from tfswa_unet.data.synthetic import synthesize
    from tfswa_unet.errors import ConfigError
    from tfswa_unet.inference import Separator, separate_file
    from tfswa_unet.memory import keep_pages

    if args.runs < 1 or args.seconds <= 0:
        raise ConfigError(f"--runs {args.runs} --seconds {args.seconds}: both must be above 0")
    if args.threads:
        torch.set_num_threads(args.threads)
    keep_pages()
    model = load_model(args.model, allow_random=True)
    separator = Separator(model, args.device, args.segment, args.overlap, batch=args.batch, precision=args.precision)
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder) / "song.wav"
        audio.write(song, np.sum(list(synthesize(0, args.seconds).values()), axis=0), 44_100)
        elapsed = []
        for _ in range(args.runs + 1):
            start = time.perf_counter()
            separate_file(separator, song, Path(folder) / "stems")
            elapsed.append(time.perf_counter() - start)
    median = statistics.median(elapsed[1:])
    return {
        "model": args.model,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "stems": len(model.stems),
        "device": str(separator.device),
        "precision": separator.precision,
        "threads": torch.get_num_threads(),
        "audio_seconds": args.seconds,
        "runs": args.runs,
        "median_seconds": round(median, 3),
        "real_time_factor": round(median / args.seconds, 4),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "torch": torch.__version__,
    }
