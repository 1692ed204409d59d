import json
import re

import pytest
import torch

from tests.bench.conftest import TRIAL
from tests.small import STEMS
from tfswa_unet import models
from tfswa_unet.bench import options, trial
from tfswa_unet.cli import main
from tfswa_unet.errors import ModelError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data") / "songs"


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(options, "as_in_training", lambda key: 0.5)


def _arguments(place, *more, data=None):
    return [
        "bench",
        "options",
        *TRIAL,
        "--data",
        str(data or place / "songs"),
        "--out",
        str(place / "options.json"),
        *more,
    ]


@pytest.mark.parametrize(("name", "overrides"), options.load_rows(options.ROWS).items())
def test_every_row_of_the_table_builds_and_differs(name, overrides):
    base = models.preset("tfswa_tiny", STEMS)
    config = options.configured("tfswa_tiny", overrides, name)
    assert models.build(config).stems == STEMS
    assert (config == base) == (name == "base")


def test_rows_are_measured_once(tmp_path, data, small_presets, capsys, monkeypatch):
    assert main(_arguments(tmp_path, "--rows", "base", data=data)) == 0
    base = json.loads((tmp_path / "options.json").read_text())["results"]["base"]
    assert main(_arguments(tmp_path, "--rows", "complex mask;base", "--json", data=data)) == 0
    printed = capsys.readouterr()
    records = json.loads(printed.out[printed.out.index("{") :])["results"]
    assert records["base"] == base
    assert "base: already in" in printed.err
    row = records["complex mask"]
    assert row["overrides"] == ["mask=complex"]
    assert row["parameters"] > base["parameters"]
    assert row["flops_per_second"] > base["flops_per_second"] > 1e6
    assert row["real_time_factor"] > 0
    assert row["segments_per_second"] == pytest.approx(2 * row["steps"] / row["seconds"])
    assert set(row["scores"]) == {*STEMS, "average"}

    def diverge(*_, **__):
        raise ModelError("it diverged")

    monkeypatch.setattr(trial, "train", diverge)
    assert main(_arguments(tmp_path, "--rows", "spectra;base", data=data)) == 0
    spectra = json.loads((tmp_path / "options.json").read_text())["results"]["spectra"]
    assert (spectra["status"], spectra["reason"]) == ("diverged", "it diverged")
    lines = capsys.readouterr().out.splitlines()
    assert "spectra: diverged: it diverged" in lines
    cells = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in lines if line.startswith("│")}
    assert cells["base"][-2].strip() == f"{base['scores']['average']['SDR']:.2f}"
    assert [cell.strip() for cell in cells["spectra"][3:]] == ["–"] * 7


def test_a_row_that_fails_leaves_the_others(tmp_path, data, small_presets, capsys, monkeypatch):
    costs = options.costs

    def failing(model):
        if model.config["mask"] == "complex":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return costs(model)

    monkeypatch.setattr(options, "costs", failing)
    assert main(_arguments(tmp_path, "--rows", "complex mask;sigmoid mask", "--json", data=data)) == 1
    records = json.loads(capsys.readouterr().out)["results"]
    assert records["complex mask"] == {
        "overrides": ["mask=complex"],
        "status": "failed",
        "reason": "OutOfMemoryError: CUDA out of memory",
    }
    assert records["sigmoid mask"]["status"] == "measured"


def test_a_changed_row_does_not_keep_its_result(tmp_path, data, small_presets, monkeypatch, capsys):
    table = tmp_path / "rows.yaml"
    monkeypatch.setattr(options, "run_trial", lambda *_: {"status": "diverged", "reason": "not run"})
    table.write_text("mine: [mask=complex]\n")
    assert main(_arguments(tmp_path, "--table", str(table), data=data)) == 0
    table.write_text("mine: [mask=sigmoid]\n")
    assert main(_arguments(tmp_path, "--table", str(table), data=data)) == 1
    assert re.search(r"holds the row 'mine' with \['mask=complex'\].*rename the row", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("mine: [maks=complex]", "row 'mine' cannot be built: unknown key model.maks .did you mean mask"),
        ("mine: ['network.patch=[3,5]']", "row 'mine' cannot be built: .*takes either convolutions, with patch=null"),
        ("mine: mask=complex", "a mapping of names to lists of overrides was expected"),
        ("mine: [", "rows.yaml cannot be read"),
    ],
)
def test_rows_that_cannot_be_are_told_before_anything_is_written(tmp_path, table, message, capsys):
    path = tmp_path / "rows.yaml"
    path.write_text(table)
    assert main(_arguments(tmp_path, "--table", str(path))) == 1
    assert re.search(message, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_rows_name_the_nearest(tmp_path, capsys):
    assert main(_arguments(tmp_path, "--rows", "RMSnorm")) == 1
    assert "unknown row 'RMSnorm' (did you mean RMS norm?)" in capsys.readouterr().err
    assert main(["bench", "options", "--list"]) == 0
    assert "complex mask: mask=complex" in capsys.readouterr().out.splitlines()
