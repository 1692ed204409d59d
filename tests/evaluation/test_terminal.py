"""What an evaluation shows on a terminal, and where there is none."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from tfswa_unet.evaluation import terminal
from tfswa_unet.evaluation.bsseval import METRICS, TrackScores
from tfswa_unet.evaluation.measures import WHOLE
from tfswa_unet.evaluation.report import MODEL, Scores, aggregate
from tfswa_unet.evaluation.scorer import Scored
from tfswa_unet.evaluation.terminal import LiveScores, tables

FOUR = ("vocals", "drums", "bass", "other")
SIX = ("vocals", "drums", "bass", "guitar", "piano", "accompaniment")
WINDOWS = {"window_seconds": 1.0}
REFERENCES = ("mixture", "irm", "ibm", "mwf", "equaliser")


def track(value, stems=FOUR, name="song", metrics=METRICS, whole=tuple(WHOLE), null=-35.04):
    frames = {stem: {metric: np.full(240, value + i) for i, metric in enumerate(metrics)} for stem in stems}
    measures = {measure: dict.fromkeys(stems, value - 1 - i) for i, measure in enumerate(whole)}
    return TrackScores(name, frames, measures, (), null)


def scores(stems=FOUR, others=REFERENCES, **changes):
    values = {MODEL: 6.5, "mixture": -14.25} | {name: 9.0 for name in others if name != "mixture"}
    methods = {name: aggregate([track(values[name], stems, **changes)] * 50) for name in (MODEL, *others)}
    return Scores(methods, {"model": "tfswa_tiny", "data": "musdb18hq", "split": "test", "metric": WINDOWS})


def printed(found, width=80):
    console = Console(width=width, file=io.StringIO())
    for part in tables(found):
        console.print(part)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("stems", [FOUR, SIX])
def test_tables_fit_eighty_columns_with_every_measure_and_reference(stems):
    lines = [line.rstrip() for line in printed(scores(stems))]
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 2 * (len(stems) + 7)
    assert lines[0] == "tfswa_tiny on musdb18hq, test: dB"
    assert lines[1].split() == ["stem", *METRICS, "uSDR", "SI-SDR", "LSD↓", "NMR↓", "leakage↓"]
    row = ["6.50", "7.50", "8.50", "9.50", "5.50", "4.50", "3.50", "2.50", "1.50"]
    assert [line.split() for line in lines if line.split()[1:] == row] == [[each, *row] for each in (*stems, "average")]
    assert "↓ lower is better; null error of the sum -35.0 dB (median over tracks)" in lines
    (heading,) = (line for line in lines if "gain " in line)
    assert heading.split() == ["stem", "SDR", "gain", *REFERENCES, "no", "score"]
    rows = [line.split() for line in lines if "+20.75" in line]
    assert [each[0] for each in rows] == [*stems, "average"]
    assert rows[0][1:] == ["6.50", "+20.75", "-14.25", "9.00", "9.00", "9.00", "9.00", "0/12000"]
    assert rows[-1][-1] == f"0/{12_000 * len(stems)}"


def test_what_was_not_measured_has_no_column():
    text = "\n".join(printed(scores(others=(), metrics=("SDR",), whole=("uSDR",), null=None)))
    assert re.findall(r"^stem +(.*)$", text, re.MULTILINE)[0].split() == ["SDR", "uSDR"]
    for word in ("ISR", "LSD", "lower", "null", "gain", "mixture"):
        assert word not in text
    assert "no score" in text


def test_a_stem_without_scores_has_a_dash():
    found = aggregate([track(np.nan)])
    text = "\n".join(printed(Scores({MODEL: found}, {"model": "m", "data": None, "split": "valid", "metric": WINDOWS})))
    assert "m on tracks, valid" in text
    assert "nan" not in text
    assert re.search(r"^vocals +– +–", text, re.MULTILINE)
    assert "240/240" in text


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    return now


def steps(values, recalled=0):
    """Every track by the model and one reference; the first so many tracks from an earlier run."""
    total, done = 2 * len(values), 0
    for number, value in enumerate(values):
        for method in (MODEL, "mixture"):
            done += 1
            yield Scored(method, track(value, name=f"song {number}"), done, total, min(done, 2 * recalled))


def test_without_a_terminal_each_track_is_a_line_with_medians_and_time_left(clock):
    console = Console(file=io.StringIO(), width=40)
    with LiveScores("m", 2, console) as live:
        for step in steps([1.0, 5.0, 3.5, 2.0], recalled=2):
            clock[0] += 0 if step.done <= 4 else 60
            live.show(step)
    lines = console.file.getvalue().splitlines()
    so_far = "SDR so far vocals {0}, drums {0}, bass {0}, other {0}, average {0}"
    assert lines == [
        f"track 1 of 4, song 0: {so_far.format('1.00')}",
        f"track 2 of 4, song 1: {so_far.format('3.00')}",
        f"track 3 of 4, song 2: {so_far.format('3.50')}; about 3 min left",
        f"track 4 of 4, song 3: {so_far.format('2.75')}; about 60 s left",
    ]


def test_on_a_terminal_a_table_of_medians_is_renewed_and_leaves_nothing(clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=40)
    with LiveScores("tfswa_tiny", 2, console) as live:
        for step in steps([1.0, 5.0, 3.5]):
            clock[0] += 10
            live.show(step)
            live.live.refresh()
        shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
    last = shown[shown.rindex("tfswa_tiny, so far") :]
    assert re.search(r"vocals +3\.50 +4\.50", last)
    assert "3/3" in last
    assert re.search(r"1/3.*about 50 s left", shown)
    assert not live.live.is_started


def test_the_bar_is_taken_away_when_scoring_fails(clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    live = LiveScores("m", 1, console)
    with pytest.raises(ZeroDivisionError), live:
        raise ZeroDivisionError
    assert not live.live.is_started
