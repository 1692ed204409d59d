"""Which files a user means by naming files and folders."""

from __future__ import annotations

import os
import shutil
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

from tfswa_unet.audio import FORMATS, AudioInfo, check_format
from tfswa_unet.errors import AudioError, ConfigError, did_you_mean
from tfswa_unet.inference.stem_files import CLIPS, Clip, nearest_folder
from tfswa_unet.inference.targets import Targets

EXTENSIONS = frozenset(
    [".wav", ".flac", ".mp3", ".m4a", ".mp4", ".aac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".wma", ".webm", ".mka"]
)


@dataclass(frozen=True)
class Song:
    """An audio file, and the name by which its stems are filed."""

    path: Path
    track: str


def find_songs(inputs: Iterable[str | Path], out: str | Path | None = None) -> list[Song]:
    """Songs of the given files, and of all folders below the given folders, in a stable order.

    A file's track is its name without ending; in a folder it is the path from that folder, so that equal names in two
    albums stay apart. Hidden files and what lies in the output folder `out` are passed over.

    Raises:
        AudioError: for an input that does not exist, or a folder without audio files.
    """
    songs: dict[Path, Song] = {}
    for given in map(Path, inputs):
        if given.is_dir():
            found = [Song(path, str(path.relative_to(given).with_suffix(""))) for path in _audio_below(given, out)]
            if not found:
                raise AudioError(f"{given} holds no audio files: expected endings such as .wav, .flac, .mp3 or .m4a")
        elif given.exists():
            found = [Song(given, given.stem)]
        else:
            raise AudioError(f"{given}: no such file or folder")
        for song in found:
            songs.setdefault(song.path.resolve(), song)
    return list(songs.values())


def _audio_below(folder: Path, out: str | Path | None) -> list[Path]:
    skipped = Path(out).resolve() if out is not None and Path(out).resolve() != folder.resolve() else None
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and (skipped is None or skipped not in path.resolve().parents)
    )


FIELDS = ("track", "stem", "ext")
TEMPLATE = "{track}/{stem}.{ext}"


@dataclass(frozen=True)
class Naming:
    """A template of output names, such as "{track}/{stem}.{ext}", checked when made.

    Raises:
        ConfigError: for unknown fields, for braces that do not match, or where the names would not end in the format's
            own ending.
    """

    out: Path
    template: str
    extension: str

    def __post_init__(self) -> None:
        given = f"the template {self.template!r}"
        try:
            parts = list(string.Formatter().parse(self.template))
        except ValueError as error:
            raise ConfigError(f"{given} cannot be read ({error}): write fields as {{track}}") from error
        for _, name, spec, conversion in parts:
            if name is not None and (name not in FIELDS or spec or conversion):
                written = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
                raise ConfigError(
                    f"{given} has the unknown field {{{written}}}: expected {{track}}, {{stem}} and {{ext}}"
                )
        name = self.template.format(track="track", stem="stem", ext=self.extension)
        if not name.endswith(f".{self.extension}"):
            raise ConfigError(f"{given} gives {name}, which does not end in .{self.extension}: end it with .{{ext}}")

    def paths(self, track: str, stems: Iterable[str]) -> dict[str, Path]:
        """File of each stem of a track.

        Raises:
            ConfigError: when two stems share a file, or one lies outside the output folder.
        """
        paths = {stem: self.out / self.template.format(track=track, stem=stem, ext=self.extension) for stem in stems}
        root = self.out.resolve()
        for path in paths.values():
            if root not in path.resolve().parents:
                raise ConfigError(
                    f"the template {self.template!r} puts {path} outside {self.out}: "
                    "remove what leads out of the folder"
                )
        if len(set(paths.values())) < len(paths):
            raise ConfigError(f"the template {self.template!r} gives all stems of {track} one name: add {{stem}} to it")
        return paths


_FLOAT_BYTES = 4
_LOSSY_BYTES = 1  # more than any lossy format needs for a sample


