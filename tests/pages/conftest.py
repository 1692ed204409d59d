"""A headless Chromium for tests of pages, where one is installed."""

import os
import shutil
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@pytest.fixture(scope="session")
def chromium():
    """The browser; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make browser")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("Chromium is not installed: make browser")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def show(chromium, request, tmp_path):
    """Open a page file without a network, and see at the end that the console stayed empty.

    Screenshots are kept below the folder that SCREENSHOTS names, else with the test's own files.
    """
    troubles, pages = [], []
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)

    def show(file, width=1280):
        page = chromium.new_page(viewport={"width": width, "height": 900})
        page.context.set_offline(True)
        page.on("console", lambda message: troubles.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(Path(file).resolve().as_uri())
        pages.append(page)
        return page

    yield show
    for number, page in enumerate(pages):
        page.screenshot(path=folder / f"{request.node.name}-{number}.png", full_page=True)
        page.close()
    assert troubles == []
