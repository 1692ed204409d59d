"""The real-time model in whole runs: validated in one pass, averaged, resumed, bundled."""

import csv

import pytest
import torch

from tests.small import OVERRIDES
from tests.training.test_fit import StopAt
from tfswa_unet.bundle import load_model, save_bundle
from tfswa_unet.inference import Separator
from tfswa_unet.training.builder import build_run

NETWORK = ["convolutions=[4]", "width=8", "head_width=8", "past=9", "window=[4,3]"]
SMALL = [
    "model=tfswa_realtime",
    "augmentation=none",
    "loss=fast",
    *(override for override in OVERRIDES if not override.startswith("model.network.")),
    *(f"model.network.{size}" for size in NETWORK),
    "callbacks.samples.every_n_epochs=null",
    "logger=csv",
    "trainer.max_epochs=2",
]


def weights(module):
    return torch.cat([value.flatten().float() for value in module.model.state_dict().values()])


@pytest.fixture(scope="module")
def whole(make_config, tmp_path_factory):
    """The folder of a run, and its weights."""
    folder = tmp_path_factory.mktemp("whole")
    run = build_run(make_config(*SMALL, small=False), folder)
    run.trainer.fit(run.module, run.data)
    return folder, weights(run.module)


def test_both_the_average_and_the_raw_weights_are_scored(whole):
    with open(whole[0] / "csv" / "metrics.csv") as file:
        rows = [row for row in csv.DictReader(file) if row.get("val/sdr")]
    assert len(rows) == 2
    for row in rows:
        assert torch.isfinite(torch.tensor([float(row["val/sdr"]), float(row["val_raw/sdr"])])).all()


def test_resumed_equals_uninterrupted(make_config, tmp_path, whole):
    first = build_run(make_config(*SMALL, small=False), tmp_path / "first")
    first.trainer.callbacks.append(StopAt(6, tmp_path / "broken.ckpt"))
    first.trainer.fit(first.module, first.data)
    resumed = build_run(make_config(*SMALL, f"resume={tmp_path / 'broken.ckpt'}", small=False), tmp_path / "second")
    resumed.trainer.fit(resumed.module, resumed.data, ckpt_path=resumed.resume.path, weights_only=True)
    assert resumed.trainer.global_step == 8
    assert torch.allclose(weights(resumed.module), whole[1], atol=1e-7)


def test_a_checkpoint_becomes_a_bundle_that_streams(whole, tmp_path):
    mixture = 0.1 * torch.randn(2, 5_000, generator=torch.Generator().manual_seed(0))
    model = load_model(whole[0] / "checkpoints" / "best.ckpt")
    again = load_model(save_bundle(tmp_path / "live.safetensors", model))
    stems = [Separator(each, "cpu", precision="fp32").separate(mixture, 44_100) for each in (model, again)]
    for name in model.stems:
        assert (stems[0][name] == stems[1][name]).all()
        assert stems[0][name].any()
