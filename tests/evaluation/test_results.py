"""Evaluations found in folders, and the page of them."""

import json
import re

import pytest

from tests.evaluation.records import write_result
from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.results import find_results, read_result, results_page

SONG = {"song": {"vocals": {"SDR": 3.0, "uSDR": 4.0}, "bass": {"SDR": None, "uSDR": 1.0}}}
MIXTURE = {"mixture": {"song": {"vocals": {"SDR": -3.0, "uSDR": -4.0}, "bass": {"SDR": None, "uSDR": -1.0}}}}


def rows(page):
    """Cells of the page's lines, those of scores as metric → dB."""
    found = []
    for line in re.findall(r"<tr class=.*?</tr>", page, re.DOTALL):
        texts = re.findall(r"<td>(.*?)</td>", line)
        scores = [json.loads(text.replace("&#34;", '"')) for text in re.findall(r'data-scores="(.*?)"', line)]
        found.append((texts, scores, re.findall(r'data-value="(.*?)"', line)))
    return found


def test_results_are_found_below_a_folder_and_named_by_it(tmp_path):
    for name in ("b/scores", "a"):
        write_result(tmp_path / name, SONG)
    assert [result.name for result in find_results(tmp_path)] == ["a", "b/scores"]
    assert read_result(tmp_path / "a" / "scores.json").name == "a"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": "m"}', '{"scores": 3}'])
def test_what_holds_no_scores_is_refused_by_name(tmp_path, text):
    (tmp_path / "scores.json").write_text(text)
    with pytest.raises(ConfigError, match=r"scores.json holds no scores .* give the folder of an evaluation"):
        find_results(tmp_path)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no evaluations"):
        find_results(tmp_path)
    with pytest.raises(ConfigError, match="is not a folder"):
        find_results(tmp_path / "none")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_result(tmp_path / "none")


def test_a_page_has_a_line_a_model_and_one_a_reference(tmp_path):
    for name in ("one", "two"):
        write_result(tmp_path / name, SONG, model=f"model <{name}>", references=MIXTURE)
    (tmp_path / "one" / "speed.json").write_text('{"real_time_factor": 0.25}')
    page = results_page(tmp_path, find_results(tmp_path), published=False)
    (one, mixture, two) = rows(page)
    assert one[0] == ["model &lt;one&gt;", "model", "songs, test, 1 tracks", "one"]
    assert one[1] == [{"SDR": 3.0, "uSDR": 4.0}, {"uSDR": 1.0}, {"SDR": 3.0, "uSDR": 2.5}]
    assert one[2] == ["1000", "0.25"]
    assert mixture[0][:2] == ["mixture", "reference"]
    assert mixture[1][0] == {"SDR": -3.0, "uSDR": -4.0}
    assert two[2] == ["1000", ""]


def test_published_scores_are_marked_and_in_their_own_metric(tmp_path):
    write_result(tmp_path / "one", SONG)
    published = [line for line in rows(results_page(tmp_path, find_results(tmp_path))) if line[0][1] == "published"]
    assert len(published) > 10
    assert all("as published" in texts[2] for texts, _, _ in published)
    assert all(len(set().union(*scores)) == 1 for _, scores, _ in published)
