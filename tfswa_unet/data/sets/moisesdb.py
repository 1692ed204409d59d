"""MoisesDB (arXiv:2307.15913): songs as stems of many recorded tracks, which are summed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from tfswa_unet.data.sets.layouts import Song, check_files, collect, data_set, entries, read_metadata, summed
from tfswa_unet.errors import DataError
from tfswa_unet.types import STEMS, Source

Grouping = Literal["four", "six", "all"]
# The stems that each grouping keeps; None keeps every one.
GROUPINGS: Mapping[Grouping, tuple[str, ...] | None] = {"four": STEMS, "six": (*STEMS, "guitar", "piano"), "all": None}
INFO = "data.json"


def is_moisesdb(root: Path) -> bool:
    """Whether `root` looks like MoisesDB."""
    return bool(_folders(root))


@data_set("moisesdb", "[<provider>/]<uuid>/data.json and <uuid>/<stem>/", is_moisesdb, rank=40)
def list_moisesdb(root: Path, *, grouping: Grouping, bleed: bool) -> list[Song]:
    """List the songs of root/[<provider>/]<uuid>/data.json, whose tracks are <uuid>/<stem>/<track>.wav.

    All tracks of a stem are summed; what is shorter than the song ends in silence. Two songs of one name are told
    apart by their uuid. A song whose data.json or files are amiss carries the fault.

    Args:
        root: the data set.
        grouping: "four" sums all stems but vocals, drums and bass to "other", as the paper does; "six" keeps guitar
            and piano as well; "all" keeps every stem of the data set, such as "bowed_strings".
        bleed: whether to take songs of which a track is marked with bleed.
    """
    stems = GROUPINGS[grouping]
    return collect((path.name, "train", partial(_song, path, stems, bleed)) for path in _folders(root))


def _folders(root: Path) -> list[Path]:
    outer = [path for path in entries(root) if path.is_dir()]
    inner = [path for folder in outer if not (folder / INFO).is_file() for path in entries(folder)]
    return sorted(path for path in (*outer, *inner) if (path / INFO).is_file())


def _song(folder: Path, kept: tuple[str, ...] | None, bleed: bool) -> Song | None:
    info = read_metadata(folder / INFO)
    files: dict[str, list[Source]] = {}
    try:
        for stem in info["stems"]:
            name = str(stem["stemName"]).replace(" ", "_")
            target = name if kept is None or name in kept else "other"
            for track in stem["tracks"]:
                if track.get("has_bleed") and not bleed:
                    return None
                path = folder / stem["stemName"] / f"{track['id']}.{track['extension']}"
                files.setdefault(target, []).append(Source(path))
    except (KeyError, TypeError, AttributeError):
        raise DataError(
            f"{folder / INFO} is no song of MoisesDB, expected stems with stemName and tracks with id and extension: "
            "fetch it again, or move the folder away."
        ) from None
    check_files(folder, files)
    # Two songs may share a name; the folder's is unique.
    name = f"{info.get('artist', 'unknown')} - {info.get('song', 'untitled')} [{folder.name[:8]}]"
    return Song(name, "train", {stem: summed(sources) for stem, sources in files.items()}, ragged=True)
