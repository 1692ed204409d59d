from __future__ import annotations

import shutil

import numpy as np
import pytest
import soundfile

from tests.songs.conftest import RATE, burst, harmonics, phrase
from tfswa_unet.data.tempo_key import Key
from tfswa_unet.errors import AudioError, DataError
from tfswa_unet.songs.recordings import (
    Instrument,
    Kit,
    Recordings,
    divide,
    estimate_pitch,
    key_in_name,
    load,
    load_untouched,
    scan,
)
from tfswa_unet.types import STEMS

LOWEST, HIGHEST = 28, 96  # MIDI numbers from a bass's lowest string to a flute's top


@pytest.fixture(scope="module")
def found(recordings_folder):
    return scan(recordings_folder, workers=1)


@pytest.fixture
def few(tmp_path, recordings_folder):
    """One recording a stem."""
    for name in (
        "bass/upright/pizz_034",
        "other/piano/grand_060_v40",
        "vocals/choir/voices_ah_060",
        "drums/club/kick_01",
    ):
        path = tmp_path / f"{name}.wav"
        path.parent.mkdir(parents=True)
        shutil.copy(recordings_folder / f"{name}.wav", path)
    return tmp_path


def instrument(found: Recordings, stem: str, name: str) -> Instrument:
    return next(each for each in found.instruments[stem] if each.name == name)


def test_names_say_what_is_a_note_and_which_instrument_it_belongs_to(found):
    names = {stem: [each.name for each in found.instruments[stem]] for stem in found.instruments}
    assert names == {
        "bass": ["upright/pizz"],
        "other": ["piano/felt c", "piano/grand"],
        "vocals": ["choir/voices_ah"],
    }


def test_notes_sound_at_their_pitch_whatever_their_name_says(found):
    notes = {note.path.stem: note.pitch for note in instrument(found, "bass", "upright/pizz").notes}
    assert notes["pizz_034"] == pytest.approx(34, abs=0.1)
    assert notes["pizz_040"] == pytest.approx(40, abs=0.1)
    assert notes["pizz_046"] == pytest.approx(34, abs=0.1)  # named an octave too high
    assert notes["pizz_045"] == 45  # noise: nothing but the name
    assert list(notes.values()) == sorted(notes.values())


def test_a_clear_tone_without_a_pitch_in_its_name_is_a_note(found):
    (note,) = instrument(found, "other", "piano/felt c").notes
    assert (note.pitch, note.velocity) == (pytest.approx(59.8, abs=0.1), 100)


def test_velocity_layers_are_one_instrument(found):
    notes = instrument(found, "other", "piano/grand").notes
    assert sorted((round(note.pitch), note.velocity) for note in notes) == [(60, 40), (60, 110), (67, 40), (67, 110)]


def test_kits_hold_the_takes_of_their_pieces(found):
    kits = {
        kit.name: {piece: [path.stem for path in paths] for piece, paths in kit.pieces.items()} for kit in found.kits
    }
    assert kits == {
        "club": {"kick": ["kick_01"], "clap": ["clap_01"]},
        "studio": {"kick": ["kick_01"], "snare": ["snare_01", "snare_02"], "hat": ["hat_01"]},
    }


def test_passages_have_the_tempo_and_key_of_their_names(found):
    sung = {passage.path.stem: passage for passage in found.passages["vocals"]}
    verse, spoken = sung["verse 120 bpm e-minor"], sung["one"]
    assert (verse.source, verse.bpm, verse.key) == ("anna", 120, Key(4, minor=True))
    assert sung["chorus 120 bpm g-major"].key == Key(7, minor=False)
    assert verse.seconds == pytest.approx(1.5, abs=0.01)
    assert (spoken.source, spoken.bpm, spoken.key) == ("speech of ben", None, None)
    assert [passage.bpm for passage in found.passages["drums"]] == [100]
    assert set(found.passages) == {"vocals", "drums"}


@pytest.fixture
def band(few, write_wav):
    """Three songs of which excerpts lie there, the last without drums; and vocals that are of none."""
    for song in ("first", "second", "third"):
        for stem in STEMS:
            if (song, stem) != ("third", "drums"):
                path = few / f"{stem}/band/{song}_{stem}_aligned.wav"
                write_wav(path, burst(7.0, seed=STEMS.index(stem)), RATE)
    write_wav(few / "vocals/band/alone_vocals_aligned.wav", burst(7.0), RATE)
    return few


