from __future__ import annotations

import numpy as np
import pytest

from tfswa_unet.data.mixing import Crop, Mixing
from tfswa_unet.errors import ConfigError

LENGTHS = [1000, 2000, 4000, 5000, 8000, 90]
SIZE = 100


def draws(mixing: Mixing, count: int = 300, stems: int = 4) -> list[list[list[Crop]]]:
    return [mixing.draw(np.random.default_rng(i), LENGTHS, SIZE, stems) for i in range(count)]


def share(crop: Crop) -> float:
    return crop.start / (max(LENGTHS[crop.track] - SIZE, 0) + 1)


def test_song_takes_all_stems_from_one_place():
    for crops in draws(Mixing("song")):
        assert all(stem == crops[0] and len(stem) == 1 for stem in crops)


def test_random_takes_every_stem_from_another_song_and_place():
    for crops in draws(Mixing("random")):
        assert len({crop.track for [crop] in crops}) == 4
    shares = np.array([[share(crop) for [crop] in crops if crop.track != 5][:2] for crops in draws(Mixing("random"))])
    assert abs(np.corrcoef(shares.T)[0, 1]) < 0.2


def test_aligned_takes_other_songs_at_the_same_relative_place():
    for crops in draws(Mixing("aligned")):
        assert len({crop.track for [crop] in crops}) == 4
        shares = [share(crop) for [crop] in crops if crop.track != 5]
        assert np.ptp(shares) < 1 / 900


def test_fewer_songs_than_stems_still_mix():
    crops = Mixing("random").draw(np.random.default_rng(0), [1000, 1000], SIZE, 4)
    assert {crop.track for [crop] in crops} <= {0, 1}


def test_every_crop_lies_inside_its_track_and_every_place_is_reached():
    mixing = Mixing("random", mix_audio=0.5)
    starts = []
    for crops in (mixing.draw(np.random.default_rng(i), [103, 40], SIZE, 2) for i in range(200)):
        for crop in (crop for stem in crops for crop in stem):
            assert 0 <= crop.start <= max([103, 40][crop.track] - SIZE, 0)
            starts += [crop.start] if crop.track == 0 else []
    assert set(starts) == {0, 1, 2, 3}


def test_p_is_the_share_of_mixed_examples():
    mixed = [len({crop.track for [crop] in crops}) > 1 for crops in draws(Mixing("random", p=0.3), 1000)]
    assert 0.25 < np.mean(mixed) < 0.35


def test_mix_audio_adds_a_second_crop_to_its_share_of_stems():
    counts = np.array([[len(stem) for stem in crops] for crops in draws(Mixing("song", mix_audio=0.25), 1000)])
    assert set(counts.flat) == {1, 2}
    assert 0.22 < np.mean(counts == 2) < 0.28


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mode": "aligend"}, "mixing.mode 'aligend' .did you mean aligned"),
        ({"p": 1.5}, "mixing.p is 1.5, expected a probability"),
        ({"mix_audio": "often"}, "mixing.mix_audio is 'often'"),
        ({"mixaudio": 0.1}, "setting of mixing 'mixaudio' .did you mean mix_audio"),
    ],
)
def test_impossible_settings_are_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        Mixing.from_config(config)


def test_a_mapping_makes_the_record():
    assert Mixing.from_config({"mode": "aligned", "p": 0.5, "mix_audio": 0.1}) == Mixing("aligned", 0.5, 0.1)
    assert Mixing.from_config(None) == Mixing()
