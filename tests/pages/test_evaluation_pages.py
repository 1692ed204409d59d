"""The pages of evaluations in a browser: what they show, play and sort."""

import numpy as np
import pytest

from tests.evaluation.conftest import RATE, make_track, noise  # noqa: F401, a fixture
from tests.evaluation.records import write_result
from tfswa_unet.data import StemPlan
from tfswa_unet.evaluation import EvaluationSettings, evaluate
from tfswa_unet.evaluation.results import find_results, results_page

PLAN = StemPlan((("vocals", ("vocals",)), ("bass", ("bass",))))


@pytest.fixture(params=["sounding", "silent bass", "all silent"])
def report(request, make_track, tmp_path):  # noqa: F811
    levels = {"sounding": (0.1, 0.1), "silent bass": (0.1, 0.0), "all silent": (0.0, 0.0)}[request.param]
    stems = {"vocals": noise(0, 12, levels[0]), "bass": noise(1, 12, levels[1])}
    settings = EvaluationSettings("tiny", metrics="sdr", pictures=0)

    def separate(mixture, _rate):
        return {stem: audio + noise(5, 12, 0.03) * (audio != 0) for stem, audio in stems.items()}

    evaluate(separate, [make_track("a <b>", stems)], PLAN, tmp_path / "out", settings=settings)
    return sum(level > 0 for level in levels), tmp_path / "out" / "report.html"


@pytest.mark.parametrize("width", [1280, 390])
def test_a_report_shows_tables_pictures_and_players(report, show, width):
    scored, file = report
    page = show(file, width)
    assert [cell.inner_text() for cell in page.query_selector_all("tbody tr td:first-child")] == [
        "vocals",
        "bass",
        "average",
    ]
    assert page.locator("figure svg").count() == (2 if scored else 0)
    assert page.locator("audio").count() == 3 * scored
    page.wait_for_function("[...document.querySelectorAll('audio')].every((each) => each.readyState >= 1)")
    lengths = page.evaluate("[...document.querySelectorAll('audio')].map((each) => each.duration)")
    assert np.allclose(lengths, 10, atol=0.05)
    shown = page.evaluate("[...document.querySelectorAll('img')].map((each) => each.complete && each.naturalWidth > 0)")
    assert shown == [True] * scored
    if scored:
        assert "a <b>" in page.locator("h3").first.inner_text()
        played = "document.querySelector('audio').play().then(() => document.querySelector('audio').paused)"
        assert page.evaluate(f"(() => {{ document.querySelector('audio').muted = true; return {played}; }})()") is False
    else:
        assert "No track has a score" in page.inner_text("body")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture
def results(tmp_path):
    for name, vocals, parameters in (("large", 6.0, 9e6), ("small", 5.0, 1e6), ("poor", 4.0, 3e6)):
        tracks = {"song": {"vocals": {"SDR": vocals, "LSD": 9 - vocals}, "bass": {"SDR": None, "LSD": 3.0}}}
        write_result(tmp_path / "runs" / name, tracks, model=name, parameters=int(parameters))
    write_result(tmp_path / "runs" / "else", {"song": {"vocals": {"SDR": 1.0}}}, model="else", data="others")
    file = tmp_path / "results.html"
    file.write_text(results_page(tmp_path / "runs", find_results(tmp_path / "runs")), encoding="utf-8")
    return file


def column(page, number):
    return [cell.inner_text() for cell in page.query_selector_all(f"tbody tr:visible td:nth-child({number})")]


@pytest.mark.parametrize("width", [1280, 390])
def test_results_are_chosen_sorted_and_drawn(results, show, width):
    page = show(results, width)
    page.select_option("#data", "songs, test, 1 tracks")
    page.get_by_role("button", name="vocals").click()
    assert list(zip(column(page, 1), column(page, 5), strict=True)) == [
        ("large", "6.00"),
        ("small", "5.00"),
        ("poor", "4.00"),
    ]
    assert page.locator("#pareto circle").count() == 3
    assert len(page.get_attribute("#pareto polyline", "points").split()) == 2  # "poor" is beaten in both
    page.select_option("#metric", "LSD")
    assert column(page, 5) == ["3.00", "4.00", "5.00"]
    # Less is better here, so that the front joins the lowest.
    assert len(page.get_attribute("#pareto polyline", "points").split()) == 2
    page.select_option("#stem", "bass")
    assert not page.locator("th[data-stem=vocals]").is_visible()
    page.select_option("#cost", "rtf")
    assert "nothing to draw" in page.text_content("#pareto")
    assert "3 of 3 models do not tell" in page.inner_text("#missing")
    page.select_option("#data", "")
    page.select_option("#metric", "SDR")
    assert "large" not in column(page, 1)  # it has no SDR of the bass
    page.select_option("#stem", "")
    assert {"large", "else"} < set(column(page, 1))
    assert page.locator("tr.published:visible").count() > 5
