"""Findings about the songs of a data set: faulty files, files that do not fit together, songs unlike the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log10
from pathlib import Path
from typing import Literal

import numpy as np

from tfswa_unet.data.sets.layouts import Song
from tfswa_unet.doctor.examine import FRAMES_PER_SECOND, FileFacts, SongFacts, song_files
from tfswa_unet.types import MIXTURE

Severity = Literal["error", "warning"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning")
OFFSET = 0.005  # −46 dBFS: the mean of a song stays far below it, and crops that begin with such a step click
SILENT = 10 ** (-70 / 20)  # RMS of 0.1 s: above the noise of 16 bits (−98 dBFS), below any tail that is heard
MOSTLY = 0.9  # silent share from which on random crops of a stem hold nothing to learn
RESIDUAL = -10.0  # dB: stems coded one by one at low rates stay below it, one that was left out does not
RESIDUAL_LOSSLESS = -40.0  # dB: rounding to 16 bits stays below it, a limiter on the mixture does not
LOSSY = ("mp3", "aac", "vorbis", "opus", "wma", "ac3", "ulaw", "alaw")  # how the names of such codecs begin


@dataclass(frozen=True)
class Finding:
    """Fault of a data set and its remedy.

    An error spoils training or scores, or keeps the data set from loading; a warning is worth a look.

    `check` names the kind of finding; `track` and `stem` are empty where it concerns more than one, and `stem` holds
    several names with commas between them where they share it. `paths` are the files or folders to be put right.
    """

    severity: Severity
    check: str
    split: str
    track: str
    stem: str
    what: str
    remedy: str
    paths: tuple[Path, ...] = ()

    @classmethod
    def of(cls, song: Song, severity: Severity, check: str, stem: str, what: str, remedy: str, *paths: Path) -> Finding:
        """Finding about a song, or about one of its stems."""
        return cls(severity, check, song.split, song.name, stem, what, remedy, paths)


def song_findings(facts: SongFacts) -> list[Finding]:
    """Findings about the files of one song, each by itself and beside the song's other files."""
    own = song_files(facts.song)
    found = [
        _tell(facts, "error", "unreadable", name, fault.removeprefix(f"{own[name].path}: "), "fetch or export it again")
        for name, fault in facts.unreadable.items()
    ]
    for name, file in facts.files.items():
        found += _level(facts, name, file)
        found += _silence(facts, name, file)
    return [*found, *_agreement(facts), *_addition(facts)]


def dataset_findings(songs: Sequence[SongFacts], expected: Sequence[str] = ()) -> list[Finding]:
    """Findings about songs beside the others: missing stems, an unusual rate or number of channels."""
    return [*_missing(songs, expected), *_unusual(songs)]


def _tell(facts: SongFacts, severity: Severity, check: str, name: str, what: str, remedy: str) -> Finding:
    return Finding.of(facts.song, severity, check, name, what, remedy, song_files(facts.song)[name].path)


def _level(facts: SongFacts, name: str, file: FileFacts) -> Iterator[Finding]:
    if file.nonfinite:
        some = "sample is" if file.nonfinite == 1 else "samples are"
        what = f"{file.nonfinite} {some} NaN or infinite, the first at {_at(file.first_nonfinite, file)}"
        yield _tell(facts, "error", "nan", name, what, "repair or export the file again: training stops at it")
    if abs(file.offset) > OFFSET:
        what = f"DC offset of {file.offset:+.4f} ({20 * log10(abs(file.offset)):.0f} dBFS)"
        yield _tell(facts, "warning", "dc-offset", name, what, "subtract each channel's mean, or high-pass at 10 Hz")
    if file.clipped:
        some = "1 run of samples is" if file.clipped == 1 else f"{file.clipped} runs of samples are"
        what = f"{some} clipped at full scale, the first at {_at(file.first_clipped, file)}"
        yield _tell(facts, "warning", "clipping", name, what, "export it again at a lower level or in float")


def _silence(facts: SongFacts, name: str, file: FileFacts) -> Iterator[Finding]:
    silent = float(np.mean(file.envelope[0] < SILENT))
    if silent == 1:
        remedy = "check the export; if the stem is really not played, delete the file"
        yield _tell(facts, "warning", "silent", name, "is silent from start to end", remedy)
    elif silent >= MOSTLY and name != MIXTURE:
        seconds = float(np.sum(file.envelope[0] >= SILENT)) / FRAMES_PER_SECOND
        what = f"is silent for {silent:.0%} of {_seconds(file)}: {seconds:.1f} s of sound"
        remedy = "check the export; training mostly draws empty crops"
        yield _tell(facts, "warning", "mostly-silent", name, what, remedy)


