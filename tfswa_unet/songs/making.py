"""Songs of a data configuration, made at first use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from tfswa_unet.data.tracks import DataSet
from tfswa_unet.songs.rendered import make_render_recipe, write_rendered
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


def make_songs(data_set: DataSet, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Make the songs of a data set that are missing.

    Raises:
        DataError: they cannot be made, see `write_dataset` and `write_rendered`.
        AudioError: a recording that cannot be read.
    """
    if data_set.make:
        write_dataset(data_set.root, **asdict(data_set.make), on_progress=on_progress)
    if data_set.render:
        values = asdict(data_set.render)
        write_rendered(values.pop("samples"), data_set.root, **values, on_progress=on_progress)
