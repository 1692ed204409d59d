from __future__ import annotations

import mido
import pytest

from tfswa_unet.data.tempo_key import Key
from tfswa_unet.errors import DataError
from tfswa_unet.songs.midi import LONGEST, MidiSong, read_midi
from tfswa_unet.songs.score import Note

BEAT = 480  # ticks
A_MAJOR = (57, 59, 61, 62, 64, 66, 68, 69, 64, 61, 57, 57)


@pytest.fixture
def write_midi(tmp_path):
    """Write tracks of messages, whose times are ticks since the one before."""

    def write(*tracks, bpm: float | None = 120, kind: int = 1):
        file = mido.MidiFile(type=kind, ticks_per_beat=BEAT)
        head = [] if bpm is None else [mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bpm))]
        for messages in (head, *tracks):
            file.tracks.append(mido.MidiTrack(messages))
        file.save(tmp_path / "song.mid")
        return tmp_path / "song.mid"

    return write


def played(pitches, channel: int, program: int = 0, velocity: int = 127, length: int = BEAT) -> list[mido.Message]:
    """A program, and notes after each other."""
    messages = [mido.Message("program_change", channel=channel, program=program)]
    for pitch in pitches:
        messages.append(mido.Message("note_on", channel=channel, note=pitch, velocity=velocity))
        messages.append(mido.Message("note_off", channel=channel, note=pitch, time=length))
    return messages


def stems(song: MidiSong) -> list[str]:
    return [part.stem for part in song.parts]


def test_notes_have_the_times_and_velocities_of_the_file(write_midi):
    song = read_midi(write_midi(played((60, 64), 0, velocity=64), bpm=100))
    assert song.tempo == pytest.approx(100)
    assert song.seconds == pytest.approx(1.2)
    (part,) = song.parts
    assert part.notes == (
        Note(0.0, pytest.approx(0.6), 60.0, pytest.approx(64 / 127)),
        Note(pytest.approx(0.6), pytest.approx(0.6), 64.0, pytest.approx(64 / 127)),
    )


def test_parts_are_stems_by_channel_program_and_register(write_midi):
    path = write_midi(
        played((72, 76), 0, program=0),
        played((50, 52), 1, program=33),
        played((36, 38, 42), 9),
        played((30, 33), 2, program=80),
        played((50, 55), 3, program=40),
    )
    assert stems(read_midi(path)) == ["other", "bass", "bass", "other", "drums"]


def test_a_channel_that_changes_its_program_is_two_parts(write_midi):
    song = read_midi(write_midi(played((50, 52), 0, program=33) + played((60, 62), 0, program=4)))
    assert [(part.stem, [note.pitch for note in part.notes]) for part in song.parts] == [
        ("other", [60, 62]),
        ("bass", [50, 52]),
    ]


@pytest.mark.parametrize(("bpm", "tempo"), [(120, 120), (60, 60), (30, 60), (300, 150), (None, 120)])
def test_the_tempo_is_one_that_songs_have(write_midi, bpm, tempo):
    assert read_midi(write_midi(played((60,), 0), bpm=bpm)).tempo == pytest.approx(tempo, rel=1e-4)


def test_a_tempo_of_nothing_is_passed_over(write_midi):
    path = write_midi([mido.MetaMessage("set_tempo", tempo=0, time=BEAT)], played((60,), 0), bpm=None)
    assert read_midi(path).tempo == 120


def test_the_key_is_that_of_the_notes_without_the_drums(write_midi):
    drums = played((36, 46, 48) * 20, 9)
    assert read_midi(write_midi(played(A_MAJOR, 0), drums)).key == Key(9, minor=False)


def test_drums_alone_have_no_key(write_midi):
    song = read_midi(write_midi(played((36, 38), 9)))
    assert song.key is None
    assert stems(song) == ["drums"]


def test_notes_end_at_the_next_stroke_of_their_key_at_the_latest(write_midi):
    struck = [mido.Message("note_on", note=60, time=0), mido.Message("note_on", note=60, time=BEAT)]
    silenced = mido.Message("note_on", note=60, velocity=0, time=BEAT // 2)
    (part,) = read_midi(write_midi([*struck, silenced])).parts
    assert [(note.start, note.seconds) for note in part.notes] == [(0, 0.5), (0.5, 0.25)]


def test_notes_that_never_end_do_so_with_the_song_or_when_they_are_too_long(write_midi):
    held = [mido.Message("note_on", note=60), mido.Message("note_on", note=64, time=38 * BEAT)]
    (part,) = read_midi(write_midi([*held, mido.MetaMessage("end_of_track", time=2 * BEAT)])).parts
    assert [(note.pitch, note.seconds) for note in part.notes] == [(60, LONGEST), (64, 1.0)]


def test_an_excerpt_holds_the_notes_that_begin_in_it(write_midi):
    song = read_midi(write_midi(played(range(60, 68), 0), played((36,), 9)))
    part = song.excerpt(1.0, 1.5)
    assert (part.seconds, part.tempo, part.key, stems(part)) == (1.5, song.tempo, song.key, ["other"])
    assert [(note.start, note.pitch) for note in part.parts[0].notes] == [(0, 62), (0.5, 63), (1.0, 64)]
    assert song.excerpt(100, 1).parts == ()


def test_a_file_without_notes_is_refused(write_midi):
    path = write_midi([mido.Message("program_change", program=3)])
    with pytest.raises(DataError, match=r"song\.mid holds no notes: leave it out"):
        read_midi(path)


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _other_format(data: bytes) -> bytes:
    return b"RIFF" + data[4:]


def _no_time(data: bytes) -> bytes:
    return data[:12] + b"\0\0" + data[14:]


def _unknown_key(data: bytes) -> bytes:
    return data.replace(b"\xff\x59\x02\x02\x00", b"\xff\x59\x02\x02\x07")


def _independent_tracks(data: bytes) -> bytes:
    return data[:8] + b"\0\2" + data[10:]


@pytest.mark.parametrize("spoil", [_cut, _other_format, _no_time, _unknown_key, _independent_tracks, lambda data: b""])
def test_a_file_that_cannot_be_read_is_refused_in_one_sentence(write_midi, spoil):
    path = write_midi([mido.MetaMessage("key_signature", key="D")], played(A_MAJOR, 0))
    data = path.read_bytes()
    assert spoil(data) != data
    path.write_bytes(spoil(data))
    with pytest.raises(DataError, match=r"song\.mid cannot be read as MIDI \(.+\): leave it out") as told:
        read_midi(path)
    assert "\n" not in str(told.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"gone\.mid cannot be read as MIDI"):
        read_midi(tmp_path / "gone.mid")
