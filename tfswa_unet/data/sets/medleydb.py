"""MedleyDB 1 and 2: songs as recorded stems, summed to four by the instruments in their metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tfswa_unet.data.sets.layouts import Song, check_files, collect, data_set, entries, read_metadata, summed
from tfswa_unet.errors import DataError, did_you_mean, unknown
from tfswa_unet.types import STEMS, Source

# Instruments of stems that hold all of them at once, or of which nobody knows.
UNSPLIT = frozenset({"Main System", "Unlabeled"})

_LABELS = {
    "vocals": """
        male singer, female singer, male speaker, female speaker, male rapper, female rapper, beatboxing, vocalists,
        male screamer, female screamer, male vocalist, female vocalist, choir, crowd
    """,
    "drums": """
        triangle, sleigh bells, cowbell, cabasa, high hat, gong, guiro, gu, cymbal, castanet, claps, snaps, rattle,
        shaker, maracas, toms, snare drum, kick drum, bass drum, bongo, conga, tambourine, darbuka, doumbek, tabla,
        auxiliary percussion, drum set, drum machine
    """,
    "bass": "electric bass, double bass, bass guitar, synth bass",
    "other": """
        erhu, violin, viola, cello, violin section, viola section, cello section, string section, acoustic guitar,
        banjo, guzheng, harp, harpsichord, liuqin, mandolin, oud, slide guitar, ukulele, zhongruan, sitar, dulcimer,
        yangqin, piano, tack piano, dizi, flute, flute section, piccolo, bamboo flute, panpipes, recorder,
        alto saxophone, baritone saxophone, bass clarinet, clarinet, clarinet section, tenor saxophone,
        soprano saxophone, oboe, english horn, bassoon, bagpipe, trumpet, cornet, trombone, french horn, euphonium,
        tuba, brass section, french horn section, trombone section, horn section, trumpet section, harmonica,
        concertina, accordion, bandoneon, harmonium, pipe organ, melodica, chimes, xylophone, vibraphone, marimba,
        glockenspiel, whistle, timpani, clean electric guitar, distorted electric guitar, lap steel guitar,
        electric piano, electronic organ, synthesizer, theremin, fx/processed sound, scratches, sampler
    """,
}

STEM_OF: Mapping[str, str] = {
    label: stem for stem, labels in _LABELS.items() for label in re.split(r",\s*", labels.strip())
}


def is_medleydb(root: Path) -> bool:
    """Whether `root` looks like MedleyDB."""
    return bool(_folders(root))


@data_set(
    "medleydb", "[Audio|V1|V2/]<song>/<song>_STEMS/ and <song>_METADATA.yaml", is_medleydb, rank=30, official=True
)
def list_medleydb(root: Path, *, bleed: bool, instruments: Mapping[str, str]) -> list[Song]:
    """List the songs of root/[Audio|V1|V2/]<song>/<song>_STEMS/<song>_STEM_01.wav ….

    What a stem plays stands in <song>_METADATA.yaml, beside the audio or in root/Metadata. A song whose metadata or
    files are amiss carries the fault; so does one with an instrument that has no stem in `STEM_OF`.

    Args:
        root: the data set.
        bleed: whether to take songs whose stems hold each other's sound: those that say so, those with a stem recorded
            by a main system, and those with a stem that plays, say, drums and bass at once. Such a stem is "other".
        instruments: further instruments, or other stems for known ones.

    Raises:
        ConfigError: an instrument for a stem that is none of the four.
    """
    for label, stem in instruments.items():
        if stem not in STEMS:
            raise unknown(f"stem for data.sets.medleydb.options.instruments.{label}", stem, STEMS)
    table = {**STEM_OF, **{label.lower(): stem for label, stem in instruments.items()}}
    return collect((path.name, "train", partial(_song, root, path, bleed, table)) for path in _folders(root))


def _folders(root: Path) -> list[Path]:
    places = [root, *(root / name for name in ("Audio", "V1", "V2"))]
    return [path for place in places for path in entries(place) if (path / f"{path.name}_STEMS").is_dir()]


def _song(root: Path, folder: Path, bleed: bool, table: Mapping[str, str]) -> Song | None:
    where = _metadata(root, folder)
    metadata = read_metadata(where)
    stems: dict[str, list[Source]] = {}
    bleeds = str(metadata.get("has_bleed", "no")).lower() in ("yes", "true")
    try:
        for stem in metadata["stems"].values():
            path = folder / f"{folder.name}_STEMS" / stem["filename"]
            labels = stem["instrument"] if isinstance(stem["instrument"], list) else [stem["instrument"]]
            targets = {_target(str(label), table, where) for label in labels}
            bleeds |= targets == {None} or len(targets) > 1
            target = next(iter(targets)) if len(targets) == 1 else None
            stems.setdefault(target or "other", []).append(Source(path))
    except (KeyError, TypeError, AttributeError):
        raise DataError(
            f"{where} is no metadata of MedleyDB, expected stems with filename and instrument: fetch it again, or move "
            f"{folder} away."
        ) from None
    if bleeds and not bleed:
        return None
    check_files(folder, stems)
    mix = folder / f"{folder.name}_MIX.wav"
    # The mix has been mastered: it is not the sum of the stems.
    sources = {stem: summed(stems[stem]) for stem in STEMS if stem in stems}
    return Song(folder.name, "train", sources, Source(mix) if mix.is_file() else None, ragged=True)


def _target(label: str, table: Mapping[str, str], where: Path) -> str | None:
    if label in UNSPLIT:
        return None
    if label.lower() not in table:
        raise DataError(
            f"{where} has the instrument {label!r}, which has no stem here{did_you_mean(label.lower(), table)}: give "
            f"it one of {', '.join(STEMS)} with '++data.sets.medleydb.options.instruments={{{label}: STEM}}'."
        )
    return table[label.lower()]


def _metadata(root: Path, folder: Path) -> Path:
    name = f"{folder.name}_METADATA.yaml"
    places = [folder / name, root / "Metadata" / name, root.parent / "Metadata" / name]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise DataError(f"The song {folder} has no {name}: put it there, or into {root / 'Metadata'}.")
    return path
