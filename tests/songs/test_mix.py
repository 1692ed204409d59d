from itertools import pairwise

import numpy as np
import pytest
from scipy.signal import fftconvolve, welch

from tfswa_unet.errors import DataError
from tfswa_unet.songs import synthesize
from tfswa_unet.songs.compose import compose, played_by
from tfswa_unet.songs.score import Strip
from tfswa_unet.songs.sounds import Room, impulse, pan, widen
from tfswa_unet.songs.synthetic import PEAK, apply_strip, overlap_add
from tfswa_unet.types import STEMS

from .conftest import SECONDS

RATE = 44_100


def third_octaves(sound):
    """Share of a sound's power in each third of an octave from 25 Hz up."""
    frequency, power = welch(sound.mean(axis=0), RATE, nperseg=8192)
    edges = 25 * 2 ** (np.arange(30) / 3)
    bands = np.array([power[(frequency >= a) & (frequency < b)].sum() for a, b in pairwise(edges)])
    return bands / power.sum(), edges


def test_stems_have_the_asked_form(songs):
    for stems in songs:
        assert tuple(stems) == STEMS == ("vocals", "drums", "bass", "other")
        for audio in stems.values():
            assert audio.shape == (2, round(SECONDS * RATE))
            assert audio.dtype == np.float32
            assert np.isfinite(audio).all()


@pytest.mark.parametrize(("seconds", "rate"), [(1, 44_100), (1.7, 22_050), (2.3, 48_000), (1, 16_000), (1, 96_000)])
def test_any_length_and_rate(seconds, rate):
    for seed in range(3):
        stems = synthesize(seed, seconds, rate)
        for audio in stems.values():
            assert audio.shape == (2, round(seconds * rate))
            assert np.isfinite(audio).all()
            assert np.square(audio).mean() > 1e-6


def test_the_same_seed_gives_the_same_bytes_and_another_other_songs(songs):
    again = synthesize(0, SECONDS)
    for stem in STEMS:
        assert again[stem].tobytes() == songs[0][stem].tobytes()
        assert abs(np.corrcoef(songs[0][stem][0], songs[1][stem][0])[0, 1]) < 0.2


def test_nothing_clips_and_the_song_uses_the_scale(songs):
    for stems in songs:
        peaks = [np.abs(audio).max() for audio in (*stems.values(), sum(stems.values()))]
        assert max(peaks) == pytest.approx(PEAK, abs=1e-4)


