from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.songs.conftest import RATE, burst, harmonics, peak_pitch
from tfswa_unet.data.tempo_key import Key
from tfswa_unet.songs.passages import (
    TUNINGS,
    album_stretches,
    draw_source,
    excerpt_stretches,
    fitted,
    sung_notes,
    sung_phrases,
)
from tfswa_unet.songs.recordings import Instrument, Note, Passage, load, scan

C_MAJOR = Key(0, minor=False)
MINOR = (0, 2, 3, 5, 7, 8, 10)


@pytest.fixture
def quote(tmp_path, write_wav):
    """Write a passage of a source."""

    def make(sound: np.ndarray, source: str = "anna", bpm: float | None = None, key: Key | None = None) -> Passage:
        path = write_wav(tmp_path / source / f"{bpm} {key}.wav", sound, RATE)
        return Passage(path, source, sound.shape[1] / RATE, bpm, key)

    return make


def steady(pitch: float, seconds: float) -> np.ndarray:
    return harmonics(pitch, seconds, decay=0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("key", "changes", "semitones"),
    [
        (C_MAJOR, {}, 0),
        (Key(11, minor=False), {}, 1),
        (Key(2, minor=False), {}, -2),
        (Key(8, minor=False), {}, 4),
        (Key(4, minor=False), {}, -4),
        (C_MAJOR, {"root": 48.4}, 0.4),  # the song's tuning too
        (Key(9, minor=True), {}, 0),  # the relative minor of the song's key
        (Key(0, minor=True), {"scale": MINOR}, 0),
        (Key(3, minor=False), {"scale": MINOR}, 0),
    ],
)
def test_a_phrase_is_moved_to_the_songs_key(quote, make_score, key, changes, semitones):
    sound = fitted(quote(steady(60, 1.0), key=key), make_score(**changes), wander=5)
    assert sound.shape[0] == 2
    assert peak_pitch(sound) == pytest.approx(60 + semitones, abs=0.05)


@pytest.mark.parametrize("wander", [-2, 0, 1])
def test_a_phrase_without_a_key_is_moved_with_the_others_of_its_singer(quote, make_score, wander):
    sound = fitted(quote(steady(60, 1.0)), make_score(), wander)
    assert peak_pitch(sound) == pytest.approx(60 + wander, abs=0.05)


@pytest.mark.parametrize("key", [None, C_MAJOR, Key(10, minor=False), Key(7, minor=False)])
@pytest.mark.parametrize(("bpm", "speed"), [(120, 1), (100, 1.2), (200, 1.2), (140, 120 / 140), (90, 1), (60, 1)])
def test_a_phrase_of_a_known_tempo_is_as_long_as_the_songs_beats(quote, make_score, key, bpm, speed):
    sound = fitted(quote(steady(60, 1.0), bpm=bpm, key=key), make_score(), wander=0)
    assert sound.shape[1] == pytest.approx(RATE / speed, rel=0.001)


def test_a_phrase_fades_at_both_ends_and_leaves_its_recording_alone(quote, make_score):
    passage = quote(steady(60, 1.0), bpm=120, key=C_MAJOR)
    before = load(passage.path).copy()
    sound = fitted(passage, make_score(), 0)
    assert np.abs(sound[:, [0, -1]]).max() == 0
    np.testing.assert_array_equal(load(passage.path), before)
    np.testing.assert_array_equal(sound[:, 1_000:-1_000], np.repeat(before, 2, axis=0)[:, 1_000:-1_000])


def loud_bars(sound: np.ndarray) -> list[bool]:
    """Whether each bar of 2 s sounds throughout; bars must do so or be silent."""
    frames = np.abs(sound).reshape(2, 4, 40, -1).max(axis=(0, 3)) > 1e-4
    inner = frames[:, 1:-1]  # where stretches fade
    assert all(bar.all() or not bar.any() for bar in inner)
    return [bool(bar.all()) for bar in inner]


@pytest.mark.parametrize("rests", [set(), {0}, {3}, {1, 2}, {0, 2}])
@pytest.mark.parametrize("seed", range(3))
def test_stretches_fill_the_bars_in_which_the_stem_plays_and_no_others(quote, make_score, rests, seed):
    score = make_score({bar: {"other"} for bar in rests})
    passages = [quote(steady(60, 1.7), bpm=bpm) for bpm in (None, 90)]
    sound = album_stretches(score, "other", passages, rng(seed))
    assert sound.shape == (2, 8 * RATE)
    assert loud_bars(sound) == [bar not in rests for bar in range(4)]
    for bar in rests:
        assert not sound[:, 2 * bar * RATE : 2 * (bar + 1) * RATE].any()
    assert np.abs(sound).max() <= 1.5


