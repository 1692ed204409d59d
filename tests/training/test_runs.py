"""Runs as their folders tell them."""

from html.parser import HTMLParser

import pytest
import yaml

from tfswa_unet.errors import ConfigError
from tfswa_unet.training.fit import fit
from tfswa_unet.training.runs import differing, list_runs, runs_page, unusual

METRICS = """epoch,step,train/loss,val/sdr,val/sdr_bass,val/sdr_vocals
0,0,2.0,,,
0,9,1.5,,,
0,9,,{first},1.0,{first}
1,19,1.0,,,
1,19,,{second},2.0,{second}
"""


class Cells(HTMLParser):
    """Texts of the cells of a page's table, and its scripts and pictures."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags, self.within = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        self.within = tag if tag in ("td", "th") else self.within
        if self.within == tag:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.within = None if tag == self.within else self.within

    def handle_data(self, data):
        if self.within:
            self.rows[-1][-1] += data


@pytest.fixture
def write_run(tmp_path):
    def write(name, config, metrics):
        folder = tmp_path / "runs" / name
        (folder / "csv").mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump({"model": {"name": "tiny"}, **config}))
        (folder / "csv" / "metrics.csv").write_text(metrics)
        return tmp_path / "runs"

    return write


@pytest.fixture
def three(write_run):
    write_run("worse", {"optimizer": {"lr": 1e-3}, "paths": {"runs": "here"}}, METRICS.format(first=3.0, second=2.0))
    write_run("sweep/better", {"optimizer": {"lr": 2e-3}}, METRICS.format(first=3.0, second=5.5))
    return write_run("young", {"optimizer": {"lr": 1e-3}, "extra": True}, "epoch,step,train/loss\n0,4,2.5\n")


def test_the_best_is_first_and_what_has_no_score_last(three):
    better, worse, young = list_runs(three)
    assert (better.name, better.steps, better.best_sdr, better.best_step) == ("sweep/better", 20, 5.5, 20)
    assert (worse.name, worse.best_sdr, worse.best_step) == ("worse", 3.0, 10)
    assert (young.name, young.steps, young.best_sdr, young.best_step) == ("young", 5, None, None)
    assert better.stems == {"bass": 2.0, "vocals": 5.5}
    assert worse.stems == {"bass": 1.0, "vocals": 3.0}


def test_what_differs_leaves_places_out(three):
    runs = list_runs(three)
    assert differing(runs) == ["optimizer.lr", "extra"]
    assert unusual(runs) == [["optimizer.lr=0.002"], [], ["extra=True"]]


def test_a_validation_without_an_sdr_is_no_score(write_run):
    (run,) = list_runs(write_run("silent", {}, METRICS.format(first="nan", second=1.0)))
    assert (run.best_sdr, run.best_step) == (1.0, 20)
    root = write_run("all silent", {}, METRICS.format(first="nan", second="nan"))
    assert [each.best_sdr for each in list_runs(root)] == [1.0, None]


def test_a_row_that_was_broken_off_is_left_out(write_run):
    (run,) = list_runs(write_run("cut", {}, METRICS.format(first=1.0, second=2.0) + "1,"))
    assert run.steps == 20


def test_a_page_has_a_row_a_run_and_its_curves(three):
    cells = Cells(runs_page(three, list_runs(three)))
    headings, *rows = cells.rows
    assert headings[:2] == ["run", "model"]
    assert [row[0] for row in rows] == ["sweep/better", "worse", "young"]
    assert rows[0][headings.index("SDR")] == "5.50"
    assert rows[2][headings.index("SDR")] == "–"
    assert [row[headings.index("optimizer.lr")] for row in rows] == ["0.002", "0.001", "0.001"]
    assert cells.tags.count("svg") == 2


def test_a_real_run_is_read(make_config, tmp_path):
    best = fit(make_config("trainer.max_epochs=1"), tmp_path / "run")
    (run,) = list_runs(tmp_path)
    assert run.best_sdr == pytest.approx(best, abs=1e-4)
    assert run.steps == run.best_step > 0
    assert run.settings["model.name"] == "tfswa_tiny"
    assert set(run.stems) == {"vocals", "drums", "bass", "other"}


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda root: (root / "worse/config.yaml").write_text("model: [open"), r"run in .*worse cannot be read"),
        (lambda root: (root / "worse/config.yaml").write_text("just text"), r"run in .*worse cannot be read"),
        (lambda root: (root / "worse/csv/metrics.csv").write_text("step,val/sdr\n3,x\n"), r"worse cannot be read"),
    ],
)
def test_a_damaged_run_is_named(three, spoil, told):
    spoil(three)
    with pytest.raises(ConfigError, match=told):
        list_runs(three)


def test_folders_without_runs_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="is not a folder: give one that holds runs"):
        list_runs(tmp_path / "nothing")
    with pytest.raises(ConfigError, match=r"holds no runs, which are folders with config.yaml and csv/metrics.csv"):
        list_runs(tmp_path)
