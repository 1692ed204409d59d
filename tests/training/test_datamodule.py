"""From a configuration to batches: what is mixed, what is augmented, and what is refused before songs are decoded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.small import STEMS, write_songs
from tfswa_unet.data import StemPlan
from tfswa_unet.errors import ConfigError
from tfswa_unet.training.datamodule import LoaderConfig, SegmentDataModule

PLAN = StemPlan.from_config({stem: [stem] for stem in STEMS})
MATCHED = {"mode": "matched", "p": 1.0}


@pytest.fixture
def settings(tmp_path):
    root = write_songs(tmp_path / "songs", samples=6_000)
    return LoaderConfig(
        root=str(root),
        kind="musdb18hq",
        seconds=0.05,
        samples_per_epoch=8,
        batch_size=3,
        workers=0,
        validation_seconds=0.05,
        validation_per_track=None,
        cache=str(tmp_path / "cache"),
    )


def module(config, augmentation=None) -> SegmentDataModule:
    return SegmentDataModule(config, PLAN, 44_100, 2, seed=3, augmentation=augmentation)


def train_batches(config, augmentation=None):
    return list(module(config, augmentation).train_dataloader())


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_examples_of_both_sets(settings, workers):
    data = module(replace(settings, workers=workers))
    batches = list(data.train_dataloader())
    assert [tuple(batch.shape) for batch in batches] == [(3, 4, 2, 2_205)] * 2
    assert torch.equal(torch.cat(batches), torch.stack([data.training[k] for k in range(6)]))
    validation = torch.cat(list(data.val_dataloader()))
    assert torch.equal(validation, torch.stack([data.validation[k] for k in range(3)]))


@pytest.mark.parametrize("cached", [True, False])
def test_matched_mixing_listens_to_the_training_songs_first(settings, tmp_path, cached, capfd):
    config = replace(settings, mixing=MATCHED, cache=settings.cache if cached else None)
    batches = train_batches(config)
    assert "listening" in capfd.readouterr().err
    memory = Path(settings.cache) / "music.json"
    assert memory.exists() == cached
    if cached:
        assert len(json.loads(memory.read_text())["tracks"]) == 2
    assert all(torch.equal(a, b) for a, b in zip(batches, train_batches(config), strict=True))


def test_other_mixing_does_not_listen(settings, capfd):
    train_batches(replace(settings, mixing={"mode": "random", "p": 1.0}))
    train_batches(replace(settings, mixing={"mode": "matched", "p": 0.0}))
    assert "listening" not in capfd.readouterr().err
    assert not (Path(settings.cache) / "music.json").exists()


@pytest.mark.parametrize("nothing", [None, {}, [], {"gain": None}])
def test_nothing_to_augment_leaves_the_examples_as_they_are(settings, nothing):
    data = module(settings, nothing)
    assert data.training.augmentation is None


@pytest.mark.parametrize("config", [{"gain": {"p": 1.0}}, [{"gain": {"p": 1.0}}]])
def test_training_examples_are_augmented_and_validation_is_not(settings, config):
    plain, gained = module(settings), module(settings, config)
    before, after = (torch.cat(list(data.train_dataloader())) for data in (plain, gained))
    gains = (after * before).sum((-2, -1), keepdim=True) / before.square().sum((-2, -1), keepdim=True)
    torch.testing.assert_close(after, gains * before)
    assert len(gains.unique()) == gains.numel()
    ours, theirs = (torch.cat(list(data.val_dataloader())) for data in (plain, gained))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("change", "augmentation", "message"),
    [
        ({"mixing": {"redrew": 0.5}}, None, "setting of mixing 'redrew' .did you mean redraw"),
        ({"mixing": {"redraw": 2}}, None, r"mixing\.redraw is 2, expected a probability from 0 to 1"),
        ({}, {"gian": {}}, "augmentation 'gian'"),
    ],
)
def test_mistakes_are_refused_before_anything_is_decoded(settings, change, augmentation, message):
    with pytest.raises(ConfigError, match=message):
        module(replace(settings, **change), augmentation)
    assert not Path(settings.cache).exists()
