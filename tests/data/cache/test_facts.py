from __future__ import annotations

import json
import os

import numpy as np
import pytest
import soundfile

from tfswa_unet import audio
from tfswa_unet.data.cache.facts import Facts
from tfswa_unet.errors import AudioError


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros((50, 2)), 8_000)
    return path


def counted(monkeypatch):
    calls = []
    original = audio.probe
    monkeypatch.setattr(audio, "probe", lambda *args: calls.append(args) or original(*args))
    return calls


def test_a_file_is_opened_once_until_it_changes(tmp_path, wav, monkeypatch):
    opened = counted(monkeypatch)
    facts = Facts(tmp_path / "c")
    info = facts.probe(wav)
    assert (info.path, info.rate, info.channels, info.length, info.codec) == (wav, 8_000, 2, 50, "pcm_16")
    digest = facts.digest(wav)
    facts.save()
    again = Facts(tmp_path / "c")
    assert again.probe(wav) == info
    assert again.digest(wav) == digest
    assert again.without_digest([wav]) == []
    assert len(opened) == 1
    os.utime(wav, ns=(0, 0))
    assert again.without_digest([wav]) == [wav]
    assert again.digest(wav) == digest
    soundfile.write(wav, np.ones((60, 2)), 8_000)
    assert again.probe(wav).length == 60
    assert again.digest(wav) != digest
    assert len(opened) == 2


def test_two_writers_keep_what_the_other_found(tmp_path, wav):
    other = tmp_path / "b.wav"
    soundfile.write(other, np.zeros((9, 1)), 8_000)
    first, second = Facts(tmp_path / "c"), Facts(tmp_path / "c")
    first.digest(wav)
    second.digest(other)
    first.save()
    second.save()
    assert Facts(tmp_path / "c").without_digest([wav, other]) == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 9, "files": {}}', '{"format": 1, "files": {"a": {"size": 1, "more": 2}}}']
)
def test_an_index_that_cannot_be_used_is_made_anew(tmp_path, wav, text):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "index.json").write_text(text)
    facts = Facts(tmp_path / "c")
    facts.digest(wav)
    facts.save()
    assert list(json.loads((tmp_path / "c" / "index.json").read_text())["files"]) == [str(wav)]


def test_the_digest_is_that_of_the_bytes(tmp_path, wav):
    copy = tmp_path / "copy.wav"
    copy.write_bytes(wav.read_bytes())
    facts = Facts(tmp_path / "c")
    assert list(facts.digest_all([wav, copy], 2)) == [None, None]
    assert facts.digest(copy) == facts.digest(wav)
    copy.write_bytes(wav.read_bytes()[:-1] + b"\1")
    assert facts.digest(copy) != facts.digest(wav)


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(AudioError, match=r"gone\.wav: cannot be read: No such file"):
        Facts(tmp_path).probe(tmp_path / "gone.wav")
