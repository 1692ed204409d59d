"""Stem activity: what sounds when, the head that tells, and what it leaves in checkpoints and bundles."""

import csv

import numpy as np
import pytest
import torch

from tests.training.test_fit import StopAt
from tfswa_unet import models
from tfswa_unet.bundle import load_model
from tfswa_unet.config import choice
from tfswa_unet.dsp import stft
from tfswa_unet.errors import ConfigError
from tfswa_unet.losses import WeightedLoss, objective
from tfswa_unet.training.activity import ActivityHead, activity
from tfswa_unet.training.builder import build_run
from tfswa_unet.training.fit import fit

LOSS = WeightedLoss({"waveform_l1": {"weight": 1.0}})
CONFIG = choice("activity", "default")


def test_activity_against_numpy():
    torch.manual_seed(0)
    stems = torch.randn(2, 3, 2, 1_000) * torch.logspace(-4, 0, 1_000)
    sounding = activity(stems, 64, 16, -30.0).numpy()
    assert sounding.shape == (2, 3, stft(stems, 64, 16).shape[-2])
    for frame in range(sounding.shape[-1]):
        window = stems.numpy()[..., max(0, 16 * frame - 32) : 16 * frame + 32]
        level = 20 * np.log10(np.sqrt(np.square(window).mean((2, 3))))
        assert (sounding[..., frame] == (level > -30)).all()
    assert 0.2 < sounding.mean() < 0.8
    assert activity(stems, 64, 16, -50.0).mean() > sounding.mean()


@pytest.fixture
def model(config):
    def build(*overrides):
        torch.manual_seed(0)
        values = config(*overrides)
        return models.build({**values["model"], "stems": values["stems"]})

    return build


def _stems():
    """Stems that take turns."""
    torch.manual_seed(1)
    stems = torch.zeros(2, 4, 2, 4_096)
    for stem in range(4):
        stems[:, stem, :, 1_024 * stem : 1_024 * (stem + 1)] = 0.1 * torch.randn(2, 2, 1_024)
    return stems


@pytest.mark.parametrize("kind", ["patches", "convolutions", "resunet"])
def test_the_head_learns_from_each_networks_features(model, kind):
    tokens = ["model.network.convolutions=[4]", "model.network.patch=null", "model.network.detail=null"]
    network = model(*{"patches": [], "convolutions": tokens, "resunet": []}[kind])
    if kind == "resunet":
        small = {"widths": [4, 4], "rcms": 1, "heads": 2, "window": [2, 2]}
        sizes = {"subbands": 4, "n_fft": 256, "hop": 64}
        values = models.preset("tfswa_resunet")
        network = models.build({**values, **sizes, "network": {**values["network"], **small}})
    head = ActivityHead(CONFIG, network)
    stems = _stems()
    optimizer = torch.optim.Adam([*network.parameters(), *head.parameters()], lr=1e-2)
    terms = []
    for step in range(12):
        total, parts = head.objective(network, LOSS, stems, step)
        terms.append(parts["activity"].item())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert terms[-1] < 0.9 * terms[0]


def test_the_term_is_added_by_its_weight_and_moves_the_network(model):
    network = model()
    head = ActivityHead(CONFIG, network)
    stems = _stems()
    plain, parts = objective(network, LOSS, stems, 0)
    total, more = head.objective(network, LOSS, stems, 0)
    assert list(more) == [*parts, "activity"]
    assert total.item() == pytest.approx(plain.item() + CONFIG["weight"] * more["activity"].item())
    (total - plain).backward()
    moved = [p for p in network.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert len(moved) > 5
    assert all(p.grad.abs().sum() > 0 for p in head.parameters())


def test_every_option_matters(model):
    values = set()
    for change in ({}, {"weight": 0.2}, {"threshold": -10.0}, {"bands": 4}):
        network = model()
        head = ActivityHead({**CONFIG, **change}, network)
        values.add(head.objective(network, LOSS, _stems(), 0)[0].item())
    assert len(values) == 4


def test_it_is_logged_kept_in_checkpoints_and_left_out_of_models(config, tmp_path):
    options = ("activity=default", "trainer.max_steps=4", "trainer.log_every_n_steps=1")
    whole = build_run(config(*options), tmp_path / "whole")
    whole.trainer.callbacks.append(StopAt(2, tmp_path / "broken.ckpt"))
    whole.trainer.fit(whole.module, whole.data)
    with open(tmp_path / "whole" / "csv" / "metrics.csv") as file:
        assert any(row.get("train/activity") for row in csv.DictReader(file))
    state = torch.load(tmp_path / "broken.ckpt", weights_only=True)["state_dict"]
    assert {name for name in state if name.startswith("activity.")} == {
        "activity.project.weight",
        "activity.project.bias",
    }
    loaded = load_model(tmp_path / "broken.ckpt").state_dict()
    plain = build_run(config(), tmp_path / "plain").module.model.state_dict()
    assert {name: value.shape for name, value in loaded.items()} == {n: v.shape for n, v in plain.items()}

    fit(config(*options, f"resume={tmp_path / 'broken.ckpt'}"), tmp_path / "resumed")
    fit(config(*options), tmp_path / "again")
    ends = [
        torch.load(tmp_path / folder / "checkpoints" / "last.ckpt", weights_only=True)["current_model_state"]
        for folder in ("resumed", "again")
    ]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    told = r"is of another run: activity\.bands is 8 there and None here; go on with what it was trained with"
    with pytest.raises(ConfigError, match=told):
        build_run(config(f"resume={tmp_path / 'broken.ckpt'}"), tmp_path / "other")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["activity.weight=0"], r"^activity\.weight is 0, expected more than 0, or activity=none$"),
        (["activity.bands=0"], r"^activity\.bands is 0, expected 1 or more$"),
        (["+activity.width=1"], r"^unknown key activity\.width"),
        (["strategy=compile"], r"^activity is learned from features inside .*set activity=none, or train by another"),
        (["strategy=fsdp", "ema=none"], r"^activity is learned from features inside "),
    ],
)
def test_mistakes(config, tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        build_run(config("activity=default", *overrides), tmp_path)
