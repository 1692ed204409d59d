"""A small model whose graph is hard to make of free length."""

import torch

from tests.models.conftest import awake
from tfswa_unet import models

RATE = 16_000
# W-MSA and SW-MSA on a plane that no window divides, behind convolutions.
NETWORK = {
    "widths": [16],
    "depths": [2],
    "mlp_ratios": [1],
    "convolutions": [4],
    "window": [3, 3],
    "head_width": 8,
}


def small(stems=("vocals", "bass"), **changes):
    torch.set_num_threads(1)
    values = models.preset("tfswa_base", stems)
    own = {"name": "small", "rate": RATE, "n_fft": 128, "hop": 32, "subbands": 4}
    return awake(models.build({**values, **own, "network": {**values["network"], **NETWORK, **changes}})).eval()
