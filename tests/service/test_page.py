"""The page of a service in a browser: songs in, progress, stems to hear and to take."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.service.conftest import sound
from tfswa_unet import audio

STATE = "() => [...rows.values()][0].player.state()"


@pytest.fixture
def page(chromium, served, request, tmp_path):
    """Open the page at a width; the console has to stay empty."""
    troubles, opened = [], []

    def open_page(width):
        page = chromium.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: troubles.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        for job in served.client.get("/v1/jobs").json():
            served.client.delete(f"/v1/jobs/{job['id']}")
        page.goto(served.url)
        opened.append(page)
        return page

    yield open_page
    said = list(troubles)  # a screenshot's own style is refused by the page's policy
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(opened):
        each.screenshot(path=folder / f"{request.node.name}-{number}.png", full_page=True)
        each.close()
    assert said == []


def until(view, true, seconds=20):
    """Wait for what is true in the page, whose policy refuses the polling of wait_for_function."""
    deadline = time.monotonic() + seconds
    while not view.evaluate(true):
        assert time.monotonic() < deadline, true
        view.wait_for_timeout(50)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_song_is_separated_heard_and_taken(page, tmp_path, width):
    song = tmp_path / "<img src=x onerror=document.title='bad'>.wav"
    audio.write(song, sound(3), 44_100, "wav16")
    view = page(width)
    view.locator("#files").set_input_files(song)
    view.get_by_role("button", name="Listen").click(timeout=60_000)
    assert view.locator("#jobs .name").inner_text() == song.name
    assert view.title() == "Stems"
    view.get_by_role("button", name="Play").click(timeout=60_000)
    until(view, f"({STATE})().at > 0.2")
    view.get_by_role("button", name="mute drums").click()
    view.get_by_role("slider", name="volume of bass").fill("0.5")
    gains = view.evaluate(STATE)["gains"]
    assert gains == {"vocals": 1, "drums": 0, "bass": 0.5, "other": 1}
    view.get_by_role("button", name="solo vocals").click()
    assert view.evaluate(STATE)["gains"] == {"vocals": 1, "drums": 0, "bass": 0, "other": 0}
    box = view.get_by_role("img", name="waveform of vocals").bounding_box()
    view.mouse.move(box["x"] + box["width"] / 3, box["y"] + 10)
    view.mouse.down()
    view.mouse.move(box["x"] + box["width"] * 2 / 3, box["y"] + 10)
    view.mouse.up()
    state = view.evaluate(STATE)
    assert state["loop"] == pytest.approx([1, 2], abs=0.1)
    view.wait_for_timeout(1500)
    assert 0.9 < view.evaluate(STATE)["at"] < 2.1
    view.get_by_role("button", name="Pause").click()
    with view.expect_download() as download:
        view.get_by_role("link", name="vocals").click()
    assert download.value.suggested_filename.endswith("(vocals).flac")
    assert audio.probe(download.value.path()).length == 3 * 44_100
    assert view.evaluate("document.documentElement.scrollWidth") <= width


def test_a_job_is_cancelled_and_a_bad_file_is_named(page, tmp_path):
    long, bad = tmp_path / "long.wav", tmp_path / "bad.mp3"
    audio.write(long, sound(200), 44_100, "wav16")
    bad.write_bytes(b"nothing" * 99)
    view = page(1280)
    view.locator("#files").set_input_files([long, bad])
    view.locator("li", has_text="long.wav").get_by_role("button", name="Cancel").click()
    view.locator("li", has_text="bad.mp3").locator(".state", has_text="bad.mp3: ").wait_for(timeout=60_000)
    assert view.locator("#jobs > li").count() == 1
    view.get_by_role("button", name="Delete").click()
    until(view, "document.querySelectorAll('#jobs > li').length === 0")


@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_accessible_in_every_state(page, accessible, tmp_path, width):
    song, bad = tmp_path / "song.wav", tmp_path / "bad.mp3"
    audio.write(song, sound(3), 44_100, "wav16")
    bad.write_bytes(b"nothing" * 99)
    view = page(width)
    view.get_by_text("Songs of up to").wait_for()
    accessible(view)
    view.evaluate("say('Sign in with a token.'); document.getElementById('login').hidden = false")
    accessible(view)
    view.locator("#files").set_input_files([song, bad])
    view.locator("li", has_text="song.wav").locator("progress").wait_for()
    accessible(view)
    view.locator("li", has_text="bad.mp3").locator(".state", has_text="bad.mp3: ").wait_for(timeout=60_000)
    view.get_by_role("button", name="Listen").click(timeout=60_000)
    view.get_by_role("button", name="Play").wait_for(timeout=60_000)
    view.get_by_role("button", name="solo vocals").click()
    accessible(view)
