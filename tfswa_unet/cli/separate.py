"""tfswa separate: audio files to files of their stems."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfswa_unet.bundles import DEFAULT_MODEL
from tfswa_unet.cli import MODEL_KINDS, add_offline

if TYPE_CHECKING:
    from tfswa_unet.inference import FileResult, InputFile, Request, Separator

ENGINES = ("local", "ray")
TOLD_EVERY_SECONDS = 30.0

EXAMPLES = """\
  tfswa separate song.mp3                                               with the model that comes with the package
  tfswa separate song.mp3 --model model.safetensors
  tfswa separate song.mp3 album/ -o stems --model model.safetensors     files, and folders with all below them
  tfswa separate song.mp3 --model exported/model.onnx                   with onnxruntime; .pt2 and .pt with torch
  tfswa separate song.mp3 --model hf://OWNER/NAME                       of the Hugging Face Hub, kept in the cache
  tfswa separate song.mp3 --model hf://OWNER/NAME --offline             from the cache alone
  tfswa separate song.mp3 --model run/last.ckpt --stems vocals,drums
  tfswa separate song.mp3 --model model.safetensors --two-stems vocals  vocals and no_vocals, for karaoke
  tfswa separate song.mp3 --model model.safetensors --residual          stems that sum to the song
  tfswa separate song.mp3 --model model.safetensors --format flac24 --clip clamp --no-tags
  tfswa separate song.mp3 --model model.safetensors --template "{track} ({stem}).{ext}"
  tfswa separate song.stem.mp4 --model model.safetensors --stream 0     which audio stream of the file
  tfswa separate album/ --model model.safetensors --device cuda:1 --precision fp32 --batch 16
  tfswa separate album/ --preset best --batch auto                      more passes, better stems; or fast
  tfswa separate album/ --model model.safetensors --segment 8 --overlap 2 --shifts 2 --threads 4 --compile
  tfswa separate song.mp3 --model model.safetensors --wiener            instruments that are panned apart
  tfswa separate "album/**/*.flac" --on-error stop                      a pattern; the first bad song ends it
  tfswa separate song.mp3 -o - --stems vocals | ffplay -                one stem to standard output, as wav
  ffmpeg -i URL -f s16le -ar 44100 -ac 2 - | tfswa separate - --raw 44100,2,s16le -o - --two-stems vocals | ffplay -
  tfswa separate album/ --model model.safetensors --skip-existing --quiet --json > summary.json
  tfswa separate --manifest songs.txt --engine ray --jobs 64 -o s3://BUCKET/stems      a catalogue, on a Ray cluster
  tfswa separate song.mp3 --model model.safetensors --picture           and a picture of what it found
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tfswa separate`."""
    from tfswa_unet.inference.presets import DEFAULT_PRESET, PRESETS, SEGMENT_SECONDS

    def of_presets(name: str) -> str:
        return ", ".join(f"{preset} {getattr(effort, name):g}" for preset, effort in PRESETS.items())

    add = parser.add_argument
    add(
        "songs",
        nargs="*",
        metavar="SONG",
        help="audio files, folders that are searched for them, patterns, or - for stdin",
    )
    add("--model", help=f"{MODEL_KINDS}, or a file of `tfswa export` (.onnx, .pt2, .pt); {DEFAULT_MODEL} if not given")
    add_offline(parser)
    only = "writes the one stem of --stems as wav to stdout, or of --two-stems NAME the mixture without it"
    add("-o", "--out", default="stems", help=f"folder for the stems, or an address that fsspec opens; - {only}")
    told = "a text file with a song a line: its path, and after a tab, if wanted, the name for its stems"
    add("--manifest", type=Path, metavar="FILE", help=told)
    raw = "what stdin holds where it has no header, such as 44100,2,s16le; else any container with its header in front"
    add("--raw", metavar="RATE,CHANNELS,FORMAT", help=raw)
    add("--stems", type=_names, metavar="NAME,…", help="write only these of the model's stems")
    add("--two-stems", metavar="NAME", help="write this stem and no_NAME, the mixture without it")
    add(
        "--residual",
        nargs="?",
        const="stem",
        metavar="HOW",
        help="make stems sum to the song: stem (the default: into other, or a file residual) or spread over all",
    )
    add("--format", default="wav32f", help="wav16, wav24, wav32f, flac16, flac24, mp3, ogg, opus or m4a")
    add("--clip", help="above full scale: none, shared (one gain for all stems) or clamp; none for wav32f, else shared")
    add("--template", default="{track}/{stem}.{ext}", help="file names below the output folder")
    add("--stream", type=int, default=0, metavar="N", help="audio stream of each file")
    add("--no-tags", action="store_true", help="do not copy title, artist and the like, nor cover art")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    add("--preset", default=DEFAULT_PRESET, help="fast, balanced or best: overlap, shifts and precision")
    add(
        "--precision", help="auto, fp32 or bf16; auto: bf16 where that is fast and keeps 40 dB to fp32; best takes fp32"
    )
    add("--segment", type=float, default=SEGMENT_SECONDS, metavar="S", help="seconds that the model sees at once")
    shared = f"seconds that neighbouring segments share ({of_presets('overlap_seconds')})"
    add("--overlap", type=float, metavar="S", help=shared)
    passes = f"average N passes whose segments begin at other moments, for N times the work ({of_presets('shifts')})"
    add("--shifts", type=int, metavar="N", help=passes)
    wiener = "pass stems through a multichannel Wiener filter: up to twice the work, gains where stems are panned apart"
    add("--wiener", action="store_true", help=wiener)
    add(
        "--batch",
        type=_batch,
        default="auto",
        metavar="N",
        help="segments at a time; auto: 8 on CUDA, else 1; halved when memory runs out",
    )
    add("--threads", type=int, metavar="N", help="CPU threads; all cores if not given")
    add("--compile", action="store_true", help="let torch.compile rewrite the network first: minutes, for many songs")
    add("--on-error", default="continue", help="after a song that fails: continue with the next, or stop")
    add("--skip-existing", action="store_true", help="leave songs alone whose stems are all there")
    add(
        "--picture", action="store_true", help="draw the spectrograms of each song and its stems into a PNG beside them"
    )
    engines = "local, or ray: on the cluster at RAY_ADDRESS, else on this machine; what is there already is left alone"
    add("--engine", default="local", help=engines)
    add("--jobs", type=int, metavar="N", help="with --engine ray: its actors; as many as processors or GPUs allow")
    add("--json", action="store_true", help="print a summary as JSON instead of lines")
    add("--quiet", action="store_true", help="no progress bar and no lines but errors")


def run(args: argparse.Namespace) -> int:
    """Separate; give 1 if any song failed."""
    from tfswa_unet.audio import RawFormat
    from tfswa_unet.errors import ConfigError, unknown
    from tfswa_unet.inference.request import Request

    if args.engine not in ENGINES:
        raise unknown("engine", args.engine, ENGINES)
    if args.jobs is not None and args.engine == "local":
        raise ConfigError("--jobs is for --engine ray: here one song uses all processors (--threads)")
    # Loading torch and the model takes seconds; what can be refused without them is.
    request = Request.find(
        args.songs,
        args.out,
        manifest=args.manifest,
        format=args.format,
        template=args.template,
        stems=args.stems,
        two_stems=args.two_stems,
        residual=args.residual,
        clip=args.clip,
        skip_existing=args.skip_existing,
        stream=args.stream,
        tags=not args.no_tags,
        picture=args.picture,
        on_error=args.on_error,
        raw=RawFormat.parse(args.raw) if args.raw else None,
    )
    if request.stdout and args.json:
        raise ConfigError("--json and -o - both write to standard output: leave one of them out")
    if request.passed_over and not args.quiet:
        count = sum(request.passed_over.values())
        endings = ", ".join(sorted(request.passed_over))
        print(f"{count} {'file' if count == 1 else 'files'} passed over: {endings}", file=sys.stderr)
    display = _Display(len(request.inputs), silent=args.quiet or args.json, told=not request.stdout)
    results = (_on_cluster if args.engine == "ray" else _here)(args, request, display)
    undrawn = 0
    if args.picture:
        for result in results:
            try:
                display.tell_picture(_draw(result, args.stream))
            except Exception as error:  # the stems are there all the same
                undrawn += 1
                print(f"error: {result.song}: its picture cannot be drawn: {error}", file=sys.stderr)
    failed = sum(result.status == "failed" for result in results)
    if args.json:
        print(
            json.dumps(
                _summary(results), indent=2, ensure_ascii=not (sys.stdout.encoding or "").lower().startswith("utf")
            )
        )
    if failed and len(request.inputs) > 1:
        left = len(request.inputs) - len(results)
        left_out = f", {left} {'was' if left == 1 else 'were'} not begun" if left and args.on_error == "stop" else ""
        print(f"error: {failed} of {len(request.inputs)} songs failed{left_out}", file=sys.stderr)
    return 1 if failed or undrawn else 0


def _here(args: argparse.Namespace, request: Request, display: _Display) -> list[FileResult]:
    """Separate in this process, one song after the other."""
    from tfswa_unet.processes import imports, keep_pages

    with display.bar:
        with imports():
            import torch

            from tfswa_unet.inference.files import run_request
            from tfswa_unet.inference.precision import pick_device
            from tfswa_unet.inference.separator import Separator

        if args.threads is not None:
            torch.set_num_threads(_threads(args))
        keep_pages()
        pick_device(args.device)  # refuses one that is not there before the model is loaded
        separator = Separator.load(DEFAULT_MODEL if args.model is None else args.model, **_options(args))
        if args.model is None:
            display.tell_default(DEFAULT_MODEL)
        display.tell_precision(separator)
        return run_request(
            separator, request, on_start=display.start, on_progress=display.advance, on_result=display.tell
        )


def _on_cluster(args: argparse.Namespace, request: Request, display: _Display) -> list[FileResult]:
    """Separate in actors of a Ray cluster, several songs at once."""
    from tfswa_unet.inference.cluster import separate_on_cluster

    with display.bar, redirect_stdout(sys.stderr):  # where Ray's own messages belong
        results = separate_on_cluster(
            DEFAULT_MODEL if args.model is None else args.model,
            _options(args),
            request,
            workers=args.jobs,
            threads=1 if args.threads is None else _threads(args),
            on_result=display.count,
        )
    display.sum_up(results)
    return results


def _threads(args: argparse.Namespace) -> int:
    from tfswa_unet.errors import ConfigError

    if args.threads < 1:
        raise ConfigError(f"--threads {args.threads}: at least one thread is needed")
    return int(args.threads)


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """What `Separator.load` takes beside the model."""
    return {
        "device": args.device,
        "segment_seconds": args.segment,
        "overlap_seconds": args.overlap,
        "batch": None if args.batch == "auto" else args.batch,
        "precision": args.precision,
        "compile": args.compile,
        "shifts": args.shifts,
        "preset": args.preset,
        "wiener": args.wiener,
    }


def _draw(result: FileResult, stream: int) -> Path | None:
    """Draw the song's first half minute; give the picture's path, or None for a song that was not separated."""
    from tfswa_unet import audio
    from tfswa_unet.evaluation.plots import spectrograms
    from tfswa_unet.inference.request import picture_path

    if result.status != "done":
        return None
    song = audio.probe(result.song, stream)
    length = min(30 * song.rate, song.length)
    files = {stem: Path(path) for stem, path in result.files.items()}
    stems = {stem: audio.read(path, 0, length) for stem, path in files.items()}
    picture = picture_path(result.song, files)
    spectrograms(picture, audio.read(result.song, 0, length, stream), stems, song.rate, result.song.name)
    return picture


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _batch(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _summary(results: list[FileResult]) -> dict[str, Any]:
    return {**_counts(results), "songs": [result.plain() for result in results]}


def _counts(results: Iterable[FileResult]) -> dict[str, int]:
    counted = Counter(result.status for result in results)
    return {status: counted[status] for status in ("done", "skipped", "failed")}


def _line(result: FileResult) -> str:
    if result.status == "skipped":
        return f"{result.song}: skipped, its stems exist"
    parts = [os.path.split(path) for path in result.files.values()]
    folders, names = sorted({folder for folder, _ in parts}), ", ".join(name for _, name in parts)
    null = "" if result.null_db is None else f", mixture − Σ stems {result.null_db:.1f} dB"
    gain = "" if result.gain == 1 else f", all stems × {result.gain:.3f} to stay below full scale"
    return (
        f"{result.song}: {result.seconds:.1f} s in {result.elapsed:.1f} s (RTF {result.rtf:.3f}){null}{gain}\n"
        f"  → {', '.join(folders)}: {names}"
    )


class _Display:
    """Progress for a person: a bar on stderr while a song runs, a line on stdout when it is done."""

    def __init__(self, total: int, silent: bool, told: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        percentage = TextColumn("{task.percentage:3.0f} %")
        columns = (TextColumn("{task.description}"), BarColumn(), percentage, TimeRemainingColumn())
        console = Console(stderr=True)
        self.bar = Progress(
            *columns,
            console=console,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # a file or a pipe gets its lines itself
            disable=silent or not console.is_terminal,
        )
        self._total, self._silent, self._index = total, silent or not told, 0
        self._began = self._told = time.monotonic()
        self._counted: Counter[str] = Counter()
        self._task = self.bar.add_task("loading the model", total=None)

    def tell_default(self, name: str) -> None:
        if not self._silent:
            print(f"with {name}, the model that comes with the package; --model takes another")

    def tell_precision(self, separator: Separator) -> None:
        if separator.parity is not None and not self._silent:
            taken = "taken" if separator.precision == "bf16" else "too little, so fp32 is taken"
            print(f"bf16 keeps {separator.parity:.1f} dB to fp32: {taken}")

    def start(self, song: InputFile) -> None:
        self._index += 1
        counted = f"{self._index}/{self._total} " if self._total > 1 else ""
        # Square brackets in a file's name are not markup.
        self.bar.reset(self._task, description=(counted + song.path.name).replace("[", r"\["), total=None)

    def advance(self, done: int, total: int) -> None:
        self.bar.update(self._task, completed=done, total=total or None)  # of a pipe it is not known

    def tell(self, result: FileResult) -> None:
        self.bar.update(self._task, visible=False)
        if result.status == "failed":
            print(f"error: {result.error}", file=sys.stderr)
        elif not self._silent:
            print(_line(result))
        self.bar.update(self._task, visible=True)

    def count(self, result: FileResult, total: int) -> None:
        """Tell the progress of several songs at once, by a bar or lines now and then, and every failure."""
        self._counted[result.status] += 1
        done = self._counted.total()
        told = f"{done:,} of {total:,} songs, {self._counted['failed']} failed"
        self.bar.update(self._task, description=told, completed=done, total=total)
        if result.status == "failed":
            print(f"error: {result.error}", file=sys.stderr)
        if self.bar.disable and not self._silent and time.monotonic() - self._told > TOLD_EVERY_SECONDS:
            self._told = time.monotonic()
            print(told, file=sys.stderr)

    def sum_up(self, results: list[FileResult]) -> None:
        if self._silent:
            return
        elapsed, seconds = time.monotonic() - self._began, sum(result.seconds for result in results)
        counts = ", ".join(f"{count:,} {status}" for status, count in _counts(results).items())
        print(f"{counts}: {seconds:,.0f} s of audio in {elapsed:,.0f} s")

    def tell_picture(self, picture: Path | None) -> None:
        if picture and not self._silent:
            print(f"  → {picture}")
