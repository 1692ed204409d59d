import pickle

import fsspec
import numpy as np
import pytest

from tfswa_unet import audio
from tfswa_unet.errors import AudioError, ConfigError
from tfswa_unet.inference import Request, Separator, separate_files
from tfswa_unet.inference.catalogue import Store, read_manifest

RATE = 8000


@pytest.fixture
def separator(gains):
    return Separator(gains({"a": 0.5, "b": 0.25}), device="cpu", segment_seconds=0.5, overlap_seconds=0.1)


@pytest.fixture
def memory(tmp_path):
    """An address of one's own in fsspec's memory, and its file system."""
    files = fsspec.filesystem("memory")
    address = f"memory://{tmp_path.name}/stems"
    yield address, files
    files.rm(f"/{tmp_path.name}", recursive=True) if files.exists(f"/{tmp_path.name}") else None


@pytest.fixture
def songs(tmp_path, noise):
    for name in ("one/x", "two/x"):
        path = tmp_path / f"{name}.wav"
        path.parent.mkdir()
        audio.write(path, noise(2, RATE, seed=len(name)), RATE)
    return tmp_path


def test_a_manifest_lists_paths_and_names(tmp_path):
    manifest = tmp_path / "songs.txt"
    manifest.write_text("one/x.wav\n\n/elsewhere/y.flac\n../z.mp3\n/elsewhere/y.mp3\tmine/y\r\n", encoding="utf-8")
    found = [(str(path), track) for path, track in read_manifest(manifest)]
    inside = [(f"{tmp_path}/one/x.wav", "one/x"), (f"{tmp_path}/../z.mp3", "z")]
    assert found == [inside[0], ("/elsewhere/y.flac", "y"), inside[1], ("/elsewhere/y.mp3", "mine/y")]
    manifest.write_text("\n")
    with pytest.raises(ConfigError, match="lists no song"):
        read_manifest(manifest)
    with pytest.raises(ConfigError, match=r"none\.txt cannot be read"):
        read_manifest(tmp_path / "none.txt")


def test_songs_of_a_manifest_are_separated_beside_others(separator, songs):
    (songs / "songs.txt").write_text("one/x.wav\ntwo/x.wav\nnone.wav\n")
    results = separate_files(separator, [songs / "one"], songs / "out", manifest=songs / "songs.txt")
    assert [result.status for result in results] == ["done", "done", "failed"]
    assert "none.wav: no such file" in results[2].error
    assert sorted(path.parent.name for path in (songs / "out").rglob("a.wav")) == ["x", "x"]
    with pytest.raises(ConfigError, match="no song is given"):
        Request.find([], songs / "out")


def test_stems_go_into_a_store_and_are_left_alone_there(separator, songs, memory):
    address, files = memory
    inputs = [songs / "one", songs / "two/x.wav"]
    (first,) = separate_files(separator, inputs[:1], address, format="flac24")
    assert first.files == {"a": f"{address}/x/a.flac", "b": f"{address}/x/b.flac"}
    names = [path.rpartition("/stems/")[2] for path in files.find(address)]
    assert names == ["x/a.flac", "x/b.flac"]
    copy = songs / "copy.flac"
    files.get_file(first.files["a"], str(copy))
    np.testing.assert_allclose(audio.read(copy), 0.5 * audio.read(songs / "one/x.wav"), atol=1e-6)
    again = separate_files(separator, inputs[:1], address, format="flac24", skip_existing=True)
    assert [(result.status, result.files) for result in again] == [("skipped", first.files)]
    files.rm(first.files["b"])
    (third,) = separate_files(separator, inputs[:1], address, format="flac24", skip_existing=True)
    assert third.status == "done"
    assert files.exists(first.files["b"])


def test_what_fails_on_its_way_into_a_store_has_no_name_there(songs, memory, monkeypatch):
    address, files = memory
    store, put = Store(address), files.put_file

    def broken(local, path, **_):
        put(local, path)
        if "second" in local:
            raise OSError("the line is dead")

    (songs / "second").write_bytes(b"2")
    monkeypatch.setattr(type(files), "put_file", lambda self, local, path, **_: broken(local, path))
    with pytest.raises(AudioError, match=r"cannot be written \(the line is dead\)"):
        store.put({"first": songs / "one/x.wav", "new/second": songs / "second"})
    assert files.find(address) == []
    assert not store.holds(["first"])
    assert pickle.loads(pickle.dumps(store)).address("x") == f"{address}/x"


def test_what_lies_in_a_store_is_read_listed_and_deleted(songs, memory):
    address, files = memory
    store = Store(address)
    assert store.folders() == []
    store.put({"1/a/x.wav": songs / "one/x.wav", "2/x.wav": songs / "two/x.wav", "y.wav": songs / "one/x.wav"})
    content = (songs / "one/x.wav").read_bytes()
    assert (sorted(store.folders()), store.size("1/a/x.wav")) == (["1", "2"], len(content))
    with store.open("1/a/x.wav") as file:
        file.seek(10)
        assert file.read() == content[10:]
    store.get("1/a/x.wav", songs / "copy.wav")
    assert (songs / "copy.wav").read_bytes() == content
    for _ in range(2):  # once more, where it is there no longer
        store.remove("1")
        store.remove("y.wav")
    assert [path.rpartition("/stems/")[2] for path in files.find(address)] == ["2/x.wav"]
    with pytest.raises(FileNotFoundError):
        store.size("1/a/x.wav")


def test_a_store_that_cannot_be_opened_is_refused(songs):
    with pytest.raises(ConfigError, match=r"nowhere://x cannot be opened"):
        Request.find([songs / "one"], "nowhere://x")
    with pytest.raises(ConfigError, match="a picture is drawn beside stems in a folder"):
        Request.find([songs / "one"], "memory://x", picture=True)
