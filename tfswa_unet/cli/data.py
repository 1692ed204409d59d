"""tfswa data synth, loops, render, cache, doctor: make, prepare and check data sets."""

from __future__ import annotations

import argparse
import json
import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfswa_unet.cli import add_command
from tfswa_unet.errors import ConfigError, DataError
from tfswa_unet.files import write_text

if TYPE_CHECKING:
    from rich.console import Console

    from tfswa_unet.data.cache import PcmCache
    from tfswa_unet.doctor import Diagnosis
    from tfswa_unet.doctor.findings import Severity
    from tfswa_unet.types import Track

COLOURS = {"error": "red", "warning": "yellow"}


class Synth:
    """tfswa data synth: procedural songs to train on."""

    HELP = "make procedural songs with their stems, in the layout of MUSDB18-HQ"
    EXAMPLES = """\
  tfswa data synth songs                                100 procedural songs of 30 s
  tfswa data synth songs --tracks 12 --seconds 10       a small set for a first try
  tfswa data synth easy --band 0                        all by one band: minutes of training show something
  tfswa data synth subs --stabs 0.5                     half of them with electronic basses near to bass drums
  tfswa data synth more --seed 1 --workers 4            other songs, made by four processes
"""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        add = _add_making(parser)
        add("--tracks", type=int, default=100, metavar="N", help="number of songs")
        add("--test-tracks", type=int, metavar="N", help="songs to keep for testing (default: one in ten)")
        add("--band", type=int, metavar="B", help="all songs by one band, number B (default: many)")
        add("--stabs", type=float, default=0.0, metavar="P", help="share of songs with a bass of short low notes")

    @staticmethod
    def run(args: argparse.Namespace) -> int:
        """Make the data set and say how to train on it."""
        from tfswa_unet.songs import write_dataset

        console = _console()
        made = {"test_tracks": args.test_tracks, "band": args.band, "stabs": args.stabs, "workers": args.workers}
        with _songs_bar(console) as report:
            write_dataset(args.out, args.tracks, args.seconds, args.seed, **made, on_progress=report)
        told = f"{_count(args.tracks, 'song')} in {args.out}; train on them: python train.py data.root={args.out}"
        console.print(told, markup=False)
        return 0


class Loops:
    """tfswa data loops: songs to train on from one's own samples and loops."""

    HELP = "assemble songs with their stems from folders of isolated samples and loops"
    EXAMPLES = """\
  tfswa data loops samples songs                        100 songs of 30 s from samples/{vocals,drums,bass,other}/
  tfswa data loops samples songs --bpm 120-130          all near one tempo
  tfswa data loops samples more --seed 1 --workers 4    other songs, made by four processes
"""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        told = "folder with vocals/, drums/, bass/ and other/, two of them at least"
        parser.add_argument("root", type=Path, metavar="ROOT", help=told)
        add = _add_making(parser)
        add("--songs", type=int, default=100, metavar="N", help="number of songs, a tenth of which validate")
        add("--bpm", default="90-140", metavar="B", help="tempos of the songs; loops are stretched to them")

    @staticmethod
    def run(args: argparse.Namespace) -> int:
        """Make the songs and say how to train on them."""
        from tfswa_unet.songs import parse_bpm, write_songs

        console, made = _console(), {"bpm": parse_bpm(args.bpm), "workers": args.workers}
        with _songs_bar(console) as report:
            stems = write_songs(args.root, args.out, args.songs, args.seconds, args.seed, **made, on_progress=report)
        kind = "" if len(stems) == 4 else " data=folders"
        told = f"train on them: python train.py{kind} data.root={args.out}"
        console.print(f"{_count(args.songs, 'song')} with {', '.join(stems)} in {args.out}; {told}", markup=False)
        return 0


