"""What a network does in training is what it does afterwards: batch norms' running statistics fit single songs."""

import pytest
import torch

from tests.training.test_stems_learn import module
from tfswa_unet.evaluation.metrics import sdr
from tfswa_unet.losses import objective

STEPS = 500
BATCH = 4
SAMPLES = 2_048


def batches(seed):
    """Stems (b, 4, 2, t) without end: a tone, clicks, a low tone and noise, each of another pitch and level a batch."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(SAMPLES) / 44_100

    def draw(low, high):
        return low + (high - low) * torch.rand(BATCH, 1, generator=generator)

    while True:
        voice = torch.sin(6.2832 * draw(600, 2_000) * time) * (1 + torch.sin(6.2832 * draw(4, 30) * time))
        drums = torch.randn(BATCH, SAMPLES, generator=generator) * torch.exp(-80 * (time % draw(0.02, 0.06)))
        bass = torch.sin(6.2832 * draw(80, 300) * time)
        other = torch.sin(6.2832 * draw(3_000, 9_000) * time)
        levels = 10 ** (-1.5 * torch.rand(BATCH, 4, 1, 1, generator=generator))
        stems = torch.stack([voice, drums, bass, other], dim=1)[:, :, None].expand(-1, -1, 2, -1)
        yield 0.3 * levels * stems


def in_both_modes(model, songs):
    """Median SDR in dB of single examples, in training mode and in evaluation mode; statistics stay as they are."""
    norms = [each for each in model.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 0.0
    scores = []
    for training in (True, False):
        model.train(training)
        with torch.no_grad():
            scores.append(torch.cat([sdr(stems, model(stems.sum(dim=1))) for stems in songs]).median())
    for norm in norms:
        norm.momentum = 0.1
    return scores


def trained(make_config, name):
    network = module(make_config, name, "four", changes=["model.hop=128"])
    optimizer = torch.optim.AdamW(network.model.parameters(), 3e-3, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)  # as conf/scheduler/cosine.yaml
    for step, stems in zip(range(STEPS), batches(0), strict=False):
        optimizer.zero_grad()
        objective(network.model, network.loss, stems, step)[0].backward()
        optimizer.step()
        schedule.step()
    songs = [stems for stems, _ in zip(batches(1), range(8), strict=False)]
    return in_both_modes(network.model, songs)


# The other presets are tfswa_tiny in other sizes, but for tfswa_classic, which has no batch norms.
@pytest.mark.parametrize("name", ["tfswa_tiny", "tfswa_realtime", "tfswa_resunet"])
def test_training_and_evaluation_agree(make_config, name):
    training, evaluation = trained(make_config, name)
    assert training > 5  # it has learned
    assert abs(training - evaluation) < 0.5
