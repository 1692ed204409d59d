from __future__ import annotations

from pathlib import Path

import pytest

from tfswa_unet.errors import ConfigError
from tfswa_unet.inference.request import Naming


def test_names_follow_the_template():
    naming = Naming(Path("out"), "{stem} of {track}.{ext}", "flac")
    assert naming.paths("album/song [live]", ["vocals", "no_vocals"]) == {
        "vocals": Path("out/vocals of album/song [live].flac"),
        "no_vocals": Path("out/no_vocals of album/song [live].flac"),
    }


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{title}/{stem}.{ext}", r"unknown field \{title\}: expected \{track\}, \{stem\} and \{ext\}"),
        ("{track.__class__}/{stem}.{ext}", r"unknown field \{track.__class__\}"),
        ("{track[0]}/{stem}.{ext}", r"unknown field \{track\[0\]\}"),
        ("{track:>99999999}/{stem}.{ext}", r"unknown field \{track:>99999999\}"),
        ("{track!r}/{stem}.{ext}", r"unknown field \{track!r\}"),
        ("{}/{stem}.{ext}", r"unknown field \{\}"),
        ("{track/{stem}.{ext}", "cannot be read"),
        ("{track}/{stem}.mp3", r"gives track/stem.mp3, which does not end in .wav: end it with .\{ext\}"),
    ],
)
def test_templates_that_cannot_work_are_refused(template, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Naming(Path("out"), template, "wav")


@pytest.mark.parametrize("template", ["../{track}/{stem}.{ext}", "/tmp/{stem}.{ext}", "{track}/../../{stem}.{ext}"])
def test_names_outside_the_output_folder_are_refused(tmp_path, template):
    with pytest.raises(ConfigError, match=r"outside .*: remove what leads out of the folder"):
        Naming(tmp_path / "out", template, "wav").paths("song", ["vocals"])


@pytest.mark.parametrize(
    ("track", "stem"), [("../../song", "vocals"), ("song", "../../../etc/passwd"), ("..", "vocals")]
)
def test_neither_a_track_nor_a_stem_leads_out(tmp_path, track, stem):
    with pytest.raises(ConfigError, match="outside"):
        Naming(tmp_path / "out", "{track}/{stem}.{ext}", "wav").paths(track, [stem])


def test_a_link_does_not_lead_out(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/song").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="outside"):
        Naming(tmp_path / "out", "{track}/{stem}.{ext}", "wav").paths("song", ["vocals"])


def test_several_stems_need_names_of_their_own():
    with pytest.raises(ConfigError, match=r"all stems of song one name: add \{stem\}"):
        Naming(Path("out"), "{track}.{ext}", "wav").paths("song", ["vocals", "bass"])
    assert len(Naming(Path("out"), "{track}.{ext}", "wav").paths("song", ["vocals"])) == 1