def test_stretches_meet_without_clicks(quote, make_score):
    sound = album_stretches(make_score(), "other", [quote(steady(48, 1.3))], rng(1))
    assert np.abs(np.diff(sound)).max() < 0.2
    assert np.abs(sound[:, 0]).max() < 1e-3


def test_stretches_are_of_one_source(quote, make_score):
    passages = [quote(steady(60 + 7 * k, 1.5), source=f"band {k}") for k in range(2)]
    heard = {
        round((peak_pitch(album_stretches(make_score(), "other", passages, rng(seed))) - 60) / 7) for seed in range(8)
    }
    assert heard == {0, 1}


def test_a_stem_that_never_plays_has_no_stretches(quote, make_score):
    score = make_score({bar: {"other"} for bar in range(4)})
    assert not album_stretches(score, "other", [quote(steady(60, 1.5))], rng()).any()


def test_sung_sources_are_drawn_more_often_than_spoken_ones(quote):
    passages = [quote(burst(0.1), source=source) for source in ("anna", "speech of ben")]
    generator = rng()
    drawn = Counter(draw_source(passages, generator)[0].source for _ in range(600))
    assert drawn["anna"] / 600 == pytest.approx(1 / 1.2, abs=0.05)


def test_longer_sources_are_drawn_more_often_by_the_root_of_their_length(tmp_path):
    passages = [Passage(tmp_path / f"{k}", source, 2.0, None, None) for k, source in enumerate("abbbbbbbbb")]
    generator = rng()
    drawn = [draw_source(passages, generator) for _ in range(600)]
    assert sum(len(each) == 9 for each in drawn) / 600 == pytest.approx(0.75, abs=0.05)
    assert all(len({passage.source for passage in each}) == 1 for each in drawn)


@pytest.mark.parametrize("seed", range(8))
def test_phrases_begin_in_the_bars_in_which_the_singer_sings(quote, make_score, seed):
    score = make_score({0: {"vocals"}, 3: {"vocals"}})
    passages = [quote(steady(60, 1.0), bpm=120, key=C_MAJOR)]
    sound = sung_phrases(score, passages, rng(seed))
    assert sound.shape == (2, 8 * RATE)
    assert np.isfinite(sound).all()
    assert np.abs(sound[:, : round(1.5 * RATE)]).max() < 1e-3  # but for a breath
    assert np.abs(sound[:, 2 * RATE : 6 * RATE]).max() > 0.3


def test_the_same_seed_sings_the_same(recordings_folder, make_score):
    passages = scan(recordings_folder, workers=1).passages["vocals"]
    first, again, other = (sung_phrases(make_score(), passages, rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["anna/ah", "choir/voices_ah"])
def test_a_melody_is_sung_on_recorded_vowels(tmp_path, write_wav, make_score, name, seed):
    path = write_wav(tmp_path / "ah_060.wav", steady(60, 1.0), RATE)
    sound = sung_notes(make_score(), [Instrument(name, (Note(path, 60.0, 100),))], rng(seed))
    assert sound.shape == (2, 8 * RATE)
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() > 0.3


def test_stretches_of_an_excerpt_are_the_same_of_all_stems(tmp_path, write_wav):
    time = np.arange(6 * RATE) / RATE
    vocals = (0.4 * np.sin(2 * np.pi * (200 + 40 * time) * time)).astype(np.float32)[None]
    paths = {
        name: write_wav(tmp_path / f"{name}.wav", sound, RATE)
        for name, sound in {"vocals": vocals, "other": 0.5 * vocals}.items()
    }
    moved = set()
    for seed in range(8):
        stems = excerpt_stretches(9.0, paths, rng(seed))
        assert {name: sound.shape for name, sound in stems.items()} == dict.fromkeys(paths, (2, 9 * RATE))
        np.testing.assert_allclose(stems["other"], 0.5 * stems["vocals"], atol=1e-5)
        level = np.abs(stems["vocals"]).reshape(2, 90, -1).max(axis=2)
        assert level[:, 1:-1].min() > 0.1  # nowhere silent, and never both of two stretches at their full level
        assert level.max() < 0.6
        moved.add(round(float(peak_pitch(stems["vocals"][:, : RATE // 2])), 1))
    assert len(moved) > len(set(TUNINGS)) - 3
