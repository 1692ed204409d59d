"""Requests: the audio files to separate, the names of their stems' files, and checks before the work."""

from __future__ import annotations

import glob
import os
import string
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tfswa_unet.audio import FORMATS, PIPED, STDIN, SUFFIXES, AudioInfo, RawFormat, check_format
from tfswa_unet.errors import AudioError, ConfigError, unknown
from tfswa_unet.files import free_bytes
from tfswa_unet.inference.catalogue import SCHEME, Store, read_manifest
from tfswa_unet.inference.stem_files import CLIPS, PREFIX, Clip, Targets, nearest_folder

TEMPLATE = "{track}/{stem}.{ext}"
FIELDS = ("track", "stem", "ext", "suffix", "file")
FLOAT_BYTES = 4
PIPE = "-"  # standard input or output
LOSSY_BYTES = 1  # more than any lossy format needs for a sample
ON_ERROR = ("continue", "stop")


@dataclass(frozen=True)
class InputFile:
    """An audio file to separate, and the track name under which its stems are filed; `piped` for standard input."""

    path: Path
    track: str
    piped: bool = False


@dataclass(frozen=True)
class Job:
    """One file of a request, for a certain model: the stems to write, and the file of each."""

    file: InputFile
    targets: Targets
    paths: dict[str, Path]


