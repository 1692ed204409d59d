"""tfswa data cache: decode data sets once, so that training reads only crops."""

from __future__ import annotations

import argparse
import json
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tfswa_unet.cli.data.options import add_option, parse_options

if TYPE_CHECKING:
    from tfswa_unet.data.cache import PcmCache
    from tfswa_unet.types import Track

HELP = "decode every stem of data sets once, to PCM that training reads its crops from"
EXAMPLES = """\
  tfswa data cache /data/musdb18                        to data/cache, where training looks
  tfswa data cache songs --kind folders --out /ssd/cache --workers 8 --max-gb 50
  tfswa data cache moisesdb --option grouping=six       as data.sets.moisesdb.options.grouping=six does
  tfswa data cache musdb18hq moisesdb                   both, to train on their mixture
  tfswa data cache songs --rate 16000 --channels 1      for a model that works so
  tfswa data cache songs --verify --json                compare with the checksums, make damaged files again
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tfswa data cache`."""
    add = parser.add_argument
    add(
        "roots",
        type=Path,
        nargs="+",
        metavar="ROOT",
        help="the data set, or several of a mixture; their songs to train and validate with are cached",
    )
    add("--kind", default="auto", help="the layout of all of them, as in data.kind; auto looks at each")
    add_option(parser)
    add("--out", type=Path, default=Path("data/cache"), metavar="DIR", help="the cache's folder, as in data.cache")
    add("--rate", type=int, default=44_100, metavar="HZ", help="the model's sample rate")
    add("--channels", type=int, default=2, metavar="C", help="the model's channels")
    add("--workers", type=int, metavar="N", help="processes to work in (default: one a processor)")
    add("--max-gb", type=float, metavar="G", help="refuse to let the folder grow over G gigabytes (default: the disk)")
    add("--verify", action="store_true", help="read all cached files and make those again whose checksum is wrong")
    add("--json", action="store_true", help="print one JSON object instead of a line")


def run(args: argparse.Namespace) -> int:
    """Fill the cache and say what it holds."""
    from tfswa_unet.data.cache import PcmCache, progress_bars

    start = time.perf_counter()
    cache = PcmCache(args.out, args.rate, args.channels)
    tracks = _tracks(args, cache)
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
    print(
        f"{cached.stems} stems of {len(tracks)} songs in {args.out}, {result['gigabytes']} GB, {cached.made} of them "
        f"made now; train on them: python train.py {shlex.join(_overrides(args))}"
    )
    return 0


def _tracks(args: argparse.Namespace, cache: PcmCache) -> list[Track]:
    from tfswa_unet.data import load_tracks
    from tfswa_unet.errors import DataError

    options = parse_options(args.options)
    tracks: list[Track] = []
    for root in args.roots:
        found = load_tracks(args.kind, root, options=options, probe=cache.probe)
        used = [track for track in found if track.split != "test"]
        if not used:
            raise DataError(f"{root} has songs to test with only, and those are never cached: add some to train on.")
        tracks += used
    return tracks


def _overrides(args: argparse.Namespace) -> list[str]:
    """What makes training read these data sets from this cache."""
    from tfswa_unet.data.cache import DEFAULT_FOLDER
    from tfswa_unet.data.sets.layouts import detect

    kinds = [detect(root.expanduser()) if args.kind == "auto" else args.kind for root in args.roots]
    options = [option.split("=", 1) for option in args.options or ()]
    chosen = list(dict.fromkeys(kinds))
    words = (
        [] if chosen == ["musdb18hq"] else [f"data={chosen[0]}" if len(chosen) == 1 else f"data=[{','.join(chosen)}]"]
    )
    for number, (kind, root) in enumerate(zip(kinds, args.roots, strict=True)):
        if kind in kinds[:number]:  # the configuration has one set of a kind: more are added under names of their own
            given = f", options: {{{', '.join(f'{key}: {value}' for key, value in options)}}}" if options else ""
            words.append(f"+data.sets.{kind}_{number + 1}={{kind: {kind}, root: {root}, weight: 1{given}}}")
            continue
        words.append(f"data.root={root}" if len(kinds) == 1 else f"data.sets.{kind}.root={root}")
        words += [f"data.sets.{kind}.options.{key}={value}" for key, value in options]
    return words if args.out == DEFAULT_FOLDER else [*words, f"data.cache={args.out}"]
