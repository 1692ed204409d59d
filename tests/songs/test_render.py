"""What a rendered song is made of: its stems, its bass lines and the MIDI file that it follows."""

from dataclasses import replace

import numpy as np
import pytest

from tests.songs.sounds import RATE, SOUNDS, burst, tone, write_sounds
from tfswa_unet.data.tempo_key import Key
from tfswa_unet.errors import DataError
from tfswa_unet.songs import rendered
from tfswa_unet.songs.midi import MidiPart, MidiSong
from tfswa_unet.songs.recordings import scan
from tfswa_unet.songs.rendered import PEAK, REMIXED, render
from tfswa_unet.songs.score import Note
from tfswa_unet.types import STEMS

SECONDS = 1.5


def test_the_seed_alone_decides(recordings):
    one, same, other = (render(recordings, (), (seed, 0), SECONDS) for seed in (5, 5, 6))
    assert tuple(one) == STEMS
    for stem in STEMS:
        assert one[stem].shape == (2, round(SECONDS * RATE))
        assert one[stem].dtype == np.float32
        assert np.isfinite(one[stem]).all()
        assert one[stem].tobytes() == same[stem].tobytes()
        assert abs(np.corrcoef(one[stem][0], other[stem][0])[0, 1]) < 0.5


def test_excerpts_keep_their_mix_and_what_they_lack_is_silent(recordings, tmp_path, monkeypatch):
    write_sounds(tmp_path, {f"{stem}/band/song_{stem}_aligned.wav": burst(0, 3.0, 9.0) for stem in ("drums", "other")})
    excerpt = {stem: tmp_path / f"{stem}/band/song_{stem}_aligned.wav" for stem in ("drums", "other")}
    monkeypatch.setattr(rendered, "EXCERPTS", 1.0)
    stems = render(replace(recordings, excerpts=(excerpt,)), (), (0, 0), SECONDS)
    assert tuple(stems) == STEMS
    assert not stems["vocals"].any()
    assert not stems["bass"].any()
    gain = 20 * np.log10(np.abs(stems["drums"]).max() / np.abs(stems["other"]).max())
    assert 0 < abs(gain) <= 2 * REMIXED
    np.testing.assert_allclose(stems["drums"], 10 ** (gain / 20) * stems["other"], atol=1e-5)


def test_songs_use_the_scale_and_leave_it_nowhere(recordings):
    for seed in range(3):
        stems = render(recordings, (), (seed, 1), SECONDS)
        peaks = [np.abs(audio).max() for audio in (*stems.values(), sum(stems.values()))]
        assert max(peaks) == pytest.approx(PEAK, abs=1e-4)
        assert sum(np.square(audio).mean() > 1e-6 for audio in stems.values()) >= 3


def test_a_bass_of_high_notes_alone_is_played(samples, tmp_path):
    high = {name: sound for name, sound in SOUNDS.items() if not name.startswith("bass")}
    write_sounds(tmp_path, {**high, "bass/solo/harmonic_060.wav": tone(60, 0.8)})
    recordings = scan(tmp_path, workers=1)
    loudest = max(np.abs(render(recordings, (), (seed, 0), SECONDS)["bass"]).max() for seed in range(2))
    assert loudest > 0.01


def test_a_song_follows_its_midi_file(recordings, tmp_path, monkeypatch):
    low, high = (tuple(Note(0.1 + 0.2 * k, 0.2, pitch + k, 0.8) for k in range(4)) for pitch in (36.0, 60.0))
    song = MidiSong(1.2, 120.0, Key(9, minor=True), (MidiPart("bass", low), MidiPart("other", high)))
    monkeypatch.setattr(rendered, "read_midi", lambda path: song)
    monkeypatch.setattr(rendered, "MIDI_SHARE", 1.0)
    monkeypatch.setattr(rendered, "SYNTHESISED", 0.0)
    heard = []
    monkeypatch.setattr(rendered.Sampler, "play", lambda self, bus, notes: heard.append([note.pitch for note in notes]))
    render(recordings, [tmp_path / "one.mid"], (0, 0), 1.2)
    assert [36.0, 37.0, 38.0, 39.0] in heard
    assert [60.0, 61.0, 62.0, 63.0] in heard


def test_some_bass_lines_are_synthesized_and_half_of_all_lie_lower(recordings, monkeypatch):
    lines, centres = [], set()
    line = rendered.bass_line

    def noted(score, rng, centre):
        centres.add(centre)
        return line(score, rng, centre)

    monkeypatch.setattr(rendered, "bass_line", noted)
    monkeypatch.setattr(rendered, "play", lambda notes, *rest: lines.append(notes) or np.zeros(rest[-1], np.float32))
    monkeypatch.setattr(rendered, "ALBUM", {**rendered.ALBUM, "bass": 0.0})
    monkeypatch.setattr(rendered, "STABS", 0.0)
    for seed in range(12):
        render(recordings, [], (seed, 0), 1.0)
    assert 0 < len(lines) < 12
    assert centres == {rendered.SUB, rendered.CENTRE}


def test_some_basses_without_a_midi_file_are_short_electronic_notes(recordings, monkeypatch):
    shares = []

    def noted(score, rng, rate, stabs):
        shares.append(stabs)
        return np.zeros((2, round(score.seconds * rate)), np.float32)

    monkeypatch.setattr(rendered, "bass", noted)
    for seed in range(12):
        render(recordings, [], (seed, 0), 1.0)
    assert 0 < len(shares) < 12
    assert set(shares) == {1.0}


def test_a_broken_midi_file_is_refused_or_left_out(recordings, tmp_path, monkeypatch, caplog):
    (tmp_path / "broken.mid").write_bytes(b"no music")
    monkeypatch.setattr(rendered, "MIDI_SHARE", 1.0)
    with pytest.raises(DataError, match=r"broken\.mid"):
        render(recordings, [tmp_path / "broken.mid"], (0, 0), SECONDS)
    stems = render(recordings, [tmp_path / "broken.mid"], (0, 0), SECONDS, "skip")
    assert all(np.isfinite(audio).all() for audio in stems.values())
    assert "broken.mid" in caplog.text
