from __future__ import annotations

import shutil
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tfswa_unet.errors import DataError
from tfswa_unet.songs import writing
from tfswa_unet.songs.writing import SongRecipe, check_space, claim, is_whole, write_song


@dataclass(frozen=True)
class Recipe(SongRecipe):
    what, manifest = "songs", "made.json"

    songs: int = 2
    seed: int = 0


class Other(Recipe):
    manifest = "other.json"


def test_a_new_or_empty_folder_is_claimed_and_claimed_again_by_the_same_recipe(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").touch()
    for out in (tmp_path / "deep" / "new", tmp_path / "empty"):
        claim(out, Recipe())
        written = (out / "made.json").read_bytes()
        (out / "train").mkdir()
        claim(out, Recipe())
        assert (out / "made.json").read_bytes() == written


def test_a_folder_of_anything_else_is_refused(tmp_path):
    claim(tmp_path / "a", Recipe())
    with pytest.raises(DataError) as refused:
        claim(tmp_path / "a", Recipe(3, 1))
    assert str(refused.value) == (
        f"{tmp_path / 'a'} holds other songs, songs 2 where 3 is asked for, seed 0 where 1 is asked for: choose "
        "another folder, ask for what it holds, or delete it"
    )
    with pytest.raises(DataError, match=r"holds files that are no songs \(there is no other\.json\): choose an empty"):
        claim(tmp_path / "a", Other())
    (tmp_path / "a" / "made.json").write_bytes(b"\xff{")
    with pytest.raises(DataError, match=r"made\.json cannot be read as JSON: choose another folder, or delete"):
        claim(tmp_path / "a", Recipe())
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file cannot take songs \(.+\): choose a folder that you can write to"):
        claim(tmp_path / "file", Recipe())


def test_several_may_claim_a_folder_at_once(tmp_path, monkeypatch):
    original, out = Path.iterdir, tmp_path / "songs"
    out.mkdir()

    def claimed_meanwhile(folder):
        if folder == out and not (out / "made.json").exists():
            (out / "made.json").write_text('{"songs": 2, "seed": 0}')
            (out / "train").mkdir()
        return original(folder)

    monkeypatch.setattr(Path, "iterdir", claimed_meanwhile)
    claim(out, Recipe())
    assert (out / "train").is_dir()


def test_room_is_asked_for_every_file_and_a_little_more(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    needed = 3 * (2 + 1) * (4 * 1_000 + 4_096) * 1.02
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(0, 0, needed))
    check_space(tmp_path / "new", 3, 2, 1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(0, 0, needed - 1))
    with pytest.raises(DataError, match=r"new needs 0\.00 GB for its songs and has 0\.00 GB free: ask for fewer"):
        check_space(tmp_path / "new", 3, 2, 1_000)


def test_the_written_mixture_is_the_sum_of_the_written_stems(tmp_path):
    rng = np.random.default_rng(0)
    stems = {name: rng.uniform(-0.3, 0.3, (2, 500)).astype(np.float32) for name in "abc"}
    write_song(tmp_path / "train" / "song", stems, 8_000)
    read = {path.stem: soundfile.read(path, dtype="int16")[0].T for path in (tmp_path / "train" / "song").iterdir()}
    assert set(read) == {"mixture", *stems}
    np.testing.assert_array_equal(read["mixture"], sum(read[name].astype(int) for name in stems))
    for name, sound in stems.items():
        np.testing.assert_array_equal(read[name], np.rint(sound * 2**15))
    assert soundfile.info(tmp_path / "train" / "song" / "a.wav").samplerate == 8_000


def test_a_song_is_whole_with_all_of_its_files_at_their_length(tmp_path):
    song = tmp_path / "train" / "song"
    assert not is_whole(song, "ab", 500)
    write_song(song, dict.fromkeys("ab", np.zeros((2, 500), np.float32)), 8_000)
    assert is_whole(song, "ab", 500)
    assert not is_whole(song, "abc", 500)
    assert not is_whole(song, "ab", 600)
    (song / "mixture.wav").unlink()
    assert not is_whole(song, "ab", 500)
    write_song(song, dict.fromkeys("ab", np.zeros((2, 500), np.float32)), 8_000)
    assert is_whole(song, "ab", 500)


def test_several_may_write_the_same_song_at_once(tmp_path, monkeypatch):
    stems = dict.fromkeys("ab", np.ones((2, 500), np.float32) / 4)
    together = threading.Barrier(2, timeout=60)
    waited = threading.local()

    def is_whole_together(*arguments):
        # Both have written their files when they look for the other's song.
        if not hasattr(waited, "once"):
            waited.once = True
            together.wait()
        return is_whole(*arguments)

    monkeypatch.setattr(writing, "is_whole", is_whole_together)
    with ThreadPoolExecutor(2) as pool:
        written = [pool.submit(write_song, tmp_path / "train" / "song", stems, 8_000) for _ in range(2)]
    assert [each.exception() for each in written] == [None] * 2
    assert is_whole(tmp_path / "train" / "song", stems, 500)
    assert [path.name for path in (tmp_path / "train").iterdir()] == ["song"]


def test_a_whole_song_is_left_as_it_is_for_those_who_read_it(tmp_path):
    stems = dict.fromkeys("ab", np.ones((2, 500), np.float32) / 4)
    song = tmp_path / "train" / "song"
    write_song(song, stems, 8_000)
    (song / "notes.txt").touch()
    write_song(song, stems, 8_000)
    assert (song / "notes.txt").exists()


def test_a_folder_that_another_has_put_there_meanwhile_is_kept(tmp_path, monkeypatch):
    stems = dict.fromkeys("ab", np.ones((2, 500), np.float32) / 4)
    song = tmp_path / "train" / "song"
    write_song(tmp_path / "other", stems, 8_000)
    whole = writing.is_whole

    def is_whole_until_looked_at(folder, *arguments):
        found = whole(folder, *arguments)
        if not song.exists():
            shutil.copytree(tmp_path / "other", song)
        return found

    monkeypatch.setattr(writing, "is_whole", is_whole_until_looked_at)
    monkeypatch.setattr(writing.shutil, "rmtree", lambda *_, **__: None)
    write_song(song, stems, 8_000)
    assert whole(song, stems, 500)
