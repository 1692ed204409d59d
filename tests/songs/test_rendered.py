"""Songs rendered from a small folder of recordings: their bytes, their folder, their sources, and what is refused."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import soundfile

from tests.songs.sounds import RATE, tone, write_sounds
from tfswa_unet.data import load_tracks
from tfswa_unet.data.sets.layouts import COLUMNS, read_table
from tfswa_unet.errors import AudioError, DataError
from tfswa_unet.songs import rendered
from tfswa_unet.songs.recordings import divide
from tfswa_unet.songs.rendered import PEAK, make_render_recipe, render, write_rendered
from tfswa_unet.types import STEMS

SONGS, SECONDS = 3, 1.5
FILES = sorted([*STEMS, "mixture"])
VALID = "valid/render-00003"


def digest(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def write(samples, out, seed=7, **changes):
    write_rendered(samples, out, **{"songs": SONGS, "seconds": SECONDS, "seed": seed, "workers": 1, **changes})


@pytest.fixture(scope="module")
def made(samples, tmp_path_factory):
    """A data set of three songs."""
    out = tmp_path_factory.mktemp("made") / "songs"
    write(samples, out)
    return out


@pytest.fixture
def own(samples, tmp_path):
    """Those recordings, to be changed."""
    return shutil.copytree(samples, tmp_path / "own")


@pytest.fixture
def quick(monkeypatch):
    """Noise in place of songs; gives the list of recordings, seeds and lengths that they were asked of."""
    calls = []

    def noise(recordings, midi, seed, seconds, on_error="raise"):
        calls.append((recordings, seed, seconds))
        rng = np.random.default_rng(seed)
        return {stem: 0.2 * rng.uniform(-1, 1, (2, round(seconds * RATE))).astype(np.float32) for stem in STEMS}

    monkeypatch.setattr(rendered, "render", noise)
    return calls


def test_files_and_splits(made):
    assert sorted(path.name for path in made.iterdir()) == ["rendered.json", "train", "valid"]
    songs = {split: [track.name for track in load_tracks("auto", made, split)] for split in ("train", "valid")}
    assert songs == {"train": ["render-00001", "render-00002"], "valid": ["render-00003"]}
    for song in made.glob("*/*"):
        assert sorted(path.stem for path in song.iterdir()) == FILES


def test_the_written_mixture_is_exactly_the_sum_of_the_written_stems(made):
    for song in made.glob("*/*"):
        info = soundfile.info(song / "mixture.wav")
        assert (info.samplerate, info.channels, info.frames, info.subtype) == (RATE, 2, 66_150, "PCM_16")
        stems = [soundfile.read(song / f"{stem}.wav", dtype="int16")[0].astype(int) for stem in STEMS]
        mixture = soundfile.read(song / "mixture.wav", dtype="int16")[0]
        assert np.array_equal(mixture, sum(stems))
        assert max(np.abs(sound.astype(int)).max() for sound in (mixture, *stems)) <= PEAK * 2**15 + 2


def test_bytes_do_not_depend_on_the_processes(samples, made, tmp_path):
    out = shutil.copytree(made, tmp_path / "again")
    for song in ("train/render-00001", VALID):
        shutil.rmtree(out / song)
    write(samples, out, workers=2)
    assert digest(out) == digest(made)


def test_files_hold_the_rendered_song(recordings, made):
    _, valid = divide(recordings, 7)
    for stem, sound in render(valid, (), (7, 2), SECONDS).items():
        written = soundfile.read(made / VALID / f"{stem}.wav", dtype="float32")[0].T
        assert np.abs(written - sound).max() <= 0.5 / 32_768 + 1e-7


def test_each_song_has_its_own_seed_and_validation_its_own_recordings(samples, tmp_path, quick):
    write(samples, tmp_path / "songs", songs=4)
    assert sorted(seed for _, seed, _ in quick) == [(7, number) for number in range(4)]
    used = {seed[1]: set(recordings.files) for recordings, seed, _ in quick}
    assert used[0] == used[1] == used[2]
    shared = {path.parent.parent.name for path in used[0] & used[3]}
    assert shared == {"bass", "other", "drums"}  # there is one bass, one piano and one kit; but there are two phrases
    assert {path.name for path in used[0] ^ used[3]} == {"first.wav", "second.wav"}


@pytest.mark.parametrize(("songs", "valid"), [(2, 1), (20, 1), (39, 1), (40, 2)])
def test_one_song_in_twenty_validates(samples, songs, valid):
    recipe = make_render_recipe(samples, None, songs, 1, 0)
    assert [recipe.split(number) for number in range(songs)] == ["train"] * (songs - valid) + ["valid"] * valid


def test_run_again_it_makes_what_is_missing(samples, tmp_path, quick):
    out, told = tmp_path / "songs", []
    write(samples, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.wav") if "00002" not in str(path)}
    shutil.rmtree(out / "train" / "render-00002")
    quick.clear()
    write(samples, out, on_progress=lambda *call: told.append(call))
    assert [seed for _, seed, _ in quick] == [(7, 1)]
    assert told == [(2, 3), (3, 3)]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (out / "valid" / "render-00003" / "bass.wav").unlink()
    write(samples, out)
    assert [seed for _, seed, _ in quick] == [(7, 1), (7, 2)]


def test_what_is_whole_is_not_listened_to_again(samples, tmp_path, quick, monkeypatch):
    heard = []
    write(samples, tmp_path / "songs", on_examined=lambda *call: heard.append(call))
    assert [total for _, total in heard] == [9] * len(heard)
    assert heard[-1] == (9, 9)
    monkeypatch.setattr(rendered, "scan", lambda *_, **__: pytest.fail("listened again"))
    write(samples, tmp_path / "songs")


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 8}, "seed 7 where 8 is asked for"),
        ({"seconds": 1.0}, "seconds 1.5 where 1.0 is asked for"),
        ({"songs": 2}, "songs 3 where 2 is asked for"),
    ],
)
def test_other_songs_in_the_same_place_are_refused(samples, tmp_path, quick, monkeypatch, whole, changes, message):
    out = tmp_path / "songs"
    write(samples, out)
    if not whole:
        shutil.rmtree(out / "train")
    before = digest(out)
    monkeypatch.setattr(rendered, "scan", lambda *_, **__: pytest.fail("listened before it was refused"))
    with pytest.raises(DataError) as refused:
        write(samples, out, **changes)
    assert str(refused.value).startswith(f"{out} holds other rendered songs, ")
    assert message in str(refused.value)
    assert digest(out) == before


@pytest.mark.parametrize("whole", [True, False])
def test_songs_of_other_recordings_are_refused(samples, own, tmp_path, quick, whole):
    out = tmp_path / "songs"
    write(samples, out)
    if not whole:
        shutil.rmtree(out / "valid")
    write_sounds(own, {"other/piano/key_072.wav": tone(72, 0.5)})
    with pytest.raises(DataError, match=r"holds other rendered songs, recordings \w{16} where \w{16} is asked for"):
        write(own, out)


def test_songs_of_another_renderer_are_refused(samples, tmp_path, quick):
    write(samples, tmp_path)
    values = json.loads((tmp_path / "rendered.json").read_text())
    (tmp_path / "rendered.json").write_text(json.dumps({**values, "renderer": 0}))
    with pytest.raises(DataError, match=f"renderer 0 where {rendered.RENDERER} is asked for"):
        write(samples, tmp_path)


def test_the_place_of_the_recordings_does_not_matter(samples, own, tmp_path, quick):
    write(samples, tmp_path / "songs")
    quick.clear()
    write(own, tmp_path / "songs")
    assert not quick


def test_a_folder_with_other_files_is_refused_before_anything_is_listened_to(samples, tmp_path, monkeypatch):
    monkeypatch.setattr(rendered, "scan", lambda *_, **__: pytest.fail("listened before it was refused"))
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds files that are no rendered songs .*: choose an empty folder"):
        write(samples, tmp_path)


def row(folder, stem):
    return dict(zip(COLUMNS, [folder, f"all of {folder}", "1", "CC0-1.0", stem, "3", "2"], strict=True))


ROWS = [row("upright", "bass"), row("gone", "bass"), row("studio", "drums"), row("studio", "other")]


def table(rows, columns=COLUMNS):
    return "".join("\t".join(fields) + "\n" for fields in [columns, *(each.values() for each in rows)])


@pytest.mark.parametrize("place", ["SOURCES.tsv", "../SOURCES.tsv"])
def test_sources_go_along_for_the_folders_that_are_there(own, tmp_path, quick, place):
    (own / place).write_text(table(ROWS))
    write(own, tmp_path / "songs")
    assert read_table(tmp_path / "songs" / "SOURCES.tsv") == [ROWS[0], ROWS[2]]
    write(own, tmp_path / "songs")  # the table is no foreign file


def test_sources_of_midi_files_go_along_where_they_are_followed(own, tmp_path, quick):
    (tmp_path / "scores" / "songbook").mkdir(parents=True)
    (tmp_path / "scores" / "songbook" / "one.mid").write_bytes(b"not read here")
    (own / "SOURCES.tsv").write_text(table([*ROWS, row("songbook", "midi")]))
    write(own, tmp_path / "without")
    write(own, tmp_path / "with", midi=tmp_path / "scores")
    assert [each["stem"] for each in read_table(tmp_path / "without" / "SOURCES.tsv")] == ["bass", "drums"]
    assert [each["stem"] for each in read_table(tmp_path / "with" / "SOURCES.tsv")] == ["bass", "drums", "midi"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table(ROWS) + "short\trow\n", "line 6: 2 fields, expected 7 as in the first line"),
        ("folder\tlicence\nupright\tCC0-1.0\n", "lacks the columns source, version, stem, seconds, files"),
        ("", "is empty"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
    ids=["fields", "columns", "empty", "bytes"],
)
def test_a_malformed_table_is_refused_before_anything_is_made(own, tmp_path, content, message):
    (own / "SOURCES.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=rf"SOURCES\.tsv.*{message}") as refused:
        write(own, tmp_path / "songs")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "songs").exists()


@pytest.mark.parametrize("name", ["bass/upright/pizz_034.wav", "vocals/anna/first.wav", "drums/studio/kick_01.wav"])
def test_a_silent_recording_is_refused_in_one_sentence_or_left_out(own, tmp_path, quick, caplog, name):
    soundfile.write(own / name, np.zeros(RATE), RATE)
    told = f"{own / name} is silent or not finite: leave it out"
    with pytest.raises(DataError) as refused:
        write(own, tmp_path / "songs")
    assert str(refused.value) == told
    assert not (tmp_path / "songs").exists()
    write(own, tmp_path / "songs", on_error="skip")
    assert caplog.messages == [f"left out: {told}"]
    assert all(own / name not in recordings.files for recordings, _, _ in quick)
    assert len(quick) == SONGS


def test_a_broken_recording_is_refused_or_left_out(own, tmp_path, quick, caplog):
    (own / "other/piano/key_060.wav").write_bytes(b"no audio")
    with pytest.raises(AudioError, match=r"key_060\.wav"):
        write(own, tmp_path / "songs")
    assert not (tmp_path / "songs").exists()
    write(own, tmp_path / "songs", on_error="skip")
    assert "key_060.wav" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"songs": 1}, "1 songs were asked for; ask for 2 or more, one of which validates"),
        ({"seconds": 0.5}, "a song of 0.5 s cannot be made; give at least 1 s"),
        ({"seed": -1}, "the seed is -1; give 0 or more"),
        ({"workers": 0}, "0 workers were asked for; give workers >= 1, or leave it out to use every processor"),
    ],
)
def test_impossible_requests_are_refused_before_anything_is_made(samples, tmp_path, changes, message):
    with pytest.raises(DataError) as refused:
        write(samples, tmp_path / "songs", **changes)
    assert str(refused.value) == message
    assert not (tmp_path / "songs").exists()


def test_missing_folders_are_refused(samples, own, tmp_path):
    with pytest.raises(DataError, match=r"nowhere is not a folder: give one that holds vocals/, drums/, bass/, other/"):
        write(tmp_path / "nowhere", tmp_path / "songs")
    with pytest.raises(DataError, match=r"holds no MIDI files: give a folder of \.mid files, or leave it out"):
        write(samples, tmp_path / "songs", midi=samples)
    shutil.rmtree(own / "drums")
    with pytest.raises(DataError, match="drums is not a folder"):
        write(own, tmp_path / "songs")
    assert not (tmp_path / "songs").exists()
