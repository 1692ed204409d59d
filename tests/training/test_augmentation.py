"""What is drawn for a batch depends on seed, epoch, batch and process alone, and a run may stop and go on."""

from types import SimpleNamespace

import pytest
import torch

from tests.training.test_fit import StopAt
from tfswa_unet.config import from_values
from tfswa_unet.errors import ConfigError
from tfswa_unet.training import builder
from tfswa_unet.training.builder import TrainConfig, build_run, make_data
from tfswa_unet.training.module import SeparationModule

OPTIONS = (
    "augmentation=strong",
    "augmentation.gain.p=1",
    "augmentation.remix.p=1",
    "augmentation.reverb.p=0.5",
    "callbacks.early_stopping.patience=null",
    "trainer.max_epochs=2",
)


def _recorded(run, resume=None):
    """Train; return the batches that went into the model, by step."""
    batches = {}
    run.module.augmentation.register_forward_hook(
        lambda _module, _inputs, stems: batches.update({run.trainer.global_step: stems.clone()})
    )
    run.trainer.fit(run.module, run.data, ckpt_path=resume, weights_only=True)
    return batches


def test_a_run_resumed_in_mid_epoch_trains_on_the_same_augmented_batches(config, tmp_path):
    whole = _recorded(build_run(config(*OPTIONS), tmp_path / "whole"))
    assert list(whole) == list(range(8))

    first = build_run(config(*OPTIONS), tmp_path / "first")
    first.trainer.callbacks.append(StopAt(6, tmp_path / "broken.ckpt"))
    first = _recorded(first)
    torch.manual_seed(99)  # nothing may hang on torch's own
    second = _recorded(build_run(config(*OPTIONS), tmp_path / "second"), tmp_path / "broken.ckpt")
    assert (list(first), list(second)) == ([0, 1, 2, 3, 4, 5], [6, 7])
    for step, batch in whole.items():
        assert torch.equal((first | second)[step], batch)


def test_each_step_is_seeded_by_its_place_in_the_run(config, tmp_path, monkeypatch):
    run = build_run(config(*OPTIONS, "seed=11"), tmp_path)
    seen = []
    monkeypatch.setattr(run.module.augmentation, "seed", lambda *numbers: seen.append(numbers))
    run.trainer.fit(run.module, run.data)
    assert seen == [(11, epoch, batch, 0) for epoch in range(2) for batch in range(4)]


def test_without_a_trainer_a_step_repeats_itself(config, tmp_path):
    module = build_run(config(*OPTIONS), tmp_path).module.train()
    batch = torch.randn(3, 4, 2, 8_820, generator=torch.Generator().manual_seed(0))
    losses = [module.training_step(batch, index).item() for index in (0, 1, 0)]
    assert losses[0] == losses[2] != losses[1]


def test_the_module_keeps_what_acts_on_batches_and_remembers_all(config, tmp_path):
    module = build_run(config(*OPTIONS, "model.rate=48000", "seed=3"), tmp_path).module
    kinds = [type(each).__name__ for each in module.augmentation]
    assert kinds[:3] == ["Gain", "ChannelSwap", "Polarity"]
    assert not {"TimeStretch", "Pitch", "Mp3"} & set(kinds)
    assert next(each for each in module.augmentation if type(each).__name__ == "Loudness").rate == 48_000
    assert {"gain", "pitch", "mp3", "remix"} <= set(module.hparams["augmentation"])
    assert module.hparams["seed"] == 3


def test_what_is_slow_is_handed_to_the_data(config, monkeypatch):
    monkeypatch.setattr(builder, "SegmentDataModule", lambda *_args, **options: SimpleNamespace(**options))
    values = config(*OPTIONS, "augmentation.pitch=null")
    data = make_data(from_values(TrainConfig, values, "config"))
    assert data.augmentation == [{name: values["augmentation"][name]} for name in ("time_stretch", "mp3")]
    assert make_data(from_values(TrainConfig, config(), "config")).augmentation == []


@pytest.mark.parametrize("setting", ["+augmentation.gain.hi=3", "+augmentation.mp3.kbp=3", "+augmentation.wah.p=1"])
def test_an_unknown_setting_of_either_part_is_refused(config, tmp_path, setting):
    with pytest.raises(ConfigError, match=r"unknown (option )?augmentation"):
        build_run(config("augmentation=strong", setting), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_from_before_the_seed_was_kept_goes_on(config, tmp_path):
    first = build_run(config("trainer.max_epochs=1"), tmp_path / "first")
    first.trainer.fit(first.module, first.data)
    path = tmp_path / "old.ckpt"
    first.trainer.save_checkpoint(path)
    old = torch.load(path, weights_only=True)
    del old["hyper_parameters"]["seed"]
    torch.save(old, path)

    assert SeparationModule.load_from_checkpoint(path, weights_only=True).hparams["seed"] == 0
    second = build_run(config("trainer.max_epochs=2", f"resume={path}"), tmp_path / "second")
    second.trainer.fit(second.module, second.data, ckpt_path=second.resume.path, weights_only=True)
    assert second.trainer.global_step == 8
