"""Songs of a data configuration, made at first use."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from tfswa_unet.data.cache.build import Report
from tfswa_unet.data.tracks import DataSet
from tfswa_unet.songs.rendered import list_sources, make_render_recipe, write_rendered
from tfswa_unet.songs.synthetic import make_recipe, write_dataset
from tfswa_unet.songs.writing import SongRecipe


def recipe_of(data_set: DataSet) -> SongRecipe | None:
    """Recipe of the songs that a data set is made of; None for one that has to be there.

    Raises:
        DataError: impossible values, or recordings that are missing.
    """
    if data_set.make:
        return make_recipe(**asdict(data_set.make))
    if data_set.render:
        chosen = data_set.render
        return make_render_recipe(chosen.samples, chosen.midi, chosen.songs, chosen.seconds, chosen.seed)
    return None


def sources_of(data_set: DataSet) -> list[dict[str, str]]:
    """Rows of the table of sources of the recordings that a data set is rendered from, by column.

    Raises:
        DataError: for a table that cannot be read or lacks columns or fields.
    """
    return list_sources(data_set.render.samples, data_set.render.midi) if data_set.render else []


def make_songs(data_set: DataSet, report: Report) -> None:
    """Make the songs of a data set that are missing; `report` is told the phase, and how much is done of how much.

    Raises:
        DataError: they cannot be made, see `write_dataset` and `write_rendered`.
        AudioError: a recording that cannot be read.
    """
    if data_set.make:
        write_dataset(data_set.root, **asdict(data_set.make), on_progress=partial(report, "making"))
    if data_set.render:
        values = asdict(data_set.render)
        values |= {"on_examined": partial(report, "examining"), "on_progress": partial(report, "making")}
        write_rendered(values.pop("samples"), data_set.root, **values)
