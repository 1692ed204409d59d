from itertools import pairwise

import numpy as np
import pytest

from tfswa_unet.songs.bass import bass_line
from tfswa_unet.songs.compose import LEAST_SHARE, compose
from tfswa_unet.songs.instruments import LAYERS
from tfswa_unet.songs.score import harmony, melody
from tfswa_unet.types import STEMS


@pytest.fixture(scope="module")
def scores():
    return [compose(np.random.default_rng(seed), 45.0) for seed in range(60)]


def test_the_plan_is_the_seed_s():
    first, second, third = (compose(np.random.default_rng(seed), 20.0) for seed in (1, 1, 2))
    assert first == second
    assert first != third


def test_plans_vary_and_stay_in_range(scores):
    assert all(70 <= score.tempo <= 160 for score in scores)
    for field, least in {"scale": 5, "voice": 6, "kit": 4, "groove": 8, "bass": 6, "layers": 20, "beats": 2}.items():
        assert len({getattr(score, field) for score in scores}) >= least, field


def test_every_stem_plays_long_enough_and_rests_somewhere(scores):
    for stem in STEMS:
        shares = [len(score.playing(stem)) / score.bars for score in scores]
        assert min(shares) >= LEAST_SHARE
        assert min(shares) < 1


def test_sections_cover_the_song_without_gap(scores):
    for score in scores:
        ends = [0] + [section.first + section.bars for section in score.sections]
        assert [section.first for section in score.sections] == ends[:-1]
        assert score.time(ends[-1], 0) >= score.seconds - 1e-6


def test_the_grid_and_its_swing(scores):
    score = next(score for score in scores if score.swing)
    step = score.beat / 4
    assert score.time(2, 0) == pytest.approx(2 * score.beats * 60 / score.tempo)
    assert score.time(0, 3) == pytest.approx((3 + score.swing) * step)
    assert score.time(0, 2) == pytest.approx(2 * step)


def test_chords_and_tunes_stay_in_the_scale(scores):
    for score in scores[:20]:
        rng = np.random.default_rng(0)
        tune = melody(score, "vocals", 60.0, rng)
        notes = [*tune, *harmony(score, tune, 2), *LAYERS["keys"].write(score, rng), *bass_line(score, rng)]
        steps = np.array([note.pitch - score.root for note in notes]) % 12
        assert np.isin(np.round(steps, 6) % 12, score.scale).all()


def test_voicings_stay_around_their_centre(scores):
    for score in scores[:20]:
        chord = score.voicing(0, 60.0)
        assert chord == sorted(chord)
        assert all(54 <= pitch <= 66 for pitch in chord)


def test_phrases_leave_rests(scores):
    for score in scores[:20]:
        tune = melody(score, "vocals", 60.0, np.random.default_rng(0))
        gaps = [b.start - a.start - a.seconds for a, b in pairwise(tune)]
        assert max(gaps) > 0.3 * score.beat


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_plays_from_the_first_bar_of_the_accompaniment(scores, name):
    for score in scores[:20]:
        notes = LAYERS[name].write(score, np.random.default_rng(0))
        first = score.playing("other")[0]
        assert score.time(first, 0) <= min(note.start for note in notes) < score.time(first + 1, 0)
