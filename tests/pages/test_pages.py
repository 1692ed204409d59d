"""Pages stand alone, and what they show cannot become part of them."""

import re

import pytest
from jinja2 import UndefinedError
from matplotlib.figure import Figure

from tfswa_unet.pages import page, picture

RUNS = {"title": "t", "root": "r", "runs": [], "stems": [], "differing": [], "pictures": []}


def test_values_are_text():
    assert "<script>alert" not in page("runs.html", **{**RUNS, "title": "<script>alert(1)</script>"})


def test_a_value_that_is_missing_is_an_error():
    with pytest.raises(UndefinedError, match="root"):
        page("runs.html", **{name: value for name, value in RUNS.items() if name != "root"})


def test_a_page_asks_for_nothing_from_elsewhere():
    figure = Figure()
    figure.subplots().plot([0, 1], [0, 1])
    text = page("runs.html", **{**RUNS, "pictures": [("curve", picture(figure))]})
    assert "<svg" in text
    links = re.findall(r"""(?:src|href)\s*=\s*["']([^"'#][^"']*)""", text)
    assert [link for link in links if not link.startswith("data:")] == []
    assert "@import" not in text
    assert "url(http" not in text


def test_the_same_figure_gives_the_same_picture():
    def drawn():
        figure = Figure()
        figure.subplots().plot([0, 1], [0, 2], label="a")
        return picture(figure)

    assert drawn() == drawn()
