from __future__ import annotations

import json

import numpy as np
import pytest

from tests.songs.conftest import beat
from tfswa_unet.data import tempo_key
from tfswa_unet.data.cache import PcmCache
from tfswa_unet.data.tempo_key import Key, TempoKey, estimate_key, estimate_tempo_key, estimate_tempo_keys
from tfswa_unet.errors import AudioError

RATE = 11_025
MAJOR, MINOR = (0, 4, 7), (0, 3, 7)


def chord(root: int, triad, seconds: float = 1.0) -> np.ndarray:
    """A triad on a tone `root` semitones above C4, three partials a tone, (1, t)."""
    t = np.arange(round(seconds * RATE)) / RATE
    tones = [440 * 2 ** ((root - 9 + step) / 12) for step in triad]
    return sum(0.1 / k * np.sin(2 * np.pi * k * tone * t) for tone in tones for k in (1, 2, 3))[None].astype(np.float32)


def cadence(key: Key) -> np.ndarray:
    """I IV V I, in minor with the major dominant."""
    own = MINOR if key.minor else MAJOR
    chords = [(0, own), (5, own), (7, MAJOR), (0, own)]
    return np.concatenate([chord((key.tonic + root) % 12, triad) for root, triad in chords], axis=1)


KEYS = [Key(tonic, minor) for minor in (False, True) for tonic in range(12)]


@pytest.mark.parametrize("key", KEYS)
def test_the_key_of_a_cadence_is_found(key):
    assert estimate_key(cadence(key), RATE) == key


@pytest.mark.parametrize("key", [Key(0, False), Key(9, True), Key(6, False)])
def test_the_key_of_a_triad_is_found_under_noise_and_at_another_rate_and_level(key):
    triad = chord(key.tonic, MINOR if key.minor else MAJOR, 6)
    assert estimate_key(triad, RATE) == key
    hiss = 0.05 * np.random.default_rng(0).standard_normal(triad.shape).astype(np.float32)
    assert estimate_key(triad + hiss, RATE) == key
    assert estimate_key(np.repeat(1e-3 * triad, 4, axis=1), 4 * RATE) == key


def test_no_key_where_no_tone_stands_out():
    rng = np.random.default_rng(1)
    assert estimate_key(np.zeros((2, 5 * RATE), np.float32), RATE) is None
    assert estimate_key(np.zeros((1, 10), np.float32), RATE) is None
    assert estimate_key(rng.standard_normal((2, 60 * RATE)).astype(np.float32), RATE) is None
    every = np.concatenate([chord(k, (0,)) for k in range(12)], axis=1)
    assert estimate_key(every, RATE) is None


def test_the_circle_of_fifths_begins_at_c_major_and_a_minor():
    assert [key.fifths for key in (Key(0, False), Key(7, False), Key(2, False), Key(5, False))] == [0, 1, 2, 11]
    assert [key.fifths for key in (Key(9, True), Key(4, True), Key(2, True))] == [0, 1, 11]
    assert sorted(key.fifths for key in KEYS) == sorted([*range(12)] * 2)


SONGS = {"slow": (90, Key(0, False)), "fast": (140, Key(9, True))}


@pytest.fixture
def tracks(make_track):
    """Songs of noise hits and a cadence, of known tempo and key."""

    def song(name, bpm, key):
        drums = beat(bpm, bpm // 6, RATE)
        other = np.tile(cadence(key), 3)[:, : drums.shape[1]]
        return make_track(name, {"drums": np.repeat(drums, 2, axis=0), "other": other}, RATE)

    return [song(name, *facts) for name, facts in SONGS.items()]


def check(found):
    for one, (bpm, key) in zip(found, SONGS.values(), strict=True):
        assert one.tempo == pytest.approx(bpm, rel=0.01)
        assert one.key == key


def test_tempo_and_key_of_a_track_are_found_in_its_stems(tracks):
    alone = [estimate_tempo_key(track) for track in tracks]
    check(alone)
    assert estimate_tempo_keys(tracks) == alone


def test_processes_find_the_same(tracks):
    assert estimate_tempo_keys(tracks, workers=2) == estimate_tempo_keys(tracks, workers=1)


def test_what_is_known_is_not_estimated_again(tracks, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    cached = PcmCache(folder, RATE, 2).build(tracks, workers=1).tracks
    told = []
    found = estimate_tempo_keys(cached, folder, on_progress=lambda *args: told.append(args))
    check(found)
    assert told == [("listening", 1, 2), ("listening", 2, 2)]
    assert sorted(path.name for path in folder.iterdir() if path.suffix == ".json") == ["index.json", "music.json"]
    moved = folder.rename(tmp_path / "moved")
    cached = PcmCache(moved, RATE, 2).build(tracks, workers=1).tracks
    monkeypatch.setattr(tempo_key, "estimate_tempo_key", lambda track: pytest.fail(f"{track.name} estimated again"))
    assert estimate_tempo_keys(cached[::-1], moved) == found[::-1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 1, "tracks": {"x": {"tempo": 0, "key": null}}}',
        '{"format": 0, "tracks": {}}',
        '{"format": 1, "tracks": {"x": {"tempo": 1, "key": {"tonic": 15, "minor": 0}}}}',
    ],
)
def test_a_damaged_memory_is_found_anew_and_others_findings_stay(tracks, tmp_path, text):
    folder = tmp_path / "cache"
    cached = PcmCache(folder, RATE, 2).build(tracks, workers=1).tracks
    (folder / "music.json").write_text(text)
    check(estimate_tempo_keys(cached, folder))
    check(estimate_tempo_keys(cached[:1], folder) + estimate_tempo_keys(cached[1:], folder))
    stored = json.loads((folder / "music.json").read_text())["tracks"]
    assert len(stored) == 2


def test_a_track_that_cannot_be_read_is_refused_or_unknown(tracks, tmp_path):
    (tmp_path / "fast" / "other.wav").write_bytes(b"nothing")
    with pytest.raises(AudioError, match=r"other\.wav"):
        estimate_tempo_keys(tracks)
    found = estimate_tempo_keys(tracks, tmp_path / "cache", on_error="skip")
    assert found[1] == TempoKey(None, None)
    assert found[0].key == Key(0, False)
    assert len(json.loads((tmp_path / "cache" / "music.json").read_text())["tracks"]) == 1
