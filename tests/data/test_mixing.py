from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tests.data.conftest import mixing
from tfswa_unet.config import choice, from_values
from tfswa_unet.data.mixing import KEY_DISTANCES, Crop, Matches, Mixer, Mixing, weighted_choice
from tfswa_unet.data.tempo_key import Key, TempoKey
from tfswa_unet.errors import ConfigError

LENGTHS = [1000, 2000, 4000, 5000, 8000, 90]
SIZE = 100
C, G, D, A_MINOR, C_SHARP = Key(0, False), Key(7, False), Key(2, False), Key(9, True), Key(1, False)


def mixer(settings: Mixing, lengths=LENGTHS, stems: int = 4, tempo_keys=None) -> Mixer:
    return Mixer(settings, lengths, SIZE, [np.ones(len(lengths))] * (1 + stems), tempo_keys)


def draws(settings: Mixing, count: int = 300, stems: int = 4, **options) -> list[list[list[Crop]]]:
    one = mixer(settings, stems=stems, **options)
    return [one.draw(np.random.default_rng(i)).crops for i in range(count)]


def share(crop: Crop) -> float:
    return crop.start / (max(LENGTHS[crop.track] - SIZE, 0) + 1)


def test_song_takes_all_stems_from_one_place():
    for crops in draws(mixing("song")):
        assert all(stem == crops[0] and len(stem) == 1 for stem in crops)


def test_random_takes_every_stem_from_another_song_and_place():
    for crops in draws(mixing("random")):
        assert len({crop.track for [crop] in crops}) == 4
    shares = np.array([[share(crop) for [crop] in crops if crop.track != 5][:2] for crops in draws(mixing("random"))])
    assert abs(np.corrcoef(shares.T)[0, 1]) < 0.2


def test_aligned_takes_other_songs_at_the_same_relative_place():
    for crops in draws(mixing("aligned")):
        assert len({crop.track for [crop] in crops}) == 4
        shares = [share(crop) for [crop] in crops if crop.track != 5]
        assert np.ptp(shares) < 1 / 900


def test_fewer_songs_than_stems_still_mix():
    crops = mixer(mixing("random"), [1000, 1000]).draw(np.random.default_rng(0)).crops
    assert {crop.track for [crop] in crops} <= {0, 1}


def test_every_crop_lies_inside_its_track_and_every_place_is_reached():
    two = mixer(mixing("random", mix_audio=0.5), [103, 40], stems=2)
    starts = []
    for crops in (two.draw(np.random.default_rng(i)).crops for i in range(200)):
        for crop in (crop for stem in crops for crop in stem):
            assert 0 <= crop.start <= max([103, 40][crop.track] - SIZE, 0)
            starts += [crop.start] if crop.track == 0 else []
    assert set(starts) == {0, 1, 2, 3}


def test_p_is_the_share_of_mixed_examples():
    mixed = [len({crop.track for [crop] in crops}) > 1 for crops in draws(mixing("random", p=0.3), 1000)]
    assert 0.25 < np.mean(mixed) < 0.35


def test_mix_audio_adds_a_second_crop_to_its_share_of_stems():
    counts = np.array([[len(stem) for stem in crops] for crops in draws(mixing("song", mix_audio=0.25), 1000)])
    assert set(counts.flat) == {1, 2}
    assert 0.22 < np.mean(counts == 2) < 0.28


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mode": "aligend"}, "data.mixing.mode 'aligend' .did you mean aligned"),
        ({"p": float("nan")}, "mixing.p is nan, expected a probability"),
        ({"silence_db": float("-inf")}, "mixing.silence_db is -inf, expected a level"),
        ({"tempo_tolerance": float("inf")}, "mixing.tempo_tolerance is inf, expected a share"),
        ({"p": 1.5}, "mixing.p is 1.5, expected a probability"),
        ({"mix_audio": "often"}, "mixing.mix_audio is 'often'"),
        ({"mixaudio": 0.1}, "unknown key data.mixing.mixaudio .did you mean mix_audio"),
        ({"redraw": True}, "mixing.redraw is True, expected a number"),
        ({"silence_db": 3}, "mixing.silence_db is 3, expected a level of at most 0 dB, such as -60"),
        ({"silence_db": None}, "mixing.silence_db is None"),
        ({"tempo_tolerance": -0.1}, "mixing.tempo_tolerance is -0.1, expected a share such as 0.06"),
        ({"key_distance": 8}, "mixing.key_distance is 8, expected a whole number of steps from 0 to 7"),
        ({"key_distance": 0.5}, "mixing.key_distance is 0.5, expected a whole number"),
    ],
)
def test_impossible_settings_are_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        from_values(Mixing, {**choice("data", "musdb18hq")["mixing"], **config}, "data.mixing")


