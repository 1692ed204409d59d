"""tfswa data cache: decode a data set once, so that training reads only crops."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

HELP = "decode every stem of a data set once, to PCM that training reads its crops from"
EXAMPLES = """\
  tfswa data cache /data/musdb18                        to data/cache, where training looks
  tfswa data cache songs --kind folders --out /ssd/cache --workers 8 --max-gb 50
  tfswa data cache songs --rate 16000 --channels 1      for a model that works so
  tfswa data cache songs --verify --json                compare with the checksums, make damaged files again
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tfswa data cache`."""
    add = parser.add_argument
    add("root", type=Path, metavar="ROOT", help="the data set; its songs to train and validate with are cached")
    add("--kind", default="auto", help="the data set's layout, as in data.kind; auto looks")
    add("--out", type=Path, default=Path("data/cache"), metavar="DIR", help="the cache's folder, as in data.cache")
    add("--rate", type=int, default=44_100, metavar="HZ", help="the model's sample rate")
    add("--channels", type=int, default=2, metavar="C", help="the model's channels")
    add("--workers", type=int, metavar="N", help="processes to work in (default: one a processor)")
    add("--max-gb", type=float, metavar="G", help="refuse to let the folder grow over G gigabytes (default: the disk)")
    add("--verify", action="store_true", help="read all cached files and make those again whose checksum is wrong")
    add("--json", action="store_true", help="print one JSON object instead of a line")


def run(args: argparse.Namespace) -> int:
    """Fill the cache and say what it holds."""
    from tfswa_unet.data import load_tracks
    from tfswa_unet.data.cache import DEFAULT_FOLDER, PcmCache, progress_bars
    from tfswa_unet.errors import DataError

    start = time.perf_counter()
    cache = PcmCache(args.out, args.rate, args.channels)
    tracks = [track for track in load_tracks(args.kind, args.root, probe=cache.probe) if track.split != "test"]
    if not tracks:
        raise DataError(f"{args.root} has songs to test with only, and those are never cached: add some to train on.")
    with progress_bars() as report:
        cached = cache.build(tracks, workers=args.workers, max_gb=args.max_gb, verify=args.verify, on_progress=report)
    result = {
        "cache": str(args.out),
        "tracks": len(tracks),
        "stems": cached.stems,
        "made": cached.made,
        "gigabytes": round(cached.bytes / 1e9, 3),
        "seconds": round(time.perf_counter() - start, 2),
    }
    if args.json:
        print(json.dumps(result, indent=2))
        return 0
    use = "" if args.out == DEFAULT_FOLDER else f" data.cache={args.out}"
    print(
        f"{cached.stems} stems of {len(tracks)} songs in {args.out}, {result['gigabytes']} GB, {cached.made} of them "
        f"made now; train on them: python train.py data.root={args.root}{use}"
    )
    return 0
