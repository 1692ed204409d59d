"""A song goes into the page of web/ and its stems come out, play, and are downloaded."""

import functools
import http.server
import re
import threading

import numpy as np
import pytest
import torch
from scipy.signal import correlate

from tests.web.conftest import MODEL, OVERLAP, RATE, SECONDS, SEGMENT
from tfswa_unet import audio
from tfswa_unet.cli import main
from tfswa_unet.export.parity import snr
from tfswa_unet.inference.overlap_add import Cutter, Joiner, Segmentation
from tfswa_unet.processes import processors
from tfswa_unet.types import STEMS

pytestmark = pytest.mark.slow  # drives a browser
# What each stem sounds like at one moment, and where the page says the song is.
LISTEN = """async () => {
  const { player } = (await import('./app.js')).mixer;
  const ears = player.channels.map(({ gain }) => {
    const ear = new AnalyserNode(player.context, { fftSize: 8192 });
    gain.connect(ear);
    return ear;
  });
  await new Promise((resolve) => setTimeout(resolve, 1200));
  const heard = ears.map((ear) => {
    const samples = new Float32Array(ear.fftSize);
    ear.getFloatTimeDomainData(samples);
    return [...samples];
  });
  return [heard, player.position];
}"""
# What is heard from 3 s on: the first stem muted, the second at half its volume, or the third alone.
RENDER = """async (change) => {
  const { Player } = await import('./player.js');
  const buffers = (await import('./app.js')).mixer.player.channels.map(({ buffer }) => buffer);
  const player = new Player(new OfflineAudioContext(2, 16000, 16000), buffers);
  player.seek(3);
  change.forEach(([index, values]) => player.set(index, values));
  player.play();
  const sound = await player.context.startRendering();
  return [0, 1].map((c) => [...sound.getChannelData(c)]);
}"""
JOIN = """async ([total, facts]) => {
  const { add, places, segmentation } = await import('./overlap_add.js');
  const plan = segmentation(facts);
  const stem = new Float32Array(total);
  const found = places(total, plan);
  found.forEach(({ skip, length }, k) => {
    const output = Float32Array.from({ length: plan.size }, (_, i) => Math.sin(7 * k + 0.1 * i));
    add(stem, output.subarray(skip, skip + length), k * plan.hop, plan);
  });
  return [found, [...stem]];
}"""


def separate(page, song):
    page.set_input_files("#file", song)
    page.get_by_role("button", name="Play").wait_for()


def stems_of(page, folder):
    """The stems that the page gives, (c, t) by name."""
    found = {}
    for stem in STEMS:
        with page.expect_download() as started:
            page.get_by_role("button", name=f"Download {stem} as wav").click()
        path = folder / started.value.suggested_filename
        started.value.save_as(path)
        assert path.name == f"a song - {stem}.wav"
        assert audio.probe(path).rate == RATE
        found[stem] = audio.read(path)
    return found