@dataclass(frozen=True)
class Request:
    """Audio files to separate into files of their stems.

    Args:
        inputs: what to separate; `Request.find` looks for it.
        out: folder below which everything is written.
        format: a key of `audio.FORMATS`.
        template: names of the files below `out`, from the fields {track}, {stem}, {ext}, and of the
            song {suffix} (its ending without the dot) and {file} (its name).
        stems: which of the model's stems to write; None for all.
        two_stems: write this stem and `no_<stem>`, the mixture without it.
        residual: "stem" or "spread", see `Targets`; None to write what the model gives.
        clip: "none", "shared" or "clamp", see `open_stem_files`; None for "none" in wav32f, else "shared".
        skip_existing: leave files alone whose stems are all there.
        stream: which audio stream of each file.
        tags: copy the file's tags, and its cover art where the format has room for it.
        picture: a picture is drawn beside the stems of each, at its `picture_path`.
        on_error: what follows a file that fails: "continue" with the next, or "stop".
        raw: what standard input holds, where that has no header.
        stdout: write one stem as wav to standard output, and nothing below `out`.
        store: where stems are put instead of `out`, below which their names are made up.
        prefix: what the names of temporary folders beside the stems begin with.
        passed_over: how many files of each ending a search left out.

    Raises:
        ConfigError: for anything that cannot work with any model or file.
    """

    inputs: Sequence[InputFile]
    out: Path
    format: str = "wav32f"
    template: str = TEMPLATE
    stems: Sequence[str] | None = None
    two_stems: str | None = None
    residual: str | None = None
    clip: str | None = None
    skip_existing: bool = False
    stream: int = 0
    tags: bool = True
    picture: bool = False
    on_error: str = "continue"
    raw: RawFormat | None = None
    stdout: bool = False
    store: Store | None = None
    prefix: str = PREFIX
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise unknown("format", self.format, FORMATS)
        if self.clip not in (None, *CLIPS):
            raise unknown("clip", self.clip, CLIPS)
        if self.on_error not in ON_ERROR:
            raise unknown("on_error", self.on_error, ON_ERROR)
        if self.raw is not None and not any(file.piped for file in self.inputs):
            raise ConfigError("raw audio is read from standard input only: give - as the song")
        if self.store and self.picture:
            raise ConfigError("a picture is drawn beside stems in a folder: name a folder with -o")
        if self.stdout:
            self._check_piped()
            return
        if self.out.exists() and not self.out.is_dir():
            raise ConfigError(f"the output folder {self.out} is a file: name a folder")
        _check_template(self.template, FORMATS[self.format].extension)
        self._paths(InputFile(Path("song.wav"), "track"), ["stem"])
        _check_writable(self.out / "x")

    @classmethod
    def find(
        cls,
        inputs: Iterable[str | bytes | Path],
        out: str | bytes | Path,
        *,
        manifest: Path | None = None,
        **settings: Any,
    ) -> Request:
        """The request for files, and for all audio files below folders, in a stable order.

        What does not exist may be a pattern of `glob`, such as "album/**/*.flac", and stands for the folders and audio
        files that fit. A file's track is its name without ending; in a folder it is the path from that folder, so that
        equal names in two albums stay apart. Hidden files and what lies in the output folder are passed over.

        Args:
            inputs: files, folders and patterns; "-" is standard input.
            out: folder for the stems, or an address that fsspec opens; "-" is standard output, which takes one stem of
                one song.
            manifest: a text file that lists more songs, see `catalogue.read_manifest`.
            settings: the other fields.

        Raises:
            AudioError: for an input that does not exist, a pattern that nothing fits, or a folder without audio files.
            ConfigError: as for a request.
        """
        files: dict[Path, InputFile] = {}
        passed_over: Counter[str] = Counter()
        inputs = list(inputs)
        if PIPE in inputs:
            files[STDIN] = InputFile(STDIN, STDIN.name, piped=True)
            inputs = [each for each in inputs if each != PIPE]
        settings = {"stdout": out == PIPE, **settings}
        if SCHEME in os.fsdecode(out):
            settings, out = {"store": Store(os.fsdecode(out)), **settings}, Path(tempfile.gettempdir(), "tfswa-stems")
        for given in (path for each in inputs for path in _fitting(Path(os.fsdecode(each)), passed_over)):
            for file in _found(given, Path(os.fsdecode(out)), passed_over):
                files.setdefault(file.path.resolve(), file)
        for path, track in read_manifest(manifest) if manifest else ():
            files.setdefault(path.resolve(), InputFile(path, track))
        if not files:
            raise ConfigError("no song is given: name files, folders or patterns, or --manifest FILE")
        return cls(tuple(files.values()), Path(os.fsdecode(out)), passed_over=passed_over, **settings)

    @property
    def clipping(self) -> Clip:
        """The clip setting, its default decided by the format."""
        shared = "clamp" if self.stdout else "shared"  # one gain for all is known at the end only
        return cast(Clip, self.clip or ("none" if self.format == "wav32f" else shared))

    def jobs(self, known: Sequence[str]) -> list[Job]:
        """The stems to write of each file, and where, given the stems that the model gives.

        Raises:
            ConfigError: for stems that the model does not give; when files would overwrite each other or themselves, or
                a name lies outside `out`.
        """
        targets = Targets.choose(known, self.stems, self.two_stems, self.residual)
        if self.stdout:
            written = targets.names if targets.two_stems is None else targets.names[1:]
            if len(written) != 1:
                raise ConfigError(
                    f"standard output takes one stem, {len(written)} are asked for ({', '.join(written)}): "
                    f"name one of them, as --stems {written[0]} does"
                )
            return [Job(file, targets, {written[0]: Path(PIPE)}) for file in self.inputs]
        inputs = self._without_stems(targets.names) if self.skip_existing and not self.store else self.inputs
        owners = {file.path.resolve(): file for file in inputs}
        jobs = []
        for file in inputs:
            paths = self._paths(file, targets.names)
            for path in paths.values():
                owner = owners.setdefault(path.resolve(), file)
                if path.resolve() == owner.path.resolve():
                    raise ConfigError(
                        f"{path} would overwrite the song {owner.path}: choose another output folder or template"
                    )
                if owner is not file:
                    raise ConfigError(
                        f"{owner.path} and {file.path} would both be written to {path}: "
                        "rename one, or add {suffix} or {file} to the template"
                    )
            jobs.append(Job(file, targets, paths))
        return jobs

    def _without_stems(self, names: Sequence[str]) -> list[InputFile]:
        # Only where all stems of a song are there, so that nothing of it will be written again.
        written = set()
        for file in self.inputs:
            paths = [path.resolve() for path in self._paths(file, names).values()]
            if file.path.resolve() not in paths and all(map(os.path.isfile, paths)):
                written.update(paths)
        return [file for file in self.inputs if file.path.resolve() not in written]

    def places(self, job: Job) -> dict[str, Path | str]:
        """Where the stems of a song are put: paths, or addresses of the store."""
        if self.store is None:
            return dict(job.paths)
        return {stem: self.store.address(name) for stem, name in self._names(job).items()}

    def holds(self, job: Job) -> bool:
        """Whether all stems of a song lie there already."""
        if self.store is None:
            return all(map(os.path.isfile, job.paths.values()))
        return self.store.holds(self._names(job).values())

    def _names(self, job: Job) -> dict[str, str]:
        return {stem: path.relative_to(self.out).as_posix() for stem, path in job.paths.items()}

    def check_lengths(self, job: Job) -> None:
        """Refuse a file whose stems, or picture, have names that are too long for the file system, in bytes.

        Raises:
            ConfigError: for the first of them.
        """
        if self.stdout:
            return
        pictures = [picture_path(job.file.path, job.paths)] if self.picture else []
        for path in [*job.paths.values(), *pictures]:
            try:
                most = os.pathconf(nearest_folder(self.out / "x"), "PC_NAME_MAX")
            except (AttributeError, OSError, ValueError):
                most = 255
            for part in path.parts:
                if len(os.fsencode(part)) > most:
                    raise ConfigError(
                        f"the name {part!r} has {len(os.fsencode(part))} bytes, the file system takes {most}: "
                        "shorten the template or rename the song"
                    )

    def check_job(self, job: Job, info: AudioInfo) -> None:
        """Refuse a file whose stems cannot be written.

        Raises:
            AudioError: for a rate or channels that the format cannot hold.
            ConfigError: for names that cannot be written, or a disk that is too full.
        """
        format = check_format(self.format, info.rate, info.channels)
        if self.stdout:
            return
        for path in job.paths.values():
            if path.is_dir():
                raise ConfigError(
                    f"{path} is a folder, a stem is to be written there: remove it or change the template"
                )
            _check_writable(path)
        written = format.bits // 8 if format.bits else FLOAT_BYTES if format.lossless else LOSSY_BYTES
        spooled = FLOAT_BYTES if self.clipping == "shared" else 0
        needed = len(job.paths) * info.channels * info.length * (written + spooled)
        free = free_bytes(self.out)
        if needed > free:
            raise ConfigError(
                f"the stems of {info.path} need about {needed / 1e9:.1f} GB in {self.out}, "
                f"{free / 1e9:.1f} GB are free: choose another folder, fewer stems or a smaller format"
            )

    def _check_piped(self) -> None:
        if len(self.inputs) != 1:
            raise ConfigError(f"standard output takes one song, {len(self.inputs)} are given: name a folder with -o")
        if self.format not in PIPED:
            raise ConfigError(f"{self.format} cannot be written to standard output: choose one of {', '.join(PIPED)}")
        if self.clip == "shared":
            raise ConfigError("standard output knows no gain for the whole song: choose --clip none or clamp")
        if self.picture or self.skip_existing:
            raise ConfigError("a picture, and skipping what exists, need files: name a folder with -o")

    def _paths(self, file: InputFile, stems: Iterable[str]) -> dict[str, Path]:
        ending = FORMATS[self.format].extension.lstrip(".")
        song = {"track": file.track, "file": file.path.name, "suffix": file.path.suffix.lstrip(".")}
        paths = {stem: self.out / self.template.format(**song, stem=stem, ext=ending) for stem in stems}
        root = self.out.resolve()
        for path in paths.values():
            if root not in path.resolve().parents:
                raise ConfigError(
                    f"the template {self.template!r} puts {path} outside {self.out}: "
                    "remove what leads out of the folder"
                )
        if len(set(paths.values())) < len(paths):
            raise ConfigError(
                f"the template {self.template!r} gives all stems of {file.track} one name: add {{stem}} to it"
            )
        return paths


