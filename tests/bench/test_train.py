import time

import lightning as L
import pytest
import torch
from lightning import Callback
from torch.utils.data import DataLoader, Dataset

from tests.small import write_songs
from tfswa_unet import models
from tfswa_unet.bench.settings import TrainSetting
from tfswa_unet.bench.subject import Subject
from tfswa_unet.bench.train import PARTS, SplitStep, measure, run_steps, step_operations
from tfswa_unet.config import choice
from tfswa_unet.errors import ConfigError, DataError
from tfswa_unet.losses import WeightedLoss

STFT = choice("loss", "default")["multi_resolution_stft"]
HEAVY = {"multi_resolution_stft": {**STFT, "resolutions": [(2048, hop) for hop in range(96, 104)], "in_turn": False}}


class Stems(Dataset):
    """Noise that takes `seconds` to read."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def __len__(self):
        return 8

    def __getitem__(self, index):
        time.sleep(self.seconds)
        return 0.1 * torch.randn(4, 2, 8000, generator=torch.Generator().manual_seed(index))


class Gradients(Callback):
    """What Lightning's backward pass left, before it is clipped."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.kept = [p.grad.clone() for p in pl_module.parameters()]


def _step(module, subject):
    return SplitStep(module, torch.optim.SGD(module.parameters(), lr=0.0), subject)


def _watch(module, subject, seconds=0.0):
    return run_steps(_step(module, subject), iter(DataLoader(Stems(seconds), 1)), 4, drain=1)


@pytest.mark.parametrize(("name", "most"), [("tfswa_tiny", 600), ("tfswa_base", 1850)])
def test_a_step_dispatches_few_operations(name, most):
    """Each is a kernel on a GPU, which small networks wait for; counted in bf16, whose casts count too."""
    model = models.build(models.preset(name))
    subject = Subject(name, model, torch.device("cpu"), "bf16")
    assert 300 < step_operations(subject, WeightedLoss(choice("loss", "default"))) <= most


def test_gradients_are_those_of_the_trainer(module, subject):
    loader = DataLoader(Stems(), 2)
    gradients = Gradients()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(
        max_steps=1, accelerator="cpu", devices=1, callbacks=[gradients], enable_model_summary=False, **quiet
    )
    module.gradient_clip = 0.0
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trainer.fit(module, loader)
    module.load_state_dict(before)
    module.zero_grad()
    module._trainer = None

    seen = []

    def lap(part):
        if part == "network_backward":
            seen.extend(p.grad.clone() for p in module.parameters())

    _step(module, subject)(next(iter(loader)), lap)
    assert len(seen) == len(gradients.kept) > 20
    for ours, theirs in zip(seen, gradients.kept, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def test_every_part_has_its_share(module, subject):
    shares = _watch(module, subject).shares()
    assert tuple(shares) == PARTS
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0


def test_a_slow_loader_shows(module, subject):
    quick, slow = _watch(module, subject), _watch(module, subject, seconds=0.3)
    assert all(parts["data"] >= 0.3 for parts in slow.rounds)
    assert slow.shares()["data"] > 2 * quick.shares()["data"]


def test_a_heavy_loss_shows_forward_and_backward(module, subject):
    light = _watch(module, subject).shares()
    module.loss = WeightedLoss(HEAVY)
    heavy = _watch(module, subject).shares()
    assert heavy["loss"] > light["loss"]
    assert heavy["loss_backward"] > light["loss_backward"]
    assert heavy["forward"] < light["forward"]


def test_the_step_trains(module, subject):
    before = [p.detach().clone() for p in module.parameters()]
    step = SplitStep(module, torch.optim.SGD(module.parameters(), lr=1e-2), subject)
    run_steps(step, iter(DataLoader(Stems(), 2)), 2)
    assert step.taken == 2
    assert any(not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))
    assert all(p.grad is None for p in module.parameters())


def test_what_was_in_store_is_drained(module, subject):
    seen = []
    step = _step(module, subject)
    step.module.augmentation.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batches = list(DataLoader(Stems(), 1))
    run_steps(step, iter(batches), 2, drain=3)
    assert [next(i for i, b in enumerate(batches) if torch.equal(b, s)) for s in seen] == [3, 4]


def _measured(bundle, **options):
    return measure(TrainSetting(model=bundle, seconds=0.3, batch=2, steps=2, device="cpu", **{"workers": 0, **options}))


def test_training_on_songs_made_for_it(bundle):
    record = _measured(bundle, checkpointing=True, peak_tflops=0.5)
    assert tuple(record["shares"]) == PARTS
    assert sum(record["shares"].values()) == pytest.approx(1)
    assert record["audio_seconds_per_second"] == pytest.approx(0.3 * record["segments_per_second"])
    assert record["model_flop_utilisation"] == pytest.approx(record["tflops"] / 0.5)
    assert (record["data"], record["workers"], record["loss"]) == ("synthetic", 0, "default")
    gain = record["checkpointing"]
    assert gain["activations_mb"] == pytest.approx(gain["activations_ratio"] * record["activations_mb"])
    assert 0 < gain["activations_ratio"] < 0.9
    assert gain["time_ratio"] > 0
    assert record["operations"] == _measured(bundle)["operations"]  # of a step without it


def test_training_on_a_data_set_with_workers(bundle, tmp_path):
    record = _measured(bundle, data=str(write_songs(tmp_path)), workers=1, loss="fast", augmentation="none")
    assert (record["data"], record["workers"], record["loss"]) == (str(tmp_path), 1, "fast")
    assert record["model_flop_utilisation"] is None
    assert record["checkpointing"] is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 0}, ConfigError, "--steps 0"),
        ({"workers": -1}, ConfigError, "--workers -1"),
        ({"peak_tflops": 0.0}, ConfigError, "--peak-tflops 0"),
        ({"loss": "fats"}, ConfigError, "unknown loss 'fats'.*did you mean fast"),
        ({"augmentation": "wild"}, ConfigError, "unknown augmentation 'wild'"),
        ({"data": "/nowhere"}, DataError, "/nowhere does not exist"),
    ],
)
def test_what_cannot_be_measured_is_refused(bundle, options, error, message):
    with pytest.raises(error, match=message):
        measure(TrainSetting(model=bundle, **{"workers": 0, "device": "cpu", **options}))


def test_a_choice_inherits():
    assert choice("data", "folders")["sets"]["folders"]["kind"] == "folders"
    assert choice("data", "folders")["seconds"] == choice("data", "musdb18hq")["seconds"]
    assert choice("loss", "waveform") == {"waveform_l1": {"weight": 1.0}}