@dataclass(frozen=True)
class Request:
    """Settings of a separation into files.

    Args:
        out: folder below which everything is written.
        format: a key of `audio.FORMATS`.
        template: names of the files below `out`, from the fields {track}, {stem} and {ext}.
        stems: which of the model's stems to write; None for all.
        two_stems: write this stem and `no_<stem>`, the mixture without it.
        residual: "stem" or "spread", see `Targets`; None to write what the model gives.
        clip: "none", "shared" or "clamp", see `open_stem_files`; None for "none" in wav32f, else "shared".
        skip_existing: leave songs alone whose stems are all there.
        stream: which audio stream of the file.
        tags: copy the song's tags.

    Raises:
        ConfigError: for anything that cannot work with any model or song.
    """

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        if self.format not in FORMATS:
            raise ConfigError(
                f"unknown format {self.format!r}{did_you_mean(self.format, FORMATS)}: "
                f"expected one of {', '.join(FORMATS)}"
            )
        if self.clip not in (None, *CLIPS):
            raise ConfigError(f"unknown clip {self.clip!r}: expected one of {', '.join(CLIPS)}")
        if self.out.exists() and not self.out.is_dir():
            raise ConfigError(f"the output folder {self.out} is a file: name a folder")
        self.naming.paths("track", ["stem"])
        _check_writable(self.out / "x")

    @cached_property
    def naming(self) -> Naming:
        return Naming(self.out, self.template, FORMATS[self.format].extension.lstrip("."))

    @property
    def clipping(self) -> Clip:
        """The clip setting, its default decided by the format."""
        return cast(Clip, self.clip or ("none" if self.format == "wav32f" else "shared"))

    def targets(self, known: Sequence[str]) -> Targets:
        """What is made of a model's stems.

        Raises:
            ConfigError: for stems that the model does not give.
        """
        return Targets.choose(known, self.stems, self.two_stems, self.residual)

    def paths(self, songs: Sequence[Song], names: Sequence[str]) -> list[dict[str, Path]]:
        """File of each stem of each song.

        Raises:
            ConfigError: when songs would overwrite each other or themselves, or a name lies outside `out`.
        """
        owners = {song.path.resolve(): song for song in songs}
        every = []
        for song in songs:
            paths = self.naming.paths(song.track, names)
            for path in paths.values():
                owner = owners.setdefault(path.resolve(), song)
                if path.resolve() == owner.path.resolve():
                    raise ConfigError(
                        f"{path} would overwrite the song {owner.path}: choose another output folder or template"
                    )
                if owner is not song:
                    raise ConfigError(
                        f"{owner.path} and {song.path} would both be written to {path}: "
                        "rename one or change the template"
                    )
            every.append(paths)
        return every

    def check_song(self, info: AudioInfo, paths: Mapping[str, Path]) -> None:
        """Refuse a song whose stems cannot be written.

        Raises:
            AudioError: for a rate or channels that the format cannot hold.
            ConfigError: for names that cannot be written, or a disk that is too full.
        """
        format = check_format(self.format, info.rate, info.channels)
        for path in paths.values():
            if path.is_dir():
                raise ConfigError(
                    f"{path} is a folder, a stem is to be written there: remove it or change the template"
                )
            _check_writable(path)
        written = format.bits // 8 if format.bits else _FLOAT_BYTES if format.lossless else _LOSSY_BYTES
        spooled = _FLOAT_BYTES if self.clipping == "shared" else 0
        needed = len(paths) * info.channels * info.length * (written + spooled)
        free = shutil.disk_usage(nearest_folder(self.out / "x")).free
        if needed > free:
            raise ConfigError(
                f"the stems of {info.path} need about {needed / 1e9:.1f} GB in {self.out}, "
                f"{free / 1e9:.1f} GB are free: choose another folder, fewer stems or a smaller format"
            )


def _check_writable(path: Path) -> None:
    folder = nearest_folder(path)
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file where a folder is needed for {path}: choose another output folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"the folder {folder} cannot be written to: choose another output folder")