def test_aligned_passages_are_excerpts_of_one_song(band):
    found = scan(band, workers=1)
    assert [sorted(each) for each in found.excerpts] == [sorted(STEMS)] * 2 + [["bass", "other", "vocals"]]
    assert all(each[stem].parent.parent.name == stem for each in found.excerpts for stem in each)
    assert [{path.stem.split("_")[0] for path in each.values()} for each in found.excerpts] == [
        {"first"},
        {"second"},
        {"third"},
    ]
    assert len(found.passages["vocals"]) == 4


def test_the_passages_of_an_excerpt_train_or_validate_with_it(band):
    for seed in range(4):
        train, valid = divide(scan(band, workers=1), seed)
        for side, count in ((train, 2), (valid, 1)):
            assert len(side.excerpts) == count
            quoted = {path for each in side.excerpts for path in each.values()}
            passages = {each.path for of in side.passages.values() for each in of}
            assert {path for path in passages if "alone" not in path.name} == quoted


def test_a_short_passage_with_a_key_is_a_chord(found):
    assert [(chord.path.stem, chord.key) for chord in found.chords] == [("strum_amajor_01", Key(9, minor=False))]


def test_a_short_line_with_a_tempo_in_its_name_is_no_note(few, write_wav):
    path = write_wav(few / "bass/lines/walk 90 bpm.wav", phrase((40, 43, 47), 1.5), RATE)
    assert [passage.path for passage in scan(few, workers=1).passages["bass"]] == [path]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("strum_amajor_up", Key(9, minor=False)),
        ("verse f-sharp minor", Key(6, minor=True)),
        ("B flat major", Key(10, minor=False)),
        ("loop_bbminor", Key(10, minor=True)),
        ("c#minor", Key(1, minor=True)),
        ("cflatmajor", Key(11, minor=False)),
        ("ursa major", None),
        ("verse", None),
    ],
)
def test_keys_in_names(name, key):
    assert key_in_name(name) == key


def test_every_file_is_listed_once(recordings_folder, found):
    assert found.files == sorted(recordings_folder.rglob("*.wav"))


