"""A page file in the browser, without a network."""

import os
from pathlib import Path

import pytest


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