def test_no_setting_has_a_value_but_that_of_the_configuration():
    for key, value in (settings := choice("data", "musdb18hq")["mixing"]).items():
        with pytest.raises(ConfigError, match=rf"data\.mixing\.{key} is missing"):
            from_values(Mixing, {name: other for name, other in settings.items() if name != key}, "data.mixing")
        assert getattr(from_values(Mixing, settings, "data.mixing"), key) == value


TEMPO_KEYS = [
    TempoKey(120, C),
    TempoKey(61, A_MINOR),
    TempoKey(240, G),
    TempoKey(124, C),
    TempoKey(90, C),
    TempoKey(120, D),
]


def test_matched_songs_go_with_the_first_in_tempo_and_key():
    fitting = {0: {1, 2, 3}, 1: {0, 3}, 2: {0, 3, 5}, 3: {0, 1, 2}, 4: {0, 1, 2, 3, 5}, 5: {2}}  # 4 fits nobody: any
    one, seen = mixer(mixing("matched"), stems=3, tempo_keys=TEMPO_KEYS), {}
    for i in range(600):
        mix = one.draw(np.random.default_rng(i))
        seen.setdefault(mix.reference, set()).update(crop.track for [crop] in mix.crops)
        assert len({crop.track for [crop] in mix.crops}) == (2 if mix.reference == 5 else 3)
    assert {first: songs - {first} for first, songs in seen.items()} == fitting


def test_tolerances_widen_the_match():
    near = [
        TempoKey(120, C),
        TempoKey(130, C),
        TempoKey(120, C_SHARP),
        TempoKey(120, A_MINOR),
        TempoKey(120, C),
        TempoKey(120, C),
    ]

    def partners(**tolerances):
        one = mixer(mixing("matched", **tolerances), stems=2, tempo_keys=near)
        mixes = [one.draw(np.random.default_rng(i)) for i in range(400)]
        return {crop.track for mix in mixes if mix.reference == 0 for [crop] in mix.crops} - {0}

    assert partners(key_distance=0) == {4, 5}
    assert partners() == {3, 4, 5}
    assert partners(tempo_tolerance=0.1) == {1, 3, 4, 5}
    assert partners(key_distance=7) == {2, 3, 4, 5}
    assert partners(key_distance=7, tempo_tolerance=0.1) == {1, 2, 3, 4, 5}


def test_any_stem_may_be_the_first_and_all_songs_come_first_alike():
    one = mixer(mixing("matched"), tempo_keys=TEMPO_KEYS)
    references = [one.draw(np.random.default_rng(i)).reference for i in range(1_200)]
    counts = np.bincount(references, minlength=6)
    assert (np.abs(counts - 200) < 5 * np.sqrt(200 * 5 / 6)).all()


def test_a_redrawn_stem_still_matches_and_takes_no_song_of_another_stem():
    one = mixer(mixing("matched"), stems=2, tempo_keys=TEMPO_KEYS)
    for i in range(200):
        rng = np.random.default_rng(i)
        mix = one.draw(rng)
        if mix.reference != 0:
            continue
        one.redraw(rng, mix, 0)
        one.redraw(rng, mix, 1)
        assert {crop.track for [crop] in mix.crops} <= {1, 2, 3}
        assert mix.crops[0][0].track != mix.crops[1][0].track


def test_redrawing_keeps_the_place_of_aligned_stems_and_the_number_of_crops():
    one = mixer(mixing("aligned", mix_audio=1.0), lengths=[1000, 2000, 4000, 5000])
    rng = np.random.default_rng(3)
    mix = one.draw(rng)
    one.redraw(rng, mix, 2)
    first = mix.crops[2][0]
    assert len(mix.crops[2]) == 2
    assert first.start == int(mix.place * ([1000, 2000, 4000, 5000][first.track] - SIZE + 1))