def picture_path(song: Path, paths: Mapping[str, Path]) -> Path:
    """Where a picture of a song and its stems, at `paths`, is drawn."""
    return next(iter(paths.values())).parent / f"{song.name} spectrograms.png"


def _fitting(given: Path, passed_over: Counter[str]) -> list[Path]:
    """The path itself where it exists or is no pattern, else the folders and audio files that fit it."""
    if given.exists() or not glob.has_magic(str(given)):
        return [given]
    paths = [Path(path) for path in sorted(glob.glob(str(given), recursive=True))]
    fitting = [path for path in paths if path.is_dir() or path.suffix.lower() in SUFFIXES]
    passed_over.update(_ending(path) for path in set(paths) - set(fitting))
    # "**" also gives the folders on the way to what it finds, which would bring all in them.
    files = [path for path in fitting if path.is_file()]
    if not fitting:
        raise AudioError(f"{given}: no audio file or folder fits this pattern")
    return files or fitting


def _ending(path: Path) -> str:
    return path.suffix.lower() or "no ending"


def _found(given: Path, out: Path, passed_over: Counter[str]) -> list[InputFile]:
    if not given.exists():
        raise AudioError(f"{given}: no such file or folder")
    if not given.is_dir():
        return [InputFile(given, given.stem)]
    outside = out.resolve() if out.resolve() != given.resolve() else None
    found = []
    for path in sorted(_walk(given, {os.path.realpath(given)})):
        inside = path.relative_to(given)
        if outside in path.resolve().parents:
            continue
        if path.suffix.lower() in SUFFIXES:
            found.append(InputFile(path, str(inside.with_suffix(""))))
        else:
            passed_over[_ending(path)] += 1
    if not found:
        raise AudioError(f"{given} holds no audio files: expected endings such as .wav, .flac, .mp3 or .m4a")
    return found


def _walk(folder: Path, seen: set[str]) -> Iterator[Path]:
    """Files below a folder but hidden ones; every folder once, however often it is linked to."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if (real := os.path.realpath(path)) not in seen:
                seen.add(real)
                yield from _walk(path, seen)
        elif path.is_file():
            yield path


def _check_template(template: str, extension: str) -> None:
    given = f"the template {template!r}"
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"{given} cannot be read ({error}): write fields as {{track}}") from error
    for _, name, spec, conversion in parts:
        if name is not None and (name not in FIELDS or spec or conversion):
            written = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            raise ConfigError(
                f"{given} has the unknown field {{{written}}}: expected {{track}}, {{stem}}, {{ext}}, "
                "{suffix} and {file}"
            )
    name = template.format(track="track", stem="stem", suffix="wav", file="track.wav", ext=extension.lstrip("."))
    if not name.endswith(extension):
        raise ConfigError(f"{given} gives {name}, which does not end in {extension}: end it with .{{ext}}")


def _check_writable(path: Path) -> None:
    folder = nearest_folder(path)
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file where a folder is needed for {path}: choose another output folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"the folder {folder} cannot be written to: choose another output folder")
