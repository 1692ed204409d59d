from __future__ import annotations

import json

import pytest

from tfswa_unet.catalogue import listing, model_card
from tfswa_unet.cli import catalogue, main


@pytest.fixture(autouse=True)
def _few_presets(monkeypatch):
    monkeypatch.setattr(listing.models, "names", lambda: ["tfswa_tiny"])
    monkeypatch.setattr(listing, "cached", dict)


def test_models_are_lines_and_the_default_is_named(default, small, capsys):
    assert main(["models"]) == 0
    headings, ours, preset, units, _, told = capsys.readouterr().out.splitlines()
    parameters = sum(parameter.numel() for parameter in small.parameters())
    assert headings.split() == ["name", "kind", "M", "MB", "valid", "test", "stems"]
    size = [f"{parameters / 1e6:.1f}", f"{default.stat().st_size / 1e6:.1f}"]
    stems = ["vocals,", "drums,", "bass,", "other"]
    assert ours.split() == ["tfswa_open_small", "trained", *size, "–", "–", *stems]
    assert preset.split()[:2] == ["tfswa_tiny", "preset"]
    assert units.startswith("M: million weights. valid, test: SDR in dB, average of the stems.")
    assert told == "`tfswa separate song.mp3` takes tfswa_open_small."


def test_a_line_a_model_fits_a_narrow_terminal(default, bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(catalogue, "WIDTH", 80)
    monkeypatch.setattr(listing, "cached", lambda: {"hf://someone/guitars-v2": bundle})
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()[:4]
    assert [line.split()[0] for line in lines] == ["name", "tfswa_open_small", "hf://someone/guitars-v2", "tfswa_tiny"]
    assert [line.split()[1] for line in lines] == ["kind", "trained", "cached", "preset"]
    assert all(len(line) <= 80 for line in lines)


def test_what_the_cache_holds_and_cannot_be_used_is_left_out(default, tmp_path, monkeypatch, capsys, caplog):
    (tmp_path / "x.safetensors").write_bytes(b"half")
    monkeypatch.setattr(listing, "cached", lambda: {"https://host/x.safetensors": tmp_path / "x.safetensors"})
    assert main(["models", "--json"]) == 0
    assert [each["kind"] for each in json.loads(capsys.readouterr().out)] == ["trained", "preset"]
    assert "https://host/x.safetensors is left out" in caplog.text


def test_models_as_json(default, capsys):
    assert main(["models", "--json"]) == 0
    ours, preset = json.loads(capsys.readouterr().out)
    assert (ours["name"], ours["kind"], ours["default"]) == ("tfswa_open_small", "trained", True)
    assert ours["stems"] == ["vocals", "drums", "bass", "other"]
    assert (preset["name"], preset["kind"], preset["validation_sdr"]) == ("tfswa_tiny", "preset", None)


def test_an_installation_without_a_default_model_says_so(folder, capsys):
    assert main(["models"]) == 0
    told = "This installation has no default model (tfswa_open_small): `tfswa separate` needs --model."
    assert capsys.readouterr().out.splitlines()[-1] == told


def test_a_card_is_printed_or_written(default, tmp_path, capsys):
    assert main(["card", "tfswa_open_small"]) == 0
    assert capsys.readouterr().out == model_card(default)
    path = tmp_path / "new" / "CARD.md"
    assert main(["card", str(default), "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_text(encoding="utf-8") == model_card(default)


def test_a_card_of_nothing_or_to_nowhere_is_an_error(default, tmp_path, capsys):
    assert main(["card", "tfswa_open_smal"]) == 1
    assert "no such bundle or checkpoint (did you mean tfswa_open_small?)" in capsys.readouterr().err
    assert main(["card", "tfswa_open_small", "-o", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path} cannot be written (Is a directory): give -o another file\n"
    assert not list(tmp_path.parent.glob(f".{tmp_path.name}*"))
