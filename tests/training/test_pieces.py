"""What a run keeps in its checkpoints of its pieces, their cost and the sources of its data."""

import shutil

import pytest
import torch

from tests.small import write_samples
from tfswa_unet.bundle import read_facts
from tfswa_unet.data.sets.layouts import COLUMNS
from tfswa_unet.errors import DataError
from tfswa_unet.training.fit import fit

ROWS = [
    ["eif", "an album", "c929", "CC0-1.0", "drums", "503.4", "52"],
    ["strat", "a guitar", "", "CC-BY-4.0 (Ann Author)", "other", "12", "3"],
]
SOURCES = [{"data_set": "musdb18hq", **dict(zip(COLUMNS, row, strict=True))} for row in ROWS]


def table(rows, columns=COLUMNS, end="\n"):
    return end.join("\t".join(row) for row in [columns, *rows]) + end


@pytest.fixture
def sourced(songs, tmp_path):
    """Those songs, with a table of sources."""
    root = shutil.copytree(songs, tmp_path / "songs")
    (root / "SOURCES.tsv").write_text(table(ROWS))
    return root


def kept(path):
    return torch.load(path, weights_only=True)["callbacks"]["Pieces"]


def test_a_resumed_run_keeps_its_pieces_and_all_its_sources(make_config, sourced, tmp_path):
    place = f"data.root={sourced}"
    fit(make_config(place, "trainer.max_steps=3"), tmp_path / "first")
    last = tmp_path / "first" / "checkpoints" / "last.ckpt"
    (first,) = kept(last)["pieces"]
    assert kept(last)["sources"] == SOURCES

    more = ["harp", "a harp", "2", "CC0-1.0", "other", "9", "1"]
    (sourced / "SOURCES.tsv").write_text(table([*ROWS, more]))
    best = fit(make_config(place, "trainer.max_epochs=2", f"resume={last}"), tmp_path / "second")
    last = tmp_path / "second" / "checkpoints" / "last.ckpt"
    before, piece = kept(last)["pieces"]
    assert before == first
    assert (before["steps"], piece["steps"]) == ([0, 3], [3, 8])
    assert piece["best_sdr"] == pytest.approx(best, abs=1e-4)
    assert piece["started"] >= before["started"]
    assert 0 < piece["seconds"] < 600
    assert (piece["device"], piece["devices"], piece["threads"]) == ("cpu", 1, torch.get_num_threads())
    assert piece["device_name"]
    assert piece["precision"] == "32-true"
    assert piece["versions"]["torch"] == str(torch.__version__)
    assert kept(last)["sources"] == [*SOURCES, {"data_set": "musdb18hq", **dict(zip(COLUMNS, more, strict=True))}]
    training = read_facts(last)["training"]
    assert {name: training[name] for name in ("pieces", "sources")} == kept(last)


def test_every_checkpoint_holds_the_piece_up_to_its_step(make_config, tmp_path, monkeypatch):
    scores = (score for score in (0.0, 5.0, 4.0) for _stem in range(4))  # of the sanity check and two epochs
    monkeypatch.setattr("tfswa_unet.training.validation.METRICS", {"sdr": lambda *_: torch.tensor(next(scores))})
    fit(make_config("trainer.max_epochs=2", "ema=none"), tmp_path)
    (best,) = kept(tmp_path / "checkpoints" / "best.ckpt")["pieces"]
    (last,) = kept(tmp_path / "checkpoints" / "last.ckpt")["pieces"]
    assert (best["steps"], best["best_sdr"]) == ([0, 4], 5.0)
    assert (last["steps"], last["best_sdr"]) == ([0, 8], 5.0)
    assert last["seconds"] > best["seconds"]
    assert kept(tmp_path / "checkpoints" / "last.ckpt")["sources"] == []


def test_weights_that_a_run_starts_from_bring_their_sources_and_pieces(make_config, sourced, tmp_path):
    fit(make_config(f"data.root={sourced}", "trainer.max_steps=1"), tmp_path / "first")
    last = tmp_path / "first" / "checkpoints" / "last.ckpt"
    fit(make_config("trainer.max_steps=1", f"init_from={last}"), tmp_path / "second")
    state = kept(tmp_path / "second" / "checkpoints" / "last.ckpt")
    assert state["sources"] == SOURCES
    assert [piece["steps"] for piece in state["pieces"]] == [[0, 1], [0, 1]]  # of each run, by itself


def test_a_malformed_table_is_refused_before_training(make_config, sourced, tmp_path):
    (sourced / "SOURCES.tsv").write_text(table([*ROWS, ["short", "row"]]))
    with pytest.raises(DataError, match=r"SOURCES\.tsv, line 4: 2 fields, expected 7 as in the first line"):
        fit(make_config(f"data.root={sourced}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_first_run_on_rendered_songs_keeps_the_sources_of_their_recordings(make_config, tmp_path):
    samples, out = write_samples(tmp_path / "samples"), tmp_path / "songs"
    rows = [
        ["anna", "her songs", "1", "CC0-1.0", "vocals", "3", "2"],
        ["gone", "a bass", "1", "CC0-1.0", "bass", "3", "2"],
    ]
    (samples / "SOURCES.tsv").write_text(table(rows))
    keys = {"samples": samples, "songs": 2, "seconds": 1.0}
    rendered = ["data=rendered", *(f"data.sets.rendered.render.{key}={value}" for key, value in keys.items())]
    fit(make_config(*rendered, f"data.root={out}", "trainer.max_steps=1"), tmp_path / "run")
    expected = [{"data_set": "rendered", **dict(zip(COLUMNS, rows[0], strict=True))}]
    assert kept(tmp_path / "run" / "checkpoints" / "last.ckpt")["sources"] == expected
    assert (out / "SOURCES.tsv").read_text() == table(rows[:1])
