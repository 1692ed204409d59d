from __future__ import annotations

import torch

from tfswa_unet.bundle import fingerprint, load_model, read_facts
from tfswa_unet.cli import main


def test_a_checkpoint_becomes_a_bundle_that_says_where_it_comes_from(checkpoint, small, capsys):
    assert main(["bundle", str(checkpoint)]) == 0
    path = checkpoint.with_suffix(".safetensors")
    assert capsys.readouterr().out == (
        f"{path}: vocals, drums, bass, other at 44100 Hz, {path.stat().st_size / 1e6:.1f} MB, {fingerprint(path)}\n"
    )
    assert all(torch.equal(value, small.state_dict()[name]) for name, value in load_model(path).state_dict().items())
    training = read_facts(path)["training"]
    assert training["epoch"] == 5
    assert training["checkpoint"] == fingerprint(checkpoint)


def test_the_name_can_be_chosen_but_not_its_ending(checkpoint, tmp_path, capsys):
    assert main(["bundle", str(checkpoint), "-o", str(tmp_path / "new" / "m.safetensors")]) == 0
    assert (tmp_path / "new" / "m.safetensors").is_file()
    assert main(["bundle", str(checkpoint), "-o", str(tmp_path / "m.pt")]) == 1
    assert "a bundle's name ends in .safetensors, got '.pt'" in capsys.readouterr().err
    assert not (tmp_path / "m.pt").exists()
