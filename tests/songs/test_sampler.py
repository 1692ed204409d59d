from __future__ import annotations

import numpy as np
import pytest

from tests.songs.conftest import RATE, burst, harmonics, peak_pitch
from tfswa_unet.data.tempo_key import Key
from tfswa_unet.songs.recordings import Chord, Instrument, Kit, estimate_pitch
from tfswa_unet.songs.recordings import Note as RecordedNote
from tfswa_unet.songs.sampler import Sampler, Touch, drum_track, strum_track, varispeed
from tfswa_unet.songs.score import Note

DRY = Touch(release=0.05)


@pytest.fixture
def record(tmp_path, write_wav):
    """Write a sound, and give its file."""

    def write(name: str, sound: np.ndarray):
        return write_wav(tmp_path / f"{name}.wav", sound, RATE)

    return write


@pytest.fixture
def instrument(record):
    """Instrument of tones that hold for 2 s, one a pitch."""

    def make(*pitches: float) -> Instrument:
        notes = (RecordedNote(record(f"{pitch}", steady(pitch, 2)), pitch, 100) for pitch in sorted(pitches))
        return Instrument("tones", tuple(notes))

    return make


def steady(pitch: float, seconds: float) -> np.ndarray:
    return harmonics(pitch, seconds, decay=0)