def _agreement(facts: SongFacts) -> Iterator[Finding]:
    rates = {name: file.rate for name, file in facts.files.items()}
    yield from _odd(facts, "rate", rates, "Hz", "error", "resample it")
    rate = _most_common(rates.values())
    lengths = {name: file.length for name, file in facts.files.items() if file.rate == rate and not facts.song.ragged}
    yield from _odd(facts, "length", lengths, "samples", "error", "cut or pad it to the length of the others")
    channels = {name: file.channels for name, file in facts.files.items()}
    yield from _odd(facts, "channels", channels, "channels", "warning", "export it with the channels of the others")


def _odd(
    facts: SongFacts, check: str, values: Mapping[str, int], unit: str, severity: Severity, remedy: str
) -> Iterator[Finding]:
    usual = _most_common(values.values())
    for name, value in values.items():
        if value != usual:
            what = f"has {value} {unit} where the song's other files have {usual}"
            yield _tell(facts, severity, check, name, what, remedy)


def _addition(facts: SongFacts) -> Iterator[Finding]:
    if facts.sum is None:
        return
    lossy = any(file.codec.startswith(LOSSY) for file in facts.files.values())
    residual = facts.sum.residual
    if residual <= (RESIDUAL if lossy else RESIDUAL_LOSSLESS):
        return
    what = f"differs from the sum of the stems by {residual:.1f} dB of its energy"
    remedy = "look for a stem that is missing, doubled or from another take; training takes the sum as the mixture"
    if facts.sum.residual_at_gain <= (RESIDUAL if lossy else RESIDUAL_LOSSLESS):
        what += f", and by {facts.sum.residual_at_gain:.1f} dB from the sum at {facts.sum.gain:+.1f} dB"
        remedy = "bring the mixture or the stems to one level"
    yield _tell(facts, "error" if residual > RESIDUAL else "warning", "sum", MIXTURE, what, remedy)


def _missing(songs: Sequence[SongFacts], expected: Sequence[str]) -> Iterator[Finding]:
    counts = Counter(stem for facts in songs for stem in _stems(facts.song))
    usual = [stem for stem, count in counts.items() if count > len(songs) / 2 and stem not in expected]
    for song in (facts.song for facts in songs):
        folder = next(iter(song.sources.values())).path.parent
        for stem in (stem for stem in expected if stem not in song.sources):
            remedy = "put the file back: songs of this kind of data set are refused without it"
            yield Finding.of(song, "error", "missing", stem, "is missing", remedy, folder)
        for stem in (stem for stem in usual if stem not in _stems(song)):
            what = f"is missing, where {counts[stem]} of {len(songs)} songs have it"
            silent = "training takes it as silent"
            without = "the sum of the stems is taken for it, and cannot be checked" if stem == MIXTURE else silent
            yield Finding.of(song, "warning", "missing", stem, what, f"put it there if there is one: {without}", folder)


def _stems(song: Song) -> list[str]:
    return [*song.sources, *([MIXTURE] if song.mixture else [])]


def _unusual(songs: Sequence[SongFacts]) -> Iterator[Finding]:
    for check, unit, remedy in (
        ("rate", "Hz", "resample the song, or training does so for every crop"),
        ("channels", "channels", "export it with as many as the others: mono is copied to every channel"),
    ):
        # The most common value of a song stands for it: files that differ from it are findings of the song's own.
        own = [_most_common(getattr(file, check) for file in facts.files.values()) for facts in songs]
        usual = _most_common(value for value in own if value is not None)
        for facts, value in zip(songs, own, strict=True):
            if value not in (None, usual):
                what = f"has {value} {unit} where most songs have {usual}"
                yield _tell(facts, "warning", check, next(iter(facts.files)), what, remedy)


def _most_common(values: Iterable[int]) -> int | None:
    """The most frequent value, the first of several; None where there are none."""
    return next((value for value, _ in Counter(values).most_common(1)), None)


def _at(sample: int, file: FileFacts) -> str:
    return f"{sample / file.rate:.3f} s"


def _seconds(file: FileFacts) -> str:
    return f"{file.length / file.rate:.1f} s"
