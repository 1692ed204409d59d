import numpy as np
import pytest

from tfswa_unet.songs.drums import KITS, PIECES

RATE = 44_100


@pytest.mark.parametrize("kit", KITS)
@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("rate", [16_000, RATE])
def test_a_drum_is_struck_at_once_and_dies_away(kit, piece, rate):
    hit = PIECES[piece].strike(KITS[kit], np.random.default_rng(0), rate)
    assert hit.dtype == np.float32
    assert np.isfinite(hit).all()
    assert np.abs(hit).max() == pytest.approx(1)
    quarter = len(hit) // 4
    assert np.square(hit[:quarter]).sum() > 4 * np.square(hit[-quarter:]).sum()
    assert abs(hit[-1]) < 1e-3
    assert np.abs(hit).argmax() < 0.06 * rate


def test_drums_lie_in_their_registers():
    def centroid(piece):
        hit = PIECES[piece].strike(KITS["acoustic"], np.random.default_rng(0), RATE)
        power = np.abs(np.fft.rfft(hit)) ** 2
        return (np.fft.rfftfreq(len(hit), 1 / RATE) * power).sum() / power.sum()

    assert centroid("kick") < 400 < centroid("snare") < 6000 < centroid("hat")
    assert centroid("tom") < 600
