import numpy as np
import pytest

from tfswa_unet.songs.instruments import TIMBRES, Instrument
from tfswa_unet.songs.score import Note

RATE = 44_100


def test_a_pitch_is_rendered_once():
    instrument = Instrument(TIMBRES["piano"](np.random.default_rng(0)), np.random.default_rng(1), RATE, 0.5)
    bus = np.zeros(RATE, np.float32)
    for start in (0.0, 0.2):
        instrument.play(bus, Note(start, 0.1, 60, 0.5))
    assert len(instrument.notes) == 1


@pytest.mark.parametrize("name", TIMBRES)
def test_an_instrument_plays_the_note_asked_for(name):
    rng = np.random.default_rng(0)
    bus = np.zeros(2 * RATE, np.float32)
    Instrument(TIMBRES[name](rng), rng, RATE, 1.0).play(bus, Note(0.1, 1.0, 57, 0.8))
    assert not bus[: round(0.1 * RATE)].any()
    assert not bus[round(1.7 * RATE) :].any()
    assert np.abs(np.diff(bus[-round(0.95 * RATE) :])).max() < 0.6 * np.abs(bus).max()
    spectrum = np.abs(np.fft.rfft(bus * np.hanning(len(bus)))) ** 2
    order = np.fft.rfftfreq(len(bus), 1 / RATE) / 220
    strong = spectrum > 0.02 * spectrum.max()
    if name == "bell":  # its partials are no harmonics
        assert spectrum[np.abs(order - 1) < 0.02].max() > 0.1 * spectrum.max()
    else:
        multiple = (
            np.array([1, 2, 3.93, 7.1, 9.5, 14.2]) if name in ("marimba", "electric piano") else np.arange(0.5, 65, 0.5)
        )
        nearest = np.abs(order[strong, None] - np.append(multiple, np.arange(1, 5))).min(axis=1)
        assert nearest.max() < 0.03 * order[strong].max()
