"""Counters of energy, as the system shows them."""

import sys
from types import SimpleNamespace

import pytest
import torch

from tfswa_unet.training.energy import Counter, Energy, counters, processor_counters


def zone(folder, name, kind, microjoules):
    (folder / name).mkdir()
    for file, content in (("name", kind), ("energy_uj", microjoules), ("max_energy_range_uj", 10_000_000)):
        (folder / name / file).write_text(f"{content}\n")
    return folder / name / "energy_uj"


def test_packages_are_summed_and_may_begin_again(tmp_path):
    first = zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 0)
    core = zone(tmp_path, "intel-rapl:0:0", "core", 0)  # part of a package
    platform = zone(tmp_path, "intel-rapl:2", "psys", 0)  # the packages are part of it
    energy = Energy(processor_counters(tmp_path))
    assert energy.joules == 0
    for path, microjoules in ((first, 500_000), (second, 2_000_000), (core, 100), (platform, 100)):
        path.write_text(str(microjoules))
    energy.update()
    assert energy.joules == pytest.approx(1.5 + 2)
    first.unlink()
    energy.update()
    first.write_text("600000")
    energy.update()
    assert energy.joules is None


def test_what_cannot_be_read_is_not_guessed(tmp_path):
    assert processor_counters(tmp_path / "none") == []
    energy = Energy([])
    energy.update()
    assert energy.joules is None
    states = iter([5, 3])
    energy = Energy([Counter(lambda: next(states), 1.0)])  # goes back, though it has no range
    energy.update()
    assert energy.joules is None
    assert counters(torch.device("meta"), [0]) == []


def test_gpus_are_found_by_their_identity(monkeypatch):
    states = {"GPU-a": 1000, "GPU-b": 5000}
    library = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda name: name,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: states[handle],
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid="ab"[number]))
    energy = Energy(counters(torch.device("cuda"), [1]))
    states.update({"GPU-a": 9000, "GPU-b": 7500})
    energy.update()
    assert energy.joules == 2.5
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    assert counters(torch.device("cuda"), [1]) == []
