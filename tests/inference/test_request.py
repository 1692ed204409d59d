"""Which files a request means, and the names of what is written for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfswa_unet.errors import AudioError, ConfigError
from tfswa_unet.inference import InputFile, Request


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def tracks(inputs, out):
    return [file.track for file in Request.find(inputs, out).inputs]


def paths(out, template, track="song", stems=("vocals",), **settings):
    """Files that a template gives the stems of a track."""
    (job,) = Request([InputFile(Path("song.mp3"), track)], Path(out), template=template, **settings).jobs(stems)
    return job.paths


def test_folders_are_searched_to_the_bottom_in_order(tmp_path):
    seen = ["b.wav", "a.MP3", "album/b.flac", "album/disc 2/c.m4a"]
    touch(tmp_path, *seen, "album/cover.jpg", ".cache/d.wav", "album/._e.wav")
    files = Request.find([tmp_path], tmp_path / "out").inputs
    assert [file.track for file in files] == ["a", "album/b", "album/disc 2/c", "b"]
    assert all(file.path.is_file() for file in files)


def test_stems_of_an_earlier_run_are_not_separated_again(tmp_path):
    touch(tmp_path, "a.wav", "stems/a/vocals.wav")
    assert tracks([tmp_path], tmp_path / "stems") == ["a"]
    assert tracks([tmp_path], tmp_path) == ["a", "stems/a/vocals"]


def test_a_file_named_twice_is_found_once_whatever_its_ending(tmp_path):
    touch(tmp_path, "a.wav", "b.dat")
    assert tracks([tmp_path / "b.dat", tmp_path / "a.wav", tmp_path], tmp_path / "out") == ["b", "a"]


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(AudioError, match=r"missing\.wav: no such file or folder"):
        Request.find([tmp_path / "missing.wav"], tmp_path / "out")
    with pytest.raises(AudioError, match="holds no audio files: expected endings such as"):
        Request.find([tmp_path], tmp_path / "out")


def test_names_follow_the_template():
    template, stems = "{stem} of {track}.{ext}", ["vocals", "drums"]
    named = paths("out", template, "album/song [live]", stems, two_stems="vocals", format="flac16")
    assert named == {
        "vocals": Path("out/vocals of album/song [live].flac"),
        "no_vocals": Path("out/no_vocals of album/song [live].flac"),
    }


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        (
            "{title}/{stem}.{ext}",
            r"unknown field \{title\}: expected \{track\}, \{stem\}, \{ext\}, \{suffix\} and \{file\}",
        ),
        ("{track.__class__}/{stem}.{ext}", r"unknown field \{track.__class__\}"),
        ("{track[0]}/{stem}.{ext}", r"unknown field \{track\[0\]\}"),
        ("{track:>99999999}/{stem}.{ext}", r"unknown field \{track:>99999999\}"),
        ("{track!r}/{stem}.{ext}", r"unknown field \{track!r\}"),
        ("{}/{stem}.{ext}", r"unknown field \{\}"),
        ("{track/{stem}.{ext}", "cannot be read"),
        ("{track}/{stem}.mp3", r"gives track/stem.mp3, which does not end in .wav: end it with .\{ext\}"),
    ],
)
def test_templates_that_cannot_work_are_refused_without_a_model(template, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Request([], Path("out"), template=template)


@pytest.mark.parametrize("template", ["../{track}/{stem}.{ext}", "/tmp/{stem}.{ext}", "{track}/../../{stem}.{ext}"])
def test_names_outside_the_output_folder_are_refused_without_a_model(tmp_path, template):
    with pytest.raises(ConfigError, match=r"outside .*: remove what leads out of the folder"):
        Request([], tmp_path / "out", template=template)


@pytest.mark.parametrize(
    ("track", "stem"), [("../../song", "vocals"), ("song", "../../../etc/passwd"), ("..", "vocals")]
)
def test_neither_a_track_nor_a_stem_leads_out(tmp_path, track, stem):
    with pytest.raises(ConfigError, match="outside"):
        paths(tmp_path / "out", "{track}/{stem}.{ext}", track, [stem])


def test_a_link_does_not_lead_out(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/song").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="outside"):
        paths(tmp_path / "out", "{track}/{stem}.{ext}")


def test_several_stems_need_names_of_their_own():
    with pytest.raises(ConfigError, match=r"all stems of song one name: add \{stem\}"):
        paths("out", "{track}.{ext}", stems=["vocals", "bass"])
    assert len(paths("out", "{track}.{ext}")) == 1


def test_all_that_can_be_decoded_is_found_behind_links_too_and_the_rest_counted(tmp_path):
    touch(tmp_path / "in", "a.mkv", "b.wv", "c.caf", "d.txt", "e.JPG")
    touch(tmp_path / "elsewhere", "f.w64")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "in")
    request = Request.find([tmp_path / "in"], tmp_path / "out")
    assert [file.track for file in request.inputs] == ["a", "b", "c", "linked/f"]
    assert request.passed_over == {".txt": 1, ".jpg": 1}


def test_stems_beside_the_songs_are_no_songs_when_a_run_is_continued(tmp_path):
    touch(tmp_path, "a.wav", "b.wav", "a/vocals.wav", "a/drums.wav")
    request = Request.find([tmp_path], tmp_path, skip_existing=True)
    assert [job.file.track for job in request.jobs(["vocals", "drums"])] == ["a", "b"]


def test_songs_of_one_name_are_told_apart_by_their_endings(tmp_path):
    touch(tmp_path, "x.ogg", "x.opus")
    with pytest.raises(ConfigError, match=r"add \{suffix\} or \{file\} to the template"):
        Request.find([tmp_path], tmp_path / "out").jobs(["vocals"])
    request = Request.find([tmp_path], tmp_path / "out", template="{track}.{suffix}/{stem}.{ext}")
    assert len(request.jobs(["vocals"])) == 2


def test_names_too_long_are_refused_in_bytes(tmp_path):
    request = Request([InputFile(Path("song.mp3"), "ä" * 128)], tmp_path)
    (job,) = request.jobs(["vocals"])
    with pytest.raises(ConfigError, match="has 256 bytes, the file system takes 255"):
        request.check_lengths(job)


def test_a_pattern_stands_for_the_audio_that_fits(tmp_path):
    for name in ("a.wav", "b.wav", "c.flac", "cover.jpg", "disc/d.wav", "[x].wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def found(pattern):
        request = Request.find([tmp_path / pattern], tmp_path / "out")
        return [file.path.relative_to(tmp_path).as_posix() for file in request.inputs], dict(request.passed_over)

    assert found("?.wav") == (["a.wav", "b.wav"], {})
    assert found("*") == (["[x].wav", "a.wav", "b.wav", "c.flac"], {".jpg": 1})
    assert found("**/*.wav") == (["[x].wav", "a.wav", "b.wav", "disc/d.wav"], {})
    assert found("di*") == (["disc/d.wav"], {})
    assert found("[x].wav") == (["[x].wav"], {})  # what exists is no pattern
    with pytest.raises(AudioError, match=r"\*\.ogg: no audio file or folder fits this pattern"):
        found("*.ogg")