def perform(instrument: Instrument, touch: Touch, *notes: Note, seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    bus = np.zeros((2, round(seconds * RATE)), np.float32)
    Sampler(instrument, touch, np.random.default_rng(seed)).play(bus, notes)
    return bus


def sounding(sound: np.ndarray) -> tuple[int, int]:
    """First sample that sounds, and the one behind the last."""
    (at,) = np.nonzero(np.abs(sound).max(axis=0) > 1e-6)
    return int(at[0]), int(at[-1]) + 1


def loudness(sound: np.ndarray) -> float:
    return float(np.sqrt(np.square(sound).mean()))


@pytest.mark.parametrize("pitch", [55, 60, 63.5, 69])
def test_a_note_sounds_at_its_pitch(instrument, pitch):
    sound = perform(instrument(60), DRY, Note(0.2, 0.6, pitch, 1.0))
    assert peak_pitch(sound[:, RATE // 5 : 4 * RATE // 5]) == pytest.approx(pitch, abs=0.05)


def test_a_note_begins_on_its_sample_and_ends_with_its_release(instrument):
    sound = perform(instrument(60), DRY, Note(0.2, 0.6, 60, 0.5))
    first, end = sounding(sound)
    assert first == pytest.approx(0.2 * RATE, abs=2)
    assert end == pytest.approx(0.85 * RATE, abs=100)
    held = loudness(sound[:, round(0.6 * RATE) : round(0.8 * RATE)])
    middle = loudness(sound[:, round(0.82 * RATE) : round(0.83 * RATE)])
    assert 0.1 * held < middle < 0.5 * held
    assert np.abs(np.diff(sound[:, round(0.8 * RATE) :])).max() < 0.15  # no click
    np.testing.assert_array_equal(sound[0], sound[1])


def test_a_note_is_as_loud_as_its_velocity(instrument):
    loud, soft = (perform(instrument(60), DRY, Note(0, 0.5, 60, velocity)) for velocity in (1.0, 0.25))
    np.testing.assert_allclose(soft, 0.25 * loud, atol=1e-6)
    assert np.abs(loud).max() == pytest.approx(1, abs=1e-3)


def test_a_recording_shorter_than_the_note_is_played_to_its_end(instrument):
    assert sounding(perform(instrument(60), DRY, Note(0.1, 5, 60, 1.0), seconds=4))[1] == pytest.approx(
        2.1 * RATE, abs=99
    )


def test_notes_add_up_and_those_beyond_the_bus_are_cut(instrument):
    tones = instrument(60, 67)
    notes = Note(0.1, 0.5, 60, 0.5), Note(1.8, 0.5, 67, 0.5), Note(9, 1, 60, 1)
    together = perform(tones, DRY, *notes[::-1])  # in any order
    np.testing.assert_allclose(together, sum(perform(tones, DRY, note) for note in notes), atol=1e-6)


@pytest.mark.parametrize(("asked", "played"), [(40, 52), (28, 52), (90, 78), (60, 60), (51, 51), (81, 81)])
def test_notes_out_of_reach_are_moved_by_octaves(instrument, asked, played):
    tones = instrument(60, 72)
    assert Sampler(tones, DRY, np.random.default_rng(0)).in_reach(Note(0, 1, asked, 1)).pitch == played
    assert peak_pitch(perform(tones, DRY, Note(0, 0.6, asked, 1.0))) == pytest.approx(played, abs=0.05)


def test_the_nearest_recording_in_pitch_is_played(record):
    # Told apart by their spectra: the lower is a sine, the upper is noise.
    low = record("low", np.sin(2 * np.pi * 261.63 * np.arange(RATE) / RATE).astype(np.float32)[None])
    high = record("high", burst(1.0))
    both = Instrument("two", (RecordedNote(low, 60, 100), RecordedNote(high, 67, 100)))
    for pitch, clear in ((62, True), (65, False)):
        assert (estimate_pitch(perform(both, DRY, Note(0, 0.8, pitch, 1.0)))[1] > 0.8) == clear


@pytest.mark.parametrize(("velocity", "layer"), [(0.1, 60), (0.35, 60), (0.8, 72), (1.0, 72)])
def test_the_nearest_velocity_layer_is_played(record, velocity, layer):
    layers = tuple(
        RecordedNote(record(f"v{v}", steady(sound, 1)), 60, v) for v, sound in ((30, 60), (120, 72))
    )  # the hard stroke is heard an octave higher
    sound = perform(Instrument("piano", layers), DRY, Note(0, 0.5, 60, velocity))
    assert peak_pitch(sound) == pytest.approx(layer, abs=0.05)


def test_recordings_of_the_same_note_take_turns(record):
    takes = tuple(RecordedNote(record(f"rr{k}", steady(60 + 12 * k, 0.4)), 60, 100) for k in range(3))
    notes = [Note(0.5 * k, 0.3, 60, 0.8) for k in range(16)]
    sound = perform(Instrument("piano", takes), DRY, *notes, seconds=8)
    starts = range(0, 8 * RATE, RATE // 2)
    assert {round(peak_pitch(sound[:, start : start + RATE // 4])) for start in starts} == {60, 72, 84}


def test_a_neighbouring_pitch_takes_no_turns(record):
    takes = (
        RecordedNote(record("near", steady(60, 0.4)), 60, 100),
        RecordedNote(record("far", steady(80, 0.4)), 61, 100),
    )
    notes = [Note(0.5 * k, 0.3, 60, 0.8) for k in range(8)]
    sound = perform(Instrument("piano", takes), DRY, *notes, seconds=4)
    starts = range(0, 4 * RATE, RATE // 2)
    assert {round(peak_pitch(sound[:, start : start + RATE // 4])) for start in starts} == {60}


def test_slurred_notes_overlap_without_an_attack(record):
    # The attack is loud, then the tone holds.
    sound = steady(60, 1.5)
    sound[:, : round(0.03 * RATE)] *= 4
    tones = Instrument("violin", (RecordedNote(record("violin", sound), 60, 100),))
    notes = Note(0.0, 0.5, 60, 1.0), Note(0.5, 0.5, 64, 1.0)
    second = slice(round(0.5 * RATE), round(0.53 * RATE))
    detached, slurred = (perform(tones, Touch(0.1, legato=legato), *notes)[:, second] for legato in (False, True))
    assert np.abs(detached).max() > 0.9
    assert np.abs(slurred).max() < 0.6
    # The first is released while the second fades in.
    alone = perform(tones, Touch(0.1, legato=True), notes[0])
    added = perform(tones, Touch(0.1, legato=True), *notes) - alone
    assert sounding(added)[0] == pytest.approx(0.5 * RATE, abs=20)
    fading = [loudness(added[:, at : at + 300]) for at in range(second.start, second.stop - 300, 300)]
    assert fading == sorted(fading)
    assert loudness(alone[:, second]) > 0.05


def test_notes_after_a_rest_are_not_slurred(instrument):
    tones = instrument(60)
    notes = Note(0.0, 0.3, 60, 1.0), Note(0.7, 0.3, 64, 1.0)
    played = [
        perform(tones, Touch(0.1, legato=legato, slide=slide), *notes) for legato in (False, True) for slide in (0, 1)
    ]
    for each in played[1:]:
        np.testing.assert_array_equal(each, played[0])


@pytest.mark.parametrize("interval", [-5, 7])
def test_a_slide_begins_at_the_last_pitch_and_arrives(instrument, interval):
    notes = Note(0.0, 0.2, 60, 1.0), Note(0.2, 1.2, 60 + interval, 1.0)
    sound = perform(instrument(60), Touch(0.01, legato=True, slide=0.4), *notes)
    early = peak_pitch(sound[:, round(0.22 * RATE) : round(0.3 * RATE)])
    late = peak_pitch(sound[:, round(0.9 * RATE) : round(1.4 * RATE)])
    assert late == pytest.approx(60 + interval, abs=0.1)
    assert abs(early - 60) < 0.6 * abs(interval) < abs(early - 60 - interval) + 0.6 * abs(interval)


def test_a_slide_to_a_lower_note_is_played_to_the_recordings_end(instrument):
    notes = Note(0.0, 0.2, 60, 1.0), Note(0.2, 5.0, 52, 1.0)
    sound = perform(instrument(60), Touch(0.01, legato=True, slide=0.05), *notes, seconds=5)
    assert sounding(sound)[1] == pytest.approx((0.2 + 2 * 2 ** (8 / 12)) * RATE, rel=0.02)


@pytest.mark.parametrize("semitones", [-12, -3.5, 2, 12])
def test_varispeed_moves_pitch_and_length_together(semitones):
    sound = np.concatenate([steady(60, 1), 0.5 * steady(60, 1)])
    moved = varispeed(sound, semitones)
    assert moved.dtype == np.float32
    assert moved.shape == (2, pytest.approx(RATE / 2 ** (semitones / 12), abs=2))
    assert peak_pitch(moved) == pytest.approx(60 + semitones, abs=0.03)
    np.testing.assert_allclose(moved[1], 0.5 * moved[0], atol=1e-6)


def test_varispeed_by_nothing_gives_back_the_sound():
    sound = steady(60, 0.2)
    assert varispeed(sound, 0.0) is sound


@pytest.fixture
def kit(record):
    return Kit("studio", {piece: (record(f"{piece}_01", burst(0.1)),) for piece in ("kick", "snare", "hat")})


def struck(hits, kit: Kit, *spare: Kit, looseness: float = 0.0) -> np.ndarray:
    return drum_track(hits, 2.0, kit, spare, looseness, np.random.default_rng(0))


def onsets(sound: np.ndarray) -> np.ndarray:
    """Samples at which the sound begins after at least 10 ms of silence."""
    (at,) = np.nonzero(np.abs(sound).max(axis=0) > 1e-5)
    return at[np.diff(at, prepend=-RATE) > 441]


def test_drums_sound_where_they_are_struck(kit):
    times = 0.0, 0.25, 0.7, 1.3
    sound = struck(list(zip(("kick", "snare", "hat", "kick"), times, (1, 0.9, 0.8, 0.7), strict=True)), kit)
    assert sound.shape == (2, 2 * RATE)
    np.testing.assert_allclose(onsets(sound), np.array(times) * RATE, atol=3)


def test_loose_players_are_early_and_late_by_little(kit):
    times = np.arange(8) / 4
    sound = struck([("kick", time, 1.0) for time in times], kit, looseness=0.01)
    late = onsets(sound) / RATE - times
    assert np.abs(late).max() < 0.05
    assert late.std() > 0.002


def test_harder_strokes_are_louder(kit):
    hard, soft = (loudness(struck([("kick", 0.1, velocity)], kit)) for velocity in (1.0, 0.4))
    assert soft < 0.5 * hard


def test_a_closed_hat_ends_early_and_an_open_one_does_not(record):
    hats = Kit("hats", {"hat": (record("hat_01", burst(1.0)),)})
    closed, opened = (sounding(struck([(name, 0.0, 1.0)], hats))[1] / RATE for name in ("hat", "open"))
    assert closed == pytest.approx(0.16, abs=0.01)
    assert opened > 0.8


def test_a_piece_that_a_kit_lacks_comes_from_a_spare_one_or_is_left_out(kit, record):
    hits = [("kick", 0.1, 1.0), ("crash", 1.0, 1.0)]
    assert len(onsets(struck(hits, kit))) == 1
    spare = Kit("cymbals", {"cymbal": (record("cymbal_01", burst(0.3)),)})
    np.testing.assert_allclose(onsets(struck(hits, kit, kit, spare)) / RATE, [0.1, 1.0], atol=1e-3)


def test_a_piece_of_its_own_is_preferred_to_another_kits(record):
    own = Kit("own", {"clap": (record("clap_01", steady(72, 0.2)),)})
    spare = Kit("spare", {"clap": (record("clap_02", steady(40, 0.2)),)})
    for seed in range(4):
        sound = drum_track([("clap", 0.0, 1.0)], 1.0, own, [spare], 0.0, np.random.default_rng(seed))
        assert peak_pitch(sound) == pytest.approx(72, abs=3)


def test_strummed_chords_are_moved_to_the_songs(record, make_score):
    score = make_score(root=48 + 1.0, scale=(0, 2, 4, 5, 7, 9, 11))  # in C sharp, bar after bar
    chord = Chord(record("strum_cmajor", steady(60, 1.0)), Key(0, minor=False))
    sound = strum_track(score, [chord], np.random.default_rng(1))
    assert sound is not None
    assert sound.shape == (2, round(score.seconds * RATE))
    assert peak_pitch(sound) == pytest.approx(61, abs=0.05)


@pytest.mark.parametrize("key", [Key(6, minor=False), Key(0, minor=True)])
def test_without_a_chord_that_is_near_nothing_is_strummed(record, make_score, key):
    chord = Chord(record("strum", steady(60, 1.0)), key)
    assert strum_track(make_score(), [chord], np.random.default_rng(1)) is None
