from itertools import pairwise

import numpy as np
import pytest

from tfswa_unet.songs.bass import line
from tfswa_unet.songs.compose import LEAST_SHARE, compose
from tfswa_unet.songs.instruments import LAYERS
from tfswa_unet.songs.score import harmony, melody
from tfswa_unet.types import STEMS


@pytest.fixture(scope="module")
def plans():
    return [compose(np.random.default_rng(seed), 45.0) for seed in range(60)]


def test_the_plan_is_the_seed_s():
    first, second, third = (compose(np.random.default_rng(seed), 20.0) for seed in (1, 1, 2))
    assert first == second
    assert first != third


def test_plans_vary_and_stay_in_range(plans):
    assert all(70 <= plan.tempo <= 160 for plan in plans)
    for field, least in {"scale": 5, "voice": 6, "kit": 4, "groove": 8, "bass": 6, "layers": 20, "beats": 2}.items():
        assert len({getattr(plan, field) for plan in plans}) >= least, field


def test_every_stem_plays_long_enough_and_rests_somewhere(plans):
    for stem in STEMS:
        shares = [len(plan.playing(stem)) / plan.bars for plan in plans]
        assert min(shares) >= LEAST_SHARE
        assert min(shares) < 1


def test_sections_cover_the_song_without_gap(plans):
    for plan in plans:
        ends = [0] + [section.first + section.bars for section in plan.sections]
        assert [section.first for section in plan.sections] == ends[:-1]
        assert plan.time(ends[-1], 0) >= plan.seconds - 1e-6


def test_the_grid_and_its_swing(plans):
    plan = next(plan for plan in plans if plan.swing)
    step = plan.beat / 4
    assert plan.time(2, 0) == pytest.approx(2 * plan.beats * 60 / plan.tempo)
    assert plan.time(0, 3) == pytest.approx((3 + plan.swing) * step)
    assert plan.time(0, 2) == pytest.approx(2 * step)


def test_chords_and_tunes_stay_in_the_scale(plans):
    for plan in plans[:20]:
        rng = np.random.default_rng(0)
        tune = melody(plan, "vocals", 60.0, rng)
        notes = [*tune, *harmony(plan, tune, 2), *LAYERS["keys"].write(plan, rng), *line(plan, rng)]
        steps = np.array([note.pitch - plan.root for note in notes]) % 12
        assert np.isin(np.round(steps, 6) % 12, plan.scale).all()


def test_voicings_stay_around_their_centre(plans):
    for plan in plans[:20]:
        chord = plan.voicing(0, 60.0)
        assert chord == sorted(chord)
        assert all(54 <= pitch <= 66 for pitch in chord)


def test_phrases_leave_rests(plans):
    for plan in plans[:20]:
        tune = melody(plan, "vocals", 60.0, np.random.default_rng(0))
        gaps = [b.start - a.start - a.seconds for a, b in pairwise(tune)]
        assert max(gaps) > 0.3 * plan.beat


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_plays_from_the_first_bar_of_the_accompaniment(plans, name):
    for plan in plans[:20]:
        notes = LAYERS[name].write(plan, np.random.default_rng(0))
        first = plan.playing("other")[0]
        assert plan.time(first, 0) <= min(note.start for note in notes) < plan.time(first + 1, 0)
