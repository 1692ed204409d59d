"""From a configuration to batches: what is mixed, what is augmented, and what is refused before songs are decoded."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.small import STEMS, write_samples, write_songs
from tfswa_unet.config import choice, from_values
from tfswa_unet.data import StemPlan
from tfswa_unet.errors import ConfigError, DataError
from tfswa_unet.training.datamodule import LoaderConfig, SegmentDataModule

PLAN = StemPlan.from_config({stem: [stem] for stem in STEMS})
WHOLE_SONGS = {"mode": "song", "p": 1.0, "redraw": 0.0}


@pytest.fixture
def settings(tmp_path):
    root = write_songs(tmp_path / "songs", samples=6_000)
    values = {
        **(usual := choice("data", "musdb18hq")),
        "root": str(root),
        "seconds": 0.05,
        "samples_per_epoch": 8,
        "batch_size": 3,
        "workers": 0,
        "validation_seconds": 0.05,
        "mixing": usual["mixing"] | WHOLE_SONGS,
        "cache": str(tmp_path / "cache"),
    }
    return from_values(LoaderConfig, values, "data")


def module(config, augmentation=None) -> SegmentDataModule:
    return SegmentDataModule(config, PLAN, 44_100, 2, seed=3, augmentation=augmentation)


def train_batches(config, augmentation=None):
    return list(module(config, augmentation).ready().train_dataloader())


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_examples_of_both_sets(settings, workers):
    data = module(replace(settings, workers=workers)).ready()
    batches = list(data.train_dataloader())
    assert [tuple(batch.shape) for batch in batches] == [(3, 4, 2, 2_205)] * 2
    assert torch.equal(torch.cat(batches), torch.stack([data.training[k] for k in range(6)]))
    (track,) = data.val_dataloader()
    assert track.shape == (4, 2, 2_205)
    assert torch.equal(track, data.validation[0])


@pytest.mark.parametrize("cached", [True, False])
def test_matched_mixing_listens_to_the_training_songs_first(settings, tmp_path, cached, capfd):
    mixing = replace(settings.mixing, mode="matched")
    config = replace(settings, mixing=mixing, cache=settings.cache if cached else None)
    batches = train_batches(config)
    assert "listening" in capfd.readouterr().err
    memory = Path(settings.cache) / "music.json"
    assert memory.exists() == cached
    if cached:
        assert len(json.loads(memory.read_text())["tracks"]) == 2
    assert all(torch.equal(a, b) for a, b in zip(batches, train_batches(config), strict=True))


def test_decoding_says_once_what_one_waits_for(settings, caplog):
    for _ in range(2):
        module(settings).ready()
    assert caplog.messages == [f"decoding 12 stems to {settings.cache}, once: training begins when they are there"]


def test_other_mixing_does_not_listen(settings, capfd):
    for mode, p in (("random", 1.0), ("matched", 0.0)):
        train_batches(replace(settings, mixing=replace(settings.mixing, mode=mode, p=p)))
    assert "listening" not in capfd.readouterr().err
    assert not (Path(settings.cache) / "music.json").exists()


GAIN = {"gain": {"p": 1.0, "low": 0.7, "high": 1.3}}


@pytest.mark.parametrize("nothing", [None, {}, [], {"gain": None}])
def test_nothing_to_augment_leaves_the_examples_as_they_are(settings, nothing):
    data = module(settings, nothing)
    assert data.training.augmentation is None


@pytest.mark.parametrize("config", [GAIN, [GAIN]])
def test_training_examples_are_augmented_and_validation_is_not(settings, config):
    plain, gained = module(settings).ready(), module(settings, config).ready()
    before, after = (torch.cat(list(data.train_dataloader())) for data in (plain, gained))
    gains = (after * before).sum((-2, -1), keepdim=True) / before.square().sum((-2, -1), keepdim=True)
    torch.testing.assert_close(after, gains * before)
    assert len(gains.unique()) == gains.numel()
    ours, theirs = (torch.cat(list(data.val_dataloader())) for data in (plain, gained))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("change", "augmentation", "message"),
    [
        ({}, {"gian": {}}, "augmentation 'gian'"),
        ({"samples_per_epoch": 0}, None, r"data\.samples_per_epoch is 0, expected 1 or more"),
        ({"seconds": 0.0}, None, r"data\.seconds is 0\.0, expected more than 0"),
    ],
)
def test_mistakes_are_refused_before_anything_is_decoded(settings, change, augmentation, message):
    with pytest.raises(ConfigError, match=message):
        module(replace(settings, **change), augmentation)
    assert not Path(settings.cache).exists()


@pytest.mark.parametrize(
    ("mixing", "message"),
    [
        ({"redrew": 0.5}, r"unknown key data\.mixing\.redrew .did you mean redraw"),
        ({"redraw": 2}, r"data\.mixing\.redraw is 2, expected a probability from 0 to 1"),
    ],
)
def test_mistaken_mixing_is_refused_with_the_configuration(mixing, message):
    usual = choice("data", "musdb18hq")
    with pytest.raises(ConfigError, match=message):
        from_values(LoaderConfig, {**usual, "mixing": usual["mixing"] | mixing}, "data")


def test_the_cache_is_filled_once_and_read_by_every_process(settings, monkeypatch):
    first, other = module(settings), module(settings)
    assert first.covers_mixture
    assert not Path(settings.cache).exists()
    first.prepare_data()
    made = {path: path.stat().st_mtime_ns for path in Path(settings.cache).glob("*.tfpcm")}
    assert len(made) == 12
    monkeypatch.setattr("tfswa_unet.data.cache.build.write_stem", lambda stem: pytest.fail("decoded again"))
    for data in (first, other):
        data.setup("fit")
        sources = [source for track in data.training.reader.tracks for source in track.sources.values()]
        assert {source.path for source in sources} < set(made)
    assert torch.equal(first.training[0], other.training[0])


def test_a_cache_that_lost_a_stem_is_refused(settings):
    data = module(settings).ready()
    next(iter(Path(settings.cache).glob("*.tfpcm"))).unlink()
    with pytest.raises(DataError, match=r"cache has lost stems since it was filled: run again"):
        data.setup("fit")


def test_the_cache_is_kept_to_its_limit(settings):
    cache = Path(settings.cache)
    with pytest.raises(ConfigError, match=r"over the 0\.0003 GB that it may hold \(--max-gb, or data\.cache_max_gb\)"):
        module(replace(settings, cache_max_gb=0.0003)).ready()
    assert not list(cache.glob("*.tfpcm"))
    module(replace(settings, cache_max_gb=0.0004)).ready()
    assert 0.0002e9 < sum(path.stat().st_size for path in cache.glob("*.tfpcm")) <= 0.0004e9


def with_songs_to_make(settings, root, **changes):
    make = {"tracks": 3, "seconds": 1.0, "seed": 0, "test_tracks": None, "band": None, "stabs": 0.0, **changes}
    sets = {"synthetic": {"kind": "musdb18hq", "root": str(root), "weight": 1.0, "make": make}}
    return replace(settings, sets=sets, root=None)


@pytest.mark.parametrize("cached", [True, False])
def test_songs_are_made_on_first_use(settings, tmp_path, cached):
    root = tmp_path / "made"
    config = with_songs_to_make(settings, root)
    data = module(config if cached else replace(config, cache=None))
    assert data.covers_mixture
    assert (len(data.training.reader.lengths), len(data.validation.reader.lengths)) == (1, 1)
    assert not root.exists()
    (batch, *_) = data.ready().train_dataloader()
    assert batch.shape == (3, 4, 2, 2_205)
    written = {path: path.stat().st_mtime_ns for path in root.rglob("*.wav")}
    assert len(written) == 3 * 5
    module(config).ready()
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.wav")} == written


def test_songs_that_cannot_be_made_are_refused_before_any_is(settings, tmp_path):
    with pytest.raises(DataError, match="a song of 0 s cannot be made"):
        module(with_songs_to_make(settings, tmp_path / "made", seconds=0.0))
    with pytest.raises(ConfigError, match=r"data\.sets\.synthetic\.make\.tracks is 'many', expected a whole number"):
        module(with_songs_to_make(settings, tmp_path / "made", tracks="many"))


def test_songs_are_rendered_on_first_use(settings, tmp_path, capfd):
    samples, root = write_samples(tmp_path / "samples"), tmp_path / "rendered"
    render = {"samples": str(samples), "midi": None, "songs": 2, "seconds": 1.0, "seed": 0, "on_error": "raise"}
    sets = {"rendered": {"kind": "musdb18hq", "root": str(root), "weight": 1.0, "render": render}}
    config = replace(settings, sets=sets, root=None, cache=None)
    data = module(config)
    assert data.covers_mixture
    assert (len(data.training.reader.lengths), len(data.validation.reader.lengths)) == (1, 1)
    assert not root.exists()
    (batch, *_) = data.ready().train_dataloader()
    assert batch.shape == (3, 4, 2, 2_205)
    assert batch.isfinite().all()
    told = capfd.readouterr().err
    assert re.search("examining .*5/5", told)
    assert re.search("making .*2/2", told)
    written = {path: path.stat().st_mtime_ns for path in root.rglob("*.wav")}
    assert len(written) == 2 * 5
    module(config).ready()
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.wav")} == written
    with pytest.raises(DataError, match="holds other rendered songs, seed 0 where 1 is asked for"):
        module(replace(config, sets={"rendered": {**sets["rendered"], "render": {**render, "seed": 1}}})).ready()


def test_songs_to_make_join_those_that_are_there(settings, tmp_path):
    there = {"musdb18hq": {"kind": "musdb18hq", "root": settings.root, "weight": 2.0}}
    config = with_songs_to_make(settings, tmp_path / "made")
    data = module(replace(config, sets={**there, **config.sets}))
    before = len(data.training.reader.lengths), len(data.validation.reader.lengths)
    data.ready()
    assert (len(data.training.reader.lengths), len(data.validation.reader.lengths)) == before == (3, 2)
    assert {track.collection for track in data.training.reader.tracks} == {"musdb18hq", "synthetic"}
