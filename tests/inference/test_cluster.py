"""Separation by a Ray cluster of this machine, whose actors are killed in the middle."""

import json
import os
import signal

import numpy as np
import pytest

from tests.cli.conftest import bundle, small  # noqa: F401
from tfswa_unet import audio, cli
from tfswa_unet.errors import ConfigError
from tfswa_unet.inference import Request, Separator, separate_files
from tfswa_unet.inference.cluster import separate_on_cluster

ray = pytest.importorskip("ray", reason="ray is not installed: pip install '.[ray]'")
psutil = pytest.importorskip("psutil")
STEMS = ("bass", "drums", "other", "vocals")
SONGS = 8
OPTIONS = {"device": "cpu", "segment_seconds": 0.5, "overlap_seconds": 0.1, "precision": "fp32"}


@pytest.fixture(scope="module")
def cluster():
    """Two processors of this machine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=10**8)
    yield
    ray.shutdown()


@pytest.fixture
def songs(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(SONGS):
        audio.write(tmp_path / f"song{k}.wav", 0.1 * rng.standard_normal((2, 60_000)).astype(np.float32), 44_100)
    (tmp_path / "broken.wav").write_bytes(b"nothing")
    names = [f"song{k}.wav" for k in range(SONGS)]
    (tmp_path / "songs.txt").write_text("\n".join(["broken.wav", *names]))
    return tmp_path


def kill_a_worker():
    """Kill an actor's process at its work, as a machine that runs out of memory does."""
    actors = [p for p in psutil.Process().children(recursive=True) if p.name().startswith("ray::Worker")]
    assert actors
    os.kill(actors[0].pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_no_song_is_lost_with_an_actor_and_only_what_is_missing_is_done_again(bundle, songs, capsys):  # noqa: F811
    request = Request.find([], songs / "out", manifest=songs / "songs.txt", format="flac16")
    seen = []

    def told(result, total):
        seen.append(result)
        if len(seen) == 3:
            kill_a_worker()
        assert total == SONGS + 1

    results = separate_on_cluster(str(bundle), OPTIONS, request, on_result=told)
    assert (len(results), seen) == (SONGS + 1, results)
    by_name = {result.song.stem: result for result in results}
    assert by_name.pop("broken").status == "failed"
    assert {result.status for result in by_name.values()} == {"done"}
    made = sorted(str(path.relative_to(songs / "out")) for path in (songs / "out").rglob("*") if path.is_file())
    assert made == [f"song{k}/{stem}.flac" for k in range(SONGS) for stem in STEMS]
    # The same as without a cluster.
    (local,) = separate_files(Separator.load(bundle, **OPTIONS), [songs / "song3.wav"], songs / "here", format="flac16")
    for stem, path in local.files.items():
        np.testing.assert_allclose(audio.read(songs / f"out/song3/{stem}.flac"), audio.read(path), atol=2**-14)

    (songs / "out/song2/bass.flac").unlink()
    command = (
        f"separate --manifest {songs}/songs.txt --engine ray --jobs 1 --format flac16 -o {songs}/out --model {bundle}"
    )
    command += " --device cpu --segment 0.5 --overlap 0.1 --precision fp32 --json"
    capsys.readouterr()  # where Ray has told of the killed actor
    assert cli.main(command.split()) == 1
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert {name: summary[name] for name in ("done", "skipped", "failed")} == {"done": 1, "skipped": 7, "failed": 1}
    assert [song["song"] for song in summary["songs"] if song["status"] == "done"] == [str(songs / "song2.wav")]
    assert "broken.wav" in err
    assert "error: 1 of 9 songs failed" in err


@pytest.mark.usefixtures("cluster")
def test_what_the_cluster_has_not_is_refused(bundle, songs):  # noqa: F811
    request = Request.find([songs / "song0.wav"], songs / "out")
    with pytest.raises(ConfigError, match=r"3 actors of 1 threads are asked for, and the cluster has 2 processors"):
        separate_on_cluster(str(bundle), OPTIONS, request, workers=3)
    with pytest.raises(ConfigError, match="Ray separates files into files"):
        separate_on_cluster(str(bundle), OPTIONS, Request.find(["-"], songs / "out"))


@pytest.mark.usefixtures("cluster")
def test_a_model_that_is_not_there_is_named(songs, capsys):
    assert cli.main(f"separate {songs}/song0.wav --engine ray --jobs 1 --model none.ckpt".split()) == 1
    assert capsys.readouterr().err.startswith("error: none.ckpt: no such bundle or checkpoint")


def test_without_ray_the_extra_is_named(songs, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert cli.main(["separate", str(songs / "song0.wav"), "--engine", "ray"]) == 1
    assert "pip install 'tfswa-unet[ray]'" in capsys.readouterr().err
    assert cli.main(["separate", str(songs / "song0.wav"), "--engine", "spark"]) == 1
    assert "unknown engine 'spark': expected one of local, ray" in capsys.readouterr().err
    assert cli.main(["separate", str(songs / "song0.wav"), "--jobs", "2"]) == 1
    assert "--jobs is for --engine ray" in capsys.readouterr().err
