from __future__ import annotations

import hashlib
import subprocess

import pytest

from tfswa_unet.evaluation import report


@pytest.fixture
def repository(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, "-c", "core.hooksPath=/dev/null", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    (tmp_path / "__init__.py").write_text("a = 1\n")
    monkeypatch.setattr(report, "PACKAGE", tmp_path)
    return git


def test_commit_names_the_head_and_says_when_files_differ(repository, tmp_path):
    repository("add", "__init__.py")
    repository("commit", "--quiet", "-m", "first")
    head = repository("rev-parse", "HEAD")
    (tmp_path / "untracked.txt").write_text("")
    assert report.commit() == head
    (tmp_path / "__init__.py").write_text("a = 2\n")
    assert report.commit() == f"{head}+dirty"


def test_commit_of_a_repository_that_does_not_hold_the_package_is_none(repository, tmp_path):
    (tmp_path / "other.txt").write_text("")
    repository("add", "other.txt")
    repository("commit", "--quiet", "-m", "first")
    assert report.commit() is None


def test_commit_outside_git_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "PACKAGE", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert report.commit() is None


def test_content_hash_of_files_and_folders(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert report.content_hash(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    whole = report.content_hash(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert report.content_hash(tmp_path) != whole
