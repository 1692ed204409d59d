import json
import shutil

import pytest
import torch

from tfswa_unet import models
from tfswa_unet.bench import exports
from tfswa_unet.bundle import load_model
from tfswa_unet.cli import main
from tfswa_unet.export.exporter import Target


def _write(path, model, facts):
    """A file from which `_load` makes the same model."""
    torch.save({"config": model.config, "weights": model.state_dict()}, path)


def _load(path):
    kept = torch.load(path)
    model = models.build(kept["config"]).eval()
    model.load_state_dict(kept["weights"])
    return torch.no_grad()(model)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(exports, "ODD", (1, 777))
    monkeypatch.setattr(exports, "LONG_SECONDS", 1.0)
    monkeypatch.setitem(exports.WRITERS, "torchscript", Target(_write, ".pt", _load))
    monkeypatch.setitem(exports.WRITERS, "onnx-int8", Target(_write, ".int8.pt", _load))


def _arguments(bundle, place, *more):
    return ["bench", "exports", "--models", bundle, "--threads", "1", "--out", str(place / "exports.json"), *more]


def test_every_file_is_compared_at_every_size_and_kept(bundle, tmp_path, monkeypatch, capsys):
    arguments = _arguments(bundle, tmp_path, "--targets", "torchscript")
    assert main([*arguments, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)["results"][f"{bundle} torchscript"]
    rate = load_model(bundle).rate
    assert set(record["db"]) == {"1 × 1", "3 × 1", "1 × 777", "3 × 777", f"1 × {rate}"}
    assert min(record["db"].values()) > 100
    assert record["bytes"] > 1_000
    monkeypatch.setattr(exports, "load_model", None)  # nothing is left to do
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "torchscript" in printed
    assert f"{record['db']['3 × 777']:.1f}" in printed


def test_int8_is_made_of_the_whole_file_in_both_ways(bundle, tmp_path, monkeypatch, capsys):
    made = []

    def write_int8(path, full, method, pieces, facts):
        made.append((method, len(pieces) > 0))
        shutil.copy(full, path)

    monkeypatch.setattr(exports, "require_onnx", lambda: None)
    monkeypatch.setattr(exports, "write_int8", write_int8)
    assert main([*_arguments(bundle, tmp_path, "--targets", "onnx-int8"), "--json"]) == 0
    assert made == [("static", True), ("dynamic", False)]
    results = json.loads(capsys.readouterr().out)["results"]
    assert [list(record["db"]) for record in results.values()] == [["1 × 777"]] * 2


def test_a_file_that_differs_shows(bundle, tmp_path, monkeypatch, capsys):
    def wrong(path, model, facts):
        _write(path, models.build(model.config), facts)

    monkeypatch.setitem(exports.WRITERS, "torchscript", Target(wrong, ".pt", _load))
    assert main([*_arguments(bundle, tmp_path, "--targets", "torchscript"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)["results"][f"{bundle} torchscript"]
    assert max(record["db"].values()) < 60


def test_one_that_fails_leaves_the_reason(bundle, tmp_path, monkeypatch, capsys):
    def fail(path, model, facts):
        raise RuntimeError("no memory")

    monkeypatch.setitem(exports.WRITERS, "torchscript", Target(fail, ".pt"))
    assert main(_arguments(bundle, tmp_path, "--targets", "torchscript")) == 1
    assert "torchscript: failed: RuntimeError: no memory" in capsys.readouterr().out


def test_presets_speak_up():
    model = models.build(models.preset("tfswa_tiny"))
    silent = [each for each in model.parameters() if each.dim() > 1 and not each.any()]
    assert silent
    exports.wake(model)
    assert all(each.any() for each in silent)


@pytest.mark.parametrize(
    ("more", "message"), [(["--targets", "onx"], "did you mean onnx"), (["--models", "tfswa_tny"], "tfswa_tny")]
)
def test_what_is_not_there_is_refused_before_the_work(bundle, tmp_path, more, message, capsys):
    assert main([*_arguments(bundle, tmp_path), *more]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "exports.json").exists()


def test_a_batch_holds_different_music():
    given = exports.mixtures(8_000, 2)
    batch = given(3, 500)
    assert batch.shape == (3, 2, 500)
    assert not torch.equal(batch[0], batch[1])
    assert torch.equal(batch[:1], given(1, 500))
