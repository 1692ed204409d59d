from __future__ import annotations

import hashlib

import pytest

from tfswa_unet.files import content_hash, free_bytes, replacing, write_text


def test_a_file_is_replaced_at_once_and_readable_by_others(tmp_path):
    path = tmp_path / "new" / "scores.json"
    write_text(path, "ä")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert (temporary.parent, temporary.suffix) == (path.parent, ".json")
        assert path.read_text(encoding="utf-8") == "ä"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), replacing(path) as temporary:
        temporary.write_text("half \udc80", encoding="utf-8")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_free_space_is_that_of_the_folder_that_will_hold_it(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("shutil.disk_usage", lambda place: asked.append(place) or type("Usage", (), {"free": 7}))
    assert free_bytes(tmp_path / "a" / "b") == 7
    assert asked == [tmp_path]


def test_content_hash_of_files_and_folders(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert content_hash(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    whole = content_hash(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert content_hash(tmp_path) != whole
    only = content_hash(tmp_path, "*.py")
    (tmp_path / "b").write_bytes(b"other")
    assert content_hash(tmp_path, "*.py") == only