def test_draws_depend_on_the_generator_alone():
    one, two = (mixer(mixing("matched", mix_audio=0.5), tempo_keys=TEMPO_KEYS) for _ in range(2))
    for i in range(20):
        two.draw(np.random.default_rng(99))
        assert one.draw(np.random.default_rng(i)) == two.draw(np.random.default_rng(i))


def test_matched_without_tempo_keys_is_refused():
    with pytest.raises(
        ConfigError,
        match=r"mixing\.mode=matched needs the tempo and key of every track: give tempo_keys=estimate_tempo_keys",
    ):
        mixer(mixing("matched"))
    assert mixer(mixing("matched", p=0)).draw(np.random.default_rng(0)).is_song


def fits(a: TempoKey, b: TempoKey, tolerance: float = 0.06, distance: int = 1) -> bool:
    both = [Matches(pair, tolerance, distance).of(0)[1] for pair in ([a, b], [b, a])]
    assert both[0] == both[1]
    return bool(both[0])


KEYS = [Key(tonic, minor) for tonic, minor in product(range(12), (False, True))]


def distance(a: Key, b: Key) -> int:
    """Steps by a walk on the circle: a fifth up or down, or over to the relative key."""
    seen, steps = {(a.tonic, a.minor)}, 0
    while (b.tonic, b.minor) not in seen:
        seen |= {((tonic + by) % 12, minor) for tonic, minor in seen for by in (5, 7)} | {
            ((tonic + (3 if minor else 9)) % 12, not minor) for tonic, minor in seen
        }
        steps += 1
    return steps


@pytest.mark.parametrize("allowed", KEY_DISTANCES)
def test_keys_match_within_so_many_steps_on_the_circle(allowed):
    tempo_keys = [TempoKey(100, key) for key in KEYS]
    matches = Matches(tempo_keys, 0.06, allowed)
    for k, key in enumerate(KEYS):
        expected = [other != key and distance(key, other) <= allowed for other in KEYS]
        np.testing.assert_array_equal(matches.of(k), expected)


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        (120, 120, True),
        (120, 127, True),
        (120, 128, False),
        (60, 120, True),
        (64, 122, True),
        (240, 58, True),
        (90, 120, False),
    ],
)
def test_tempos_match_within_the_tolerance_in_any_octave(a, b, alike):
    key = Key(0, False)
    assert fits(TempoKey(a, key), TempoKey(b, key)) == alike


def test_what_is_not_known_fits_and_no_song_goes_with_itself():
    c, f_sharp = Key(0, False), Key(6, False)
    assert fits(TempoKey(None, c), TempoKey(97, c))
    assert not fits(TempoKey(None, c), TempoKey(97, f_sharp))
    assert fits(TempoKey(120, None), TempoKey(120, f_sharp))
    assert not fits(TempoKey(120, None), TempoKey(90, c))
    assert not Matches([TempoKey(120, c), TempoKey(120, c)], 0.06, 1).of(1)[1]


CHANCES = np.array([0, 3, 0, 1, 4, 2, 0], float)


def frequencies(used=(), chances=CHANCES, count=8_000):
    rng = np.random.default_rng(0)
    sums = np.cumsum(chances)
    return np.bincount([weighted_choice(rng, sums, used) for _ in range(count)], minlength=len(chances)) / count


@pytest.mark.parametrize("used", [(), (1,), (4, 1), (0, 2, 5), (5, 4), (3, 4, 5)])
def test_numbers_come_as_often_as_their_chances_say(used):
    expected = CHANCES.copy()
    expected[list(used)] = 0
    expected /= expected.sum()
    found = frequencies(used)
    assert (found[expected == 0] == 0).all()
    np.testing.assert_allclose(found, expected, atol=5 * np.sqrt(0.25 / 8_000))


def test_where_all_are_used_they_are_used_again():
    np.testing.assert_allclose(frequencies((1, 3, 4, 5)), CHANCES / 10, atol=0.03)


def test_rounding_never_gives_a_number_without_a_chance():
    class Highest:
        def random(self):
            return np.nextafter(1, 0)

    for size in (3, 10, 1_000):
        chances = np.full(size, 1 / 3)
        chances[-2:] = 0
        assert weighted_choice(Highest(), np.cumsum(chances), (0,)) == size - 3
