"""The page of training runs in a browser."""

import yaml

from tfswa_unet.training.runs import list_runs, runs_page


def test_runs_are_listed_sorted_and_drawn(show, tmp_path):
    for name, lr, score in (("first", 0.001, 4.25), ("second", 0.002, 6.5)):
        folder = tmp_path / "runs" / name
        (folder / "csv").mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump({"model": {"name": "tiny"}, "optimizer": {"lr": lr}}))
        (folder / "csv" / "metrics.csv").write_text(f"step,train/loss,val/sdr\n9,1.0,\n9,,{score}\n19,0.5,\n19,,3.0\n")
    (tmp_path / "runs.html").write_text(runs_page(tmp_path / "runs", list_runs(tmp_path / "runs")), encoding="utf-8")
    page = show(tmp_path / "runs.html", 390)
    names = [cell.inner_text() for cell in page.query_selector_all("tbody td:first-child")]
    assert names == ["second", "first"]
    page.get_by_role("button", name="run", exact=True).click()
    assert [cell.inner_text() for cell in page.query_selector_all("tbody td:first-child")] == ["first", "second"]
    assert page.locator("figure svg").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
