"""The entries for torch.hub, by torch.hub itself from this checkout."""

import runpy
from pathlib import Path

import torch

from tests.cli.conftest import bundle, small  # noqa: F401

ROOT = str(Path(__file__).parents[1])


def test_torch_hub_lists_and_loads_the_entries(bundle):  # noqa: F811
    entries = runpy.run_path(f"{ROOT}/hubconf.py")
    assert [name for name, entry in entries.items() if callable(entry) and name[0] != "_"] == ["model", "separator"]
    assert "(b, s, c, t)" in entries["model"].__doc__
    model = torch.hub.load(ROOT, "model", str(bundle), source="local")
    stems = torch.hub.load(
        ROOT, "separator", str(bundle), source="local", device="cpu", segment_seconds=0.5, overlap_seconds=0.1
    ).separate(torch.zeros(2, 1000), 44_100)
    assert tuple(stems) == model.stems
    assert {stem.shape for stem in stems.values()} == {(2, 1000)}