def test_progress_is_told(few):
    told = []
    scan(few, workers=1, on_progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("pitch", range(LOWEST, HIGHEST + 1, 4))
def test_the_pitch_of_a_harmonic_tone_is_found(pitch):
    for detuned in (pitch, pitch + 0.37):
        measured, clarity = estimate_pitch(harmonics(detuned, 0.5))
        assert measured == pytest.approx(detuned, abs=0.1)
        assert clarity > 0.9


def test_the_pitch_of_a_tone_without_its_fundamental_is_found():
    time = np.arange(RATE // 2) / RATE
    sound = sum(np.sin(2 * np.pi * 110 * k * time) for k in (2, 3, 4, 5)).astype(np.float32)[None]
    assert estimate_pitch(sound)[0] == pytest.approx(45, abs=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_noise_has_no_pitch(seed):
    assert estimate_pitch(burst(0.5, seed=seed))[1] < 0.5


def test_silence_and_clicks_have_no_pitch():
    assert estimate_pitch(np.zeros((1, RATE), np.float32)) == (0, 0)
    assert estimate_pitch(harmonics(60, 0.1)) == (0, 0)


def test_a_recording_is_read_from_where_it_sounds_at_full_scale(tmp_path, write_wav):
    sound = np.concatenate(
        [np.zeros((1, 5_000), np.float32), 0.1 * np.cos(np.arange(9_000), dtype=np.float32)[None]], 1
    )
    loaded = load(write_wav(tmp_path / "late.wav", sound, RATE))
    assert loaded.shape == (1, 9_000)
    assert np.abs(loaded).max() == pytest.approx(1)
    np.testing.assert_allclose(loaded[0], np.cos(np.arange(9_000)), atol=1e-4)
    with pytest.raises(ValueError, match="read-only"):
        loaded[:] = 0  # it is shared


def test_what_sounds_together_is_read_from_its_beginning_at_its_level(tmp_path, write_wav):
    sound = np.concatenate([np.zeros((1, 5_000), np.float32), 0.1 * np.ones((1, 9_000), np.float32)], 1)
    loaded = load_untouched(write_wav(tmp_path / "late.wav", sound, RATE))
    np.testing.assert_allclose(loaded, sound, atol=1e-6)


def test_another_rate_is_resampled(tmp_path, write_wav):
    loaded = load(write_wav(tmp_path / "low.wav", harmonics(60, 0.5, 22_050), 22_050))
    assert loaded.shape[1] == pytest.approx(RATE // 2, abs=2)
    assert estimate_pitch(loaded)[0] == pytest.approx(60, abs=0.1)


def _broken(folder):
    (folder / "piano_060.wav").write_bytes(b"RIFF but no audio")


def _silent(folder):
    _write(folder / "piano_060.wav", np.zeros((1, RATE), np.float32))


def _infinite(folder):
    _write(folder / "piano_060.wav", np.full((1, RATE), np.inf, np.float32))


def _pitchless(folder):
    _write(folder / "thud.wav", burst(0.4))


def _surround(folder):
    _write(folder / "piano_060.wav", np.repeat(harmonics(60, 0.5), 4, axis=0))


def _write(path, sound):
    soundfile.write(path, sound.T, RATE, subtype="FLOAT")


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (_broken, AudioError, "piano_060.wav"),
        (_silent, DataError, "piano_060.wav is silent or not finite: leave it out"),
        (_infinite, AudioError, "44100 samples are NaN or infinite"),
        (_pitchless, DataError, "thud.wav is 0.40 s long, and its name does not end in a pitch such as _060: rename"),
        (_surround, DataError, "piano_060.wav has 4 channels, expected 1 or 2"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_or_left_out(few, caplog, spoil, error, message):
    files = sorted(few.rglob("*.wav"))
    spoil(few / "other" / "piano")
    with pytest.raises(error) as told:
        scan(few, workers=1)
    assert message in str(told.value)
    assert "\n" not in str(told.value)
    left = scan(few, on_error="skip", workers=1)
    assert left.files == files
    assert message in caplog.text


def test_a_hit_needs_the_name_of_its_piece(few, write_wav):
    write_wav(few / "drums/studio/thing.wav", burst(0.2), RATE)
    with pytest.raises(DataError, match=r"0\.20 s long, and its name does not begin with one of kick, snare, clap"):
        scan(few, workers=1)


def test_folders_that_are_missing_or_empty_are_named(tmp_path, recordings_folder):
    with pytest.raises(DataError, match="vocals is not a folder: recordings lie in vocals/, drums/, bass/, other/"):
        scan(tmp_path / "nowhere")
    for stem in STEMS:
        (tmp_path / stem).mkdir()
    with pytest.raises(DataError, match="vocals holds no audio files: put recordings of vocals there"):
        scan(tmp_path)


def test_a_stem_with_nothing_that_can_be_used_is_named(few):
    shutil.rmtree(few / "bass")
    (few / "bass" / "broken").mkdir(parents=True)
    _broken(few / "bass" / "broken")
    with pytest.raises(DataError, match="bass holds nothing that a song can be made from"):
        scan(few, on_error="skip", workers=1)


def _many(count: int) -> Recordings:
    kits = tuple(Kit(str(k), {}) for k in range(count))
    return Recordings({"bass": tuple(Instrument(str(k), ()) for k in range(count))}, kits)


@pytest.mark.parametrize(("count", "held"), [(2, 1), (8, 1), (16, 2), (31, 3)])
def test_an_eighth_is_held_out(count, held):
    train, valid = divide(_many(count), seed=3)
    for whole, first, second in (
        (_many(count).kits, train.kits, valid.kits),
        (_many(count).instruments["bass"], train.instruments["bass"], valid.instruments["bass"]),
    ):
        assert len(second) == held
        assert {each.name for each in first} | {each.name for each in second} == {each.name for each in whole}
        assert not {each.name for each in first} & {each.name for each in second}
    assert divide(_many(count), seed=3) == (train, valid)
    assert train.chords == valid.chords == ()


def test_another_seed_holds_out_others():
    assert len({tuple(kit.name for kit in divide(_many(16), seed)[1].kits) for seed in range(6)}) > 1


def test_what_there_is_only_one_of_is_in_both(found):
    train, valid = divide(found, seed=0)
    assert train.chords == valid.chords == found.chords
    assert train.instruments["bass"] == valid.instruments["bass"]