@pytest.fixture(scope="session")
def expected(song, tmp_path_factory):
    """What `tfswa separate` makes of the song."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'tfswa-unet[onnx]'")
    out = tmp_path_factory.mktemp("separated")
    options = ["--segment", str(SEGMENT), "--overlap", str(OVERLAP), "--threads", "1", "--quiet"]
    assert main(["separate", str(song), "--model", str(MODEL), "-o", str(out), *options]) == 0
    return {stem: audio.read(out / "a song" / f"{stem}.wav") for stem in STEMS}


def check(stems, expected):
    for stem in STEMS:
        assert stems[stem].shape == expected[stem].shape
        assert snr(torch.from_numpy(expected[stem]), torch.from_numpy(stems[stem])) > 100, stem


def test_stems_are_those_of_separate_and_play_in_sync(visit, song, expected, tmp_path):
    page = visit()
    assert page.evaluate("crossOriginIsolated")
    cores = page.evaluate("Math.min(8, navigator.hardwareConcurrency)")
    assert f"WebAssembly, {cores} thread" in page.locator("#engine").inner_text()
    separate(page, song)
    check(stems_of(page, tmp_path), expected)
    page.get_by_role("button", name="Play").click()
    heard, position = page.evaluate(LISTEN)
    page.get_by_role("button", name="Pause").click()
    places = []
    for stem, samples in zip(STEMS, heard, strict=True):
        whole, part = expected[stem].mean(0), np.array(samples)
        assert part.any()
        place = int(correlate(whole, part, "valid", "fft").argmax())
        assert snr(torch.from_numpy(whole[place : place + len(part)]), torch.from_numpy(part)) > 40, stem
        places.append(place)
    assert max(places) - min(places) <= 256, places  # what the browser hands over in one piece
    assert abs((places[0] + len(heard[0])) / RATE - position) < 0.25


@pytest.fixture
def plainly_served(site):
    """Serve the page's folder without its headers, as other hosts do; gives its address."""

    class Plain(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Plain, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_without_headers_and_worker_it_runs_on_one_thread(visit, plainly_served, song, expected, tmp_path):
    page = visit(address=plainly_served, service_workers="block")
    assert "WebAssembly, 1 thread" in page.locator("#engine").inner_text()
    separate(page, song)
    check(stems_of(page, tmp_path), expected)


@pytest.mark.skipif(processors() == 1, reason="there is one processor")
def test_on_a_host_without_headers_the_page_gives_itself_threads(visit, plainly_served):
    visit(address=plainly_served).get_by_text(re.compile(r"WebAssembly, \d+ threads")).wait_for()


def test_it_works_offline_after_the_first_load(visit, song):
    page = visit()
    page.get_by_text("It works without a network from now on.").wait_for()
    page.context.set_offline(True)
    page.reload()
    page.get_by_text("Ready: it gives").wait_for()
    separate(page, song)
    assert page.get_by_role("img", name="Waveform of drums").is_visible()


def test_what_plays_is_the_sum_of_what_is_heard(visit, song, expected):
    page = visit()
    separate(page, song)
    late = int(0.05 * RATE)  # until the stems begin
    for change, gains in (
        ([], [1, 1, 1, 1]),
        ([[0, {"muted": True}], [1, {"volume": 0.5}]], [0, 0.5, 1, 1]),
        ([[2, {"solo": True}], [0, {"muted": True}]], [0, 0, 1, 0]),
        ([[0, {"solo": True, "muted": True}]], [1, 0, 0, 0]),
    ):
        sound = np.array(page.evaluate(RENDER, change))
        assert not sound[:, :late].any()
        mix = sum(gain * expected[stem] for gain, stem in zip(gains, STEMS, strict=True))
        played = torch.from_numpy(sound[:, late:])
        assert snr(torch.from_numpy(mix[:, 3 * RATE :][:, : played.shape[1]]), played) > 80, gains


def test_segments_and_weights_are_those_of_separate(visit):
    page = visit()
    facts = {"rate": 100, "segment_seconds": 6.0, "overlap_seconds": 1.0}
    plan = Segmentation.from_seconds(100, 6.0, 1.0, None)
    for total in (0, 1, 599, 600, 601, 1_100, 1_101, 1_150, 2_345):
        found, stem = page.evaluate(JOIN, [total, facts])
        cutter, joiner = Cutter(plan), Joiner(plan)
        segments = cutter.push(np.arange(total, dtype=np.float64)[None]) + cutter.flush()
        assert [(each["skip"], each["length"]) for each in found] == [(each.skip, each.length) for each in segments]
        starts = [int(each.audio[0, 0]) for each in segments]
        assert [each["start"] for each in found] == starts
        ramp = 0.1 * torch.arange(plan.size, dtype=torch.float64)
        parts = [
            joiner.push((7 * k + ramp).sin().float()[each.skip : each.skip + each.length])
            for k, each in enumerate(segments)
        ]
        if parts:
            joined = torch.cat([*parts, joiner.flush()])
            assert joined.numpy() == pytest.approx(np.array(stem), abs=1e-6)


def test_keys_and_a_screen_reader_reach_everything(visit, song):
    page = visit(width=390)
    separate(page, song)
    assert page.evaluate("document.activeElement.textContent") == "Play"
    assert page.get_by_role("status").inner_text().startswith("a song is separated, in ")
    page.keyboard.press("Space")
    page.get_by_role("button", name="Pause").wait_for()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    seek = page.get_by_role("slider", name="Position in the song")
    assert seek.get_attribute("aria-valuetext") in ("0:05 of 0:07", "0:06 of 0:07", "0:07 of 0:07")
    for stem in STEMS:
        row = page.get_by_role("listitem", name=stem)
        names = [page.evaluate("document.activeElement.getAttribute('aria-label')") for _ in range(4) if _tab(page)]
        assert names == [f"Mute {stem}", f"Solo {stem}", f"Volume of {stem}", f"Download {stem} as wav"]
        assert row.get_by_role("img", name=f"Waveform of {stem}").is_visible()
    mute = page.get_by_role("button", name="Mute drums")
    mute.press("Enter")
    assert mute.get_attribute("aria-pressed") == "true"
    volume = page.get_by_role("slider", name="Volume of drums")
    volume.press("Home")
    assert volume.get_attribute("aria-valuetext") == "0 %"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_accessible_in_every_state(visit, accessible, song, tmp_path, width):
    page = visit(width=width)
    accessible(page)
    (tmp_path / "notes.txt").write_text("no song")
    page.set_input_files("#file", tmp_path / "notes.txt")
    page.get_by_text("cannot be read by this browser").wait_for()
    accessible(page)
    long = tmp_path / "long.wav"
    audio.write(long, np.tile(audio.read(song), (1, 20)), RATE, "wav16")
    page.set_input_files("#file", long)
    page.get_by_text(" left").wait_for()
    accessible(page)
    page.get_by_role("button", name="Stop").click()
    separate(page, song)
    page.get_by_role("button", name="Solo vocals").click()
    accessible(page)


def _tab(page):
    page.keyboard.press("Tab")
    return True


def test_waveforms_are_drawn_and_progress_is_told(visit, song):
    page = visit()
    told = """() => {
      window.told = [];
      const left = document.getElementById('left');
      new MutationObserver(() => window.told.push(left.textContent)).observe(left, { childList: true });
    }"""
    page.evaluate(told)
    separate(page, song)
    assert [line.split(" ")[0] for line in page.evaluate("window.told") if line] == ["33", "67", "100"]
    assert page.evaluate("window.told").pop() == "100 %, 0:00 left"
    painted = """(canvas) => {
      const { data, width, height } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const column = (x) => [...Array(height).keys()].filter((y) => data[4 * (y * width + x) + 3] > 0).length;
      return [column(2), column(Math.floor(width / 2))];
    }"""
    silent, loud = page.get_by_role("img", name="Waveform of vocals").evaluate(painted)
    assert silent <= 2 < loud  # its first half second is silent


def test_a_song_can_be_stopped_and_another_taken(visit, song, expected, tmp_path):
    long = tmp_path / "long.wav"
    audio.write(long, np.tile(audio.read(song), (1, 20)), RATE, "wav16")
    page = visit()
    page.set_input_files("#file", long)
    page.get_by_text("% , ").or_(page.get_by_text(" left")).first.wait_for()
    page.get_by_role("button", name="Stop").click()
    assert page.get_by_role("status").inner_text() == "Stopped."
    separate(page, song)
    check(stems_of(page, tmp_path), expected)


def test_what_cannot_be_separated_is_told_in_a_sentence(visit, tmp_path):
    (tmp_path / "notes.txt").write_text("no song")
    audio.write(tmp_path / "three.wav", np.zeros((3, RATE), np.float32), RATE)
    page = visit()
    for name, sentence in {
        "notes.txt": "notes.txt cannot be read by this browser: choose a wav, flac, mp3, m4a or ogg file.",
        "three.wav": "three.wav has 3 channels, the model separates 2 (or 1): mix it down first.",
    }.items():
        page.set_input_files("#file", tmp_path / name)
        page.get_by_text(sentence).wait_for()
        assert page.get_by_role("alert").inner_text() == sentence


def test_one_channel_stays_one_channel(visit, song, tmp_path):
    mono = tmp_path / "a song.wav"
    audio.write(mono, audio.read(song)[:1], RATE)
    page = visit()
    separate(page, mono)
    stems = stems_of(page, tmp_path)
    assert {stem.shape for stem in stems.values()} == {(1, int(SECONDS * RATE))}
