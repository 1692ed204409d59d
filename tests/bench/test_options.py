import json

import pytest

from tests.bench.conftest import ARGUMENTS
from tests.small import STEMS
from tfswa_unet import models
from tfswa_unet.bench import options
from tfswa_unet.errors import ConfigError, ModelError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data") / "songs"


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(options, "FORWARD", 0.5)


def _arguments(place, *more, data=None):
    return [*ARGUMENTS, "--data", str(data or place / "songs"), "--out", str(place / "options.json"), *more]


@pytest.mark.parametrize(("name", "overrides"), options.load_rows(options.ROWS).items())
def test_every_row_of_the_table_builds_and_differs(name, overrides):
    base = models.preset("tfswa_tiny", STEMS)
    config = options.configured("tfswa_tiny", overrides, name)
    assert models.build(config).stems == STEMS
    assert (config == base) == (name == "base")


def test_rows_are_measured_once(tmp_path, data, small_presets, capsys, monkeypatch):
    assert options.main(_arguments(tmp_path, "--rows", "base", data=data)) == 0
    base = json.loads((tmp_path / "options.json").read_text())["results"]["base"]
    assert options.main(_arguments(tmp_path, "--rows", "complex mask;base", "--json", data=data)) == 0
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

    monkeypatch.setattr(options, "compete", diverge)
    assert options.main(_arguments(tmp_path, "--rows", "spectra;base", data=data)) == 0
    assert json.loads((tmp_path / "options.json").read_text())["results"]["spectra"]["failed"] == "it diverged"
    lines = capsys.readouterr().out.splitlines()
    cells = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in lines if line.startswith("│")}
    assert cells["base"][-2].strip() == f"{base['scores']['average']['SDR']:.2f}"
    assert [cell.strip() for cell in cells["spectra"][3:]] == ["–"] * 7


def test_a_changed_row_does_not_keep_its_result(tmp_path, data, small_presets, monkeypatch):
    table = tmp_path / "rows.yaml"
    monkeypatch.setattr(options, "compete", lambda *_: {"failed": "not run"})
    table.write_text("mine: [mask=complex]\n")
    options.main(_arguments(tmp_path, "--table", str(table), data=data))
    table.write_text("mine: [mask=sigmoid]\n")
    with pytest.raises(ConfigError, match=r"holds the row 'mine' with \['mask=complex'\].*rename the row"):
        options.main(_arguments(tmp_path, "--table", str(table), data=data))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("mine: [maks=complex]", "row 'mine' cannot be built: unknown key model.maks .did you mean mask"),
        ("mine: ['network.patch=[3,5]']", "row 'mine' cannot be built: .*takes either convolutions, with patch=null"),
        ("mine: mask=complex", "a mapping of names to lists of overrides was expected"),
        ("mine: [", "rows.yaml cannot be read"),
    ],
)
def test_rows_that_cannot_be_are_told_before_anything_is_written(tmp_path, table, message):
    path = tmp_path / "rows.yaml"
    path.write_text(table)
    with pytest.raises(ConfigError, match=message):
        options.main(_arguments(tmp_path, "--table", str(path)))
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_rows_name_the_nearest(tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"unknown row 'RMSnorm' \(did you mean RMS norm\?\)"):
        options.main(_arguments(tmp_path, "--rows", "RMSnorm"))
    assert options.main(["--list"]) == 0
    assert "complex mask: mask=complex" in capsys.readouterr().out.splitlines()
