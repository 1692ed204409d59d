import numpy as np
import pytest

from tfswa_unet.songs.bass import BASSES, play
from tfswa_unet.songs.drums import KITS, PIECES
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


@pytest.mark.parametrize("name", BASSES)
def test_a_bass_plays_the_note_asked_for_and_rests(name):
    sound = play([Note(0.1, 0.8, 40, 1.0)], BASSES[name], np.random.default_rng(0), RATE, RATE)
    assert np.abs(sound[: round(0.09 * RATE)]).max() < 1e-3
    assert np.abs(sound[round(0.95 * RATE) :]).max() < 1e-2 * np.abs(sound).max()
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    loudest = spectrum[30:].argmax() + 30
    f0 = 440 * 2 ** ((40 - 69) / 12)
    assert abs(loudest / f0 - round(loudest / f0)) < 0.03


@pytest.mark.parametrize("kit", KITS)
@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("rate", [16_000, RATE])
def test_a_drum_is_struck_at_once_and_dies_away(kit, piece, rate):
    hit = PIECES[piece](KITS[kit], np.random.default_rng(0), rate)
    assert hit.dtype == np.float32
    assert np.isfinite(hit).all()
    assert np.abs(hit).max() == pytest.approx(1)
    quarter = len(hit) // 4
    assert np.square(hit[:quarter]).sum() > 4 * np.square(hit[-quarter:]).sum()
    assert abs(hit[-1]) < 1e-3
    assert np.abs(hit).argmax() < 0.06 * rate


def test_drums_lie_in_their_registers():
    def centroid(piece):
        hit = PIECES[piece](KITS["acoustic"], np.random.default_rng(0), RATE)
        power = np.abs(np.fft.rfft(hit)) ** 2
        return (np.fft.rfftfreq(len(hit), 1 / RATE) * power).sum() / power.sum()

    assert centroid("kick") < 400 < centroid("snare") < 6000 < centroid("hat")
    assert centroid("tom") < 600