class Render:
    """tfswa data render: songs to train on from recorded samples."""

    HELP = "render songs with their stems from recorded notes, drum hits and sung phrases, and from MIDI files"
    EXAMPLES = """\
  tfswa data render samples songs                       100 songs of 30 s from samples/{vocals,drums,bass,other}/
  tfswa data render samples songs --midi midi           nearly a third of them follow MIDI files
  tfswa data render samples songs --on-error skip       leave out what cannot be used
"""
    LAYOUT = """\
in ROOT, each in a folder a source:
  bass/upright/pizz_034_v80.wav         a note: MIDI pitch, and velocity if there are layers; so in other/ and vocals/
  drums/studio/kick_01.wav              a hit: kick, snare, clap, hat, cymbal, tom or percussion, up to 3 s
  vocals/anna/verse 120 bpm e-minor.wav a passage: tempo and key where they are known
  other/strums/strum_amajor_01.wav      a chord: its key, up to 3 s
  bass/band/song_bass_aligned.wav       an excerpt of a song; drums/band/song_drums_aligned.wav is what sounds with it
  SOURCES.tsv                           a table with the columns folder, source, version, licence, stem, seconds,
                                        files: goes with the songs
Pitches are listened to, since names are often an octave off. Sounds with a clear pitch need none in their names.
"""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.epilog = f"{Render.LAYOUT}\n{parser.epilog or ''}"
        told = "folder with vocals/, drums/, bass/ and other/, see below"
        parser.add_argument("root", type=Path, metavar="ROOT", help=told)
        add = _add_making(parser)
        add("--songs", type=int, default=100, metavar="N", help="number of songs, one in twenty of which validates")
        add("--midi", type=Path, metavar="DIR", help="folder of MIDI files that nearly a third of the songs follow")
        told = "what a recording that cannot be used does: raise stops, skip leaves it out and says why"
        add("--on-error", choices=("raise", "skip"), default="raise", help=told)

    @staticmethod
    def run(args: argparse.Namespace) -> int:
        """Render the songs and say how to train on them."""
        from tfswa_unet.data.cache import progress_bars
        from tfswa_unet.songs import write_rendered

        made = {"midi": args.midi, "on_error": args.on_error, "workers": args.workers}
        with progress_bars() as report:
            made |= {"on_examined": partial(report, "examining"), "on_progress": partial(report, "rendering")}
            write_rendered(args.root, args.out, args.songs, args.seconds, args.seed, **made)
        print(f"{_count(args.songs, 'song')} in {args.out}; train on them: python train.py data.root={args.out}")
        return 0


class Cache:
    """tfswa data cache: decode data sets once, so that training reads only crops."""

    HELP = "decode every stem of data sets once, to PCM that training reads its crops from"
    EXAMPLES = """\
  tfswa data cache /data/musdb18                        to data/cache, where training looks
  tfswa data cache songs --kind folders --out /ssd/cache --workers 8 --max-gb 50
  tfswa data cache moisesdb --option grouping=six       as data.sets.moisesdb.options.grouping=six does
  tfswa data cache musdb18hq moisesdb                   both, to train on their mixture
  tfswa data cache songs --rate 16000 --channels 1      for a model that works so
  tfswa data cache songs --verify --json                compare with the checksums, make damaged files again
"""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        told = "the data set, or several of a mixture; their songs to train and validate with are cached"
        add("roots", type=Path, nargs="+", metavar="ROOT", help=told)
        add("--kind", default="auto", help="the layout of all of them, as in data.kind; auto looks at each")
        _add_option(parser)
        add("--out", type=Path, default=Path("data/cache"), metavar="DIR", help="the cache's folder, as in data.cache")
        add("--rate", type=int, default=44_100, metavar="HZ", help="the model's sample rate")
        add("--channels", type=int, default=2, metavar="C", help="the model's channels")
        add("--workers", type=int, metavar="N", help="processes to work in (default: one a processor)")
        told = "refuse to let the folder grow over G gigabytes (default: the disk)"
        add("--max-gb", type=float, metavar="G", help=told)
        add("--verify", action="store_true", help="read all cached files and make those again whose checksum is wrong")
        add("--json", action="store_true", help="print one JSON object instead of a line")

    @staticmethod
    def run(args: argparse.Namespace) -> int:
        """Fill the cache and say what it holds."""
        from tfswa_unet.data.cache import PcmCache, progress_bars

        start = time.perf_counter()
        cache = PcmCache(args.out, args.rate, args.channels)
        tracks = _cached_tracks(args, cache)
        limits = {"workers": args.workers, "max_gb": args.max_gb, "verify": args.verify}
        with progress_bars() as report:
            cached = cache.build(tracks, **limits, on_progress=report)
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
            f"{cached.stems} stems of {len(tracks)} songs in {args.out}, {result['gigabytes']} GB, {cached.made} of "
            f"them made now; train on them: python train.py {shlex.join(_overrides(args))}"
        )
        return 0


class Doctor:
    """tfswa data doctor: what is wrong with a data set, before training learns from it."""

    HELP = (
        "examine every file of a data set: lengths, NaN, clipping, silence, copies across splits, do the stems add up"
    )
    EXAMPLES = """\
  tfswa data doctor musdb18hq                           a table of findings; exit status 1 if there are errors
  tfswa data doctor moisesdb --option grouping=six      as data.sets.moisesdb.options.grouping=six
  tfswa data doctor songs --strict                      warnings count too
  tfswa data doctor songs --fix-list bad.txt            the files and folders with errors, one a line
  tfswa data doctor songs --json --workers 4 > findings.json
"""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add("root", type=Path, metavar="ROOT", help="the data set's folder, or a table of songs")
        add("--kind", default="auto", help="its layout, such as musdb18, musdb18hq or folders; auto looks")
        _add_option(parser)
        add("--workers", type=int, metavar="W", help="processes to work in (default: one a processor)")
        add("--strict", action="store_true", help="exit with status 1 for warnings too")
        add("--fix-list", type=Path, metavar="FILE", help="write the paths of what has errors there, one a line")
        add("--json", action="store_true", help="print one JSON object instead of a table")

    @staticmethod
    def run(args: argparse.Namespace) -> int:
        """Examine the data set and print what was found; give 1 where there are errors."""
        from tfswa_unet.doctor import diagnose

        listed: Path | None = args.fix_list
        if listed and not listed.absolute().parent.is_dir():
            raise ConfigError(f"--fix-list {listed}: its folder does not exist: make it first, or choose another")
        console, options = _console(), parse_options(args.options)
        with _songs_bar(console, transient=True, disable=args.json) as report:
            diagnosis = diagnose(args.root, args.kind, options=options, workers=args.workers, on_progress=report)
        if args.json:
            print(json.dumps(diagnosis.as_dict(), indent=2, ensure_ascii=False))
        else:
            _print_findings(diagnosis, console)
        severe: tuple[Severity, ...] = ("error", "warning") if args.strict else ("error",)
        if listed:
            paths = sorted({str(path) for severity in severe for path in diagnosis.paths(severity)})
            try:
                write_text(listed, "".join(f"{path}\n" for path in paths))
            except OSError as error:
                told = f"cannot be written ({error.strerror}): choose another path"
                raise ConfigError(f"--fix-list {listed} {told}") from None
        return 1 if any(finding.severity in severe for finding in diagnosis.findings) else 0