def test_no_stem_is_silent_but_some_rest(songs):
    quiet = []
    for stems in songs:
        for audio in stems.values():
            blocks = np.square(audio[:, : int(SECONDS) * RATE]).mean(axis=0).reshape(-1, RATE // 10).mean(axis=1)
            assert (blocks > 1e-2 * blocks.max()).mean() > 0.2
            quiet.append((blocks < 1e-2 * blocks.max()).mean())
    assert max(quiet) > 0.2


def test_the_mixture_is_a_plausible_estimate_of_each_stem(songs):
    for stem in STEMS:
        sdr = []
        for stems in songs:
            rest = sum(audio for name, audio in stems.items() if name != stem)
            sdr.append(10 * np.log10(np.square(stems[stem]).sum() / np.square(rest).sum()))
        assert min(sdr) > -12
        assert max(sdr) < 0.5
        assert -8.5 < np.median(sdr) < -2.5, stem


def test_stems_share_their_spectrum(songs):
    shares = {stem: np.median([third_octaves(stems[stem])[0] for stems in songs], axis=0) for stem in STEMS}
    _, edges = third_octaves(songs[0]["bass"])
    low, high = edges[:-1] < 130, (edges[:-1] > 4000) & (edges[:-1] < 15_000)
    assert np.minimum(shares["vocals"], shares["other"]).sum() > 0.4
    assert shares["drums"][low].sum() > 0.3
    assert shares["bass"][low].sum() > 0.3
    assert shares["vocals"][high].sum() > 0.01
    assert shares["drums"][high].sum() > 0.03


def test_there_is_no_offset_nor_anything_beyond_hearing(songs):
    for stems in songs:
        for name, audio in stems.items():
            level = np.sqrt(np.square(audio).mean())
            assert abs(audio.mean()) < 3e-3 * level
            frequency, power = welch(audio.mean(axis=0), RATE, nperseg=8192)
            assert power[frequency > 20_500].sum() < 0.01 * power.sum(), name


def test_the_song_ends_in_silence(songs):
    assert all(np.abs(audio[:, -1]).max() < 1e-4 for stems in songs for audio in stems.values())


def test_blockwise_filtering_equals_convolution():
    rng = np.random.default_rng(0)
    sound, response = rng.standard_normal((2, 10_000)), rng.standard_normal((2, 200))
    spectrum = np.fft.rfft(response, 1024)[:, None]
    found = overlap_add(sound, 1024, lambda spectra: spectra * spectrum)
    np.testing.assert_allclose(found, fftconvolve(sound, response, axes=1)[:, :10_000], atol=1e-9)


def test_the_desk_adds_the_room_at_the_send_s_level():
    rng = np.random.default_rng(0)
    dry = np.zeros((2, RATE), np.float32)
    dry[:, 1000:2000] = rng.standard_normal(1000)
    response = impulse(Room(0.3, 0.01, 0.5), rng, RATE)
    room = np.fft.rfft(response, 2**16).astype(np.complex64)
    near, far = (apply_strip(dry, Strip(0, send, 0, 0), room, RATE) for send in (-200, 0))
    tail = slice(2600, None)
    assert np.square(near[:, tail]).sum() < 1e-2 * np.square(near).sum()
    assert np.square(far[:, tail]).sum() > 0.2 * np.square(far).sum()


def test_a_room_decays_by_60_db_in_its_time():
    response = impulse(Room(1.0, 0.02, 0.999), np.random.default_rng(0), RATE)
    assert not response[:, : int(0.02 * RATE)].any()
    np.testing.assert_allclose(np.square(response).sum(axis=1), 1, rtol=1e-4)
    left = np.cumsum(np.square(response[0])[::-1])[::-1]  # Schroeder's backward integration
    level = 10 * np.log10(left / left[0])
    at = [np.argmax(level < drop) / RATE for drop in (-15, -35)]
    assert 3 * (at[1] - at[0]) == pytest.approx(1.0, rel=0.12)


def test_pan_and_width():
    mono = np.random.default_rng(0).standard_normal(4410).astype(np.float32)
    for position in (-1, -0.3, 0, 1):
        assert np.square(pan(mono, position)).sum() == pytest.approx(np.square(mono).sum(), rel=1e-4)
    assert np.abs(pan(mono, 1)[0]).max() < 1e-6
    np.testing.assert_allclose(widen(mono, 0.7, 0.01, RATE).mean(axis=0), mono, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 5), "seed -1 is negative; give 0 or more"),
        ((0, 0.5), "a synthetic song of 0.5 s cannot be made; give at least 1 s"),
        ((0, float("nan")), "a synthetic song of nan s cannot be made; give at least 1 s"),
        ((0, 5, 8000), "a sample rate of 8000 Hz is out of range; give 16000 to 192000 Hz"),
    ],
)
def test_impossible_songs_are_refused(arguments, message):
    with pytest.raises(DataError) as error:
        synthesize(*arguments)
    assert str(error.value) == message


def test_songs_of_a_band_share_its_sounds_and_not_its_music():
    plans = [compose(np.random.default_rng(seed), 20.0) for seed in range(8)]
    band = plans[-1]
    songs = [played_by(plan, band) for plan in plans]
    for song, plan in zip(songs, plans, strict=True):
        assert (song.voice, song.kit, song.bass, song.layers) == (band.voice, band.kit, band.bass, band.layers)
        assert (song.room, song.strips) == (band.room, band.strips)
        assert (song.tempo, song.root, song.verse, song.sections) == (plan.tempo, plan.root, plan.verse, plan.sections)
    one, same, another, many = (synthesize(3, 2.0, band=band) for band in (0, 0, 1, None))
    for stem in STEMS:
        np.testing.assert_array_equal(one[stem], same[stem])
        assert not np.array_equal(one[stem], another[stem])
        assert not np.array_equal(one[stem], many[stem])
