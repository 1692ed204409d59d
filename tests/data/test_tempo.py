from __future__ import annotations

import numpy as np
import pytest

from tests.songs.conftest import beat
from tfswa_unet.data.tempo import estimate_tempo, tempo_in_name


@pytest.mark.parametrize(
    ("name", "bpm"),
    [
        ("Funk Loop 120bpm", 120),
        ("bass_96 BPM_Am", 96),
        ("BPM-87.5 pad", 87.5),
        ("110-bpm", 110),
        ("2120bpm", None),
        ("kick 120", None),
        ("999bpm", None),
        ("808", None),
    ],
)
def test_a_tempo_is_read_from_a_name(name, bpm):
    assert tempo_in_name(name) == bpm


@pytest.mark.parametrize("bpm", [83.5, 90, 97, 105, 118, 128, 140, 155])
@pytest.mark.parametrize("beats", [4, 16])
def test_a_tempo_is_found_from_onsets(bpm, beats):
    assert estimate_tempo(beat(bpm, beats, 22_050), 22_050) == pytest.approx(bpm, abs=0.1)


@pytest.mark.parametrize(("bpm", "octave"), [(60, 120), (72, 144), (174, 87)])
def test_very_slow_and_fast_loops_are_found_an_octave_off(bpm, octave):
    assert estimate_tempo(beat(bpm, 16, 22_050), 22_050) == pytest.approx(octave, abs=0.1)


def test_no_tempo_where_nothing_comes_back():
    t = np.arange(3 * 22_050) / 22_050
    assert estimate_tempo(np.zeros((2, 66_150), np.float32), 22_050) is None
    swell = np.sin(2 * np.pi * 220 * t) * np.hanning(len(t))
    assert estimate_tempo(swell[None].astype(np.float32), 22_050) is None
    assert estimate_tempo(beat(120, 2, 22_050), 22_050) is None