ACTIONS: dict[str, Any] = {"synth": Synth, "loops": Loops, "render": Render, "cache": Cache, "doctor": Doctor}
EXAMPLES = "".join(action.EXAMPLES for action in ACTIONS.values())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `tfswa data` and their options."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    for name, action in ACTIONS.items():
        add_command(actions, name, action.HELP, action)


def run(args: argparse.Namespace) -> int:
    """Do what the chosen action does."""
    return ACTIONS[args.action].run(args)


def parse_options(given: Iterable[str] | None) -> dict[str, Any]:
    """The options of a data set's kind from texts such as "grouping=six", their values read as YAML.

    Raises:
        ConfigError: a text without key or value, or a value that is no YAML.
    """
    import yaml  # type: ignore[import-untyped]

    options = {}
    for text in given or ():
        key, _, value = text.partition("=")
        try:
            options[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            value = ""
        if not key.strip() or not value.strip():
            raise ConfigError(f"--option {text!r} cannot be read: expected KEY=VALUE such as grouping=six")
    return options


def _add_making(parser: argparse.ArgumentParser) -> Callable[..., argparse.Action]:
    """Add what all commands that make songs take."""
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="folder for the songs: new, empty, or to be completed")
    add("--seconds", type=float, default=30.0, metavar="S", help="length of each song")
    add("--seed", type=int, default=0, metavar="K", help="the same seed makes the same songs")
    add("--workers", type=int, metavar="W", help="processes to work in (default: one a processor)")
    return add


def _add_option(parser: argparse.ArgumentParser) -> None:
    told = "an option of the data set's kind, as data.sets.NAME.options: grouping=six, bleed=false; may be repeated"
    parser.add_argument("--option", action="append", dest="options", metavar="KEY=VALUE", help=told)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


@contextmanager
def _songs_bar(console: Console, **options: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar of songs; gives the function that is told how many are done, and of how many."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("songs"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, **options) as progress:  # type: ignore[arg-type]
        task = progress.add_task("songs", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _cached_tracks(args: argparse.Namespace, cache: PcmCache) -> list[Track]:
    from tfswa_unet.data import load_tracks

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
    told = chosen[0] if len(chosen) == 1 else f"[{','.join(chosen)}]"
    words = [] if told == "musdb18hq" else [f"data={told}"]
    for number, (kind, root) in enumerate(zip(kinds, args.roots, strict=True)):
        if kind in kinds[:number]:  # the configuration has one set of a kind: more are added under names of their own
            given = f", options: {{{', '.join(f'{key}: {value}' for key, value in options)}}}" if options else ""
            words.append(f"+data.sets.{kind}_{number + 1}={{kind: {kind}, root: {root}, weight: 1{given}}}")
            continue
        words.append(f"data.root={root}" if len(kinds) == 1 else f"data.sets.{kind}.root={root}")
        words += [f"data.sets.{kind}.options.{key}={value}" for key, value in options]
    return words if args.out == DEFAULT_FOLDER else [*words, f"data.cache={args.out}"]


def _print_findings(diagnosis: Diagnosis, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    if diagnosis.findings:
        table = Table("severity", "track", "stem", "finding", "what to do")
        for each in diagnosis.findings:
            track = "/".join(name for name in (each.split, each.track) if name)
            severity = Text(each.severity, style=COLOURS[each.severity])
            table.add_row(severity, *(Text(cell) for cell in (track, each.stem, each.what, each.remedy)))
        console.print(table, soft_wrap=False)
    console.print(
        f"{_count(diagnosis.songs, 'song')} of kind {diagnosis.kind}, {_count(diagnosis.files, 'file')}, "
        f"{diagnosis.seconds / 3600:.2f} h of audio: {_count(diagnosis.count('error'), 'error')}, "
        f"{_count(diagnosis.count('warning'), 'warning')}",
        markup=False,
    )
