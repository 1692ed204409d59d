import hashlib
from pathlib import Path

import pytest

from tfswa_unet import Separator
from tfswa_unet.bundle import find_model, fingerprint, load_model, model_name
from tfswa_unet.bundles import remote
from tfswa_unet.cli import main
from tfswa_unet.errors import ModelError


@pytest.fixture
def digest(bundle):
    return hashlib.sha256(bundle.read_bytes()).hexdigest()


@pytest.fixture
def url(server, bundle):
    server.files["/models/guitars.safetensors"] = bundle.read_bytes()
    return f"{server.address}/models/guitars.safetensors"


def refusal(name):
    with pytest.raises(ModelError) as caught:
        find_model(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_url_with_its_hash_is_fetched_once(server, url, digest, bundle, files):
    path = find_model(f"{url}#sha256={digest.upper()}")
    assert path.read_bytes() == bundle.read_bytes()
    remote._fetched.cache_clear()
    for again in (f"{url}#sha256={digest}", Path(f"{url}#sha256={digest}"), url):  # a Path takes one slash away
        assert find_model(again) == path
    assert (model_name(url), fingerprint(url)) == ("guitars", digest[:16])
    assert Separator.load(url, device="cpu", segment_seconds=1, overlap_seconds=0.2).stems == load_model(bundle).stems
    assert server.asked == ["GET /models/guitars.safetensors"]
    assert files() == ["guitars.safetensors", "guitars.safetensors.url"]
    assert remote.cached() == {url: path}


def test_what_was_damaged_in_the_cache_is_fetched_again(server, url, digest, bundle):
    path = find_model(f"{url}#sha256={digest}")
    path.write_bytes(b"half")
    remote._fetched.cache_clear()
    assert find_model(url).read_bytes() == bundle.read_bytes()
    path.unlink()  # within the process too
    assert find_model(url).read_bytes() == bundle.read_bytes()


def test_a_url_without_a_hash_is_refused_before_it_was_fetched(server, url, files):
    sentence = "has no hash, and what is behind it may change: add #sha256= and the file's SHA-256"
    assert sentence in refusal(url)
    assert (server.asked, files()) == ([], [])


def test_a_hash_has_64_digits(url):
    assert "expected #sha256= with 64 hexadecimal digits behind the URL, got #sha256=12ab" in refusal(
        f"{url}#sha256=12ab"
    )


def test_a_half_download_is_never_kept(server, url, digest, files):
    server.cut.add("/models/guitars.safetensors")
    assert "the connection broke off after" in refusal(f"{url}#sha256={digest}")
    assert files() == []


def test_a_file_of_another_hash_is_never_kept(url, digest, files):
    assert f"holds a file of SHA-256 {digest}, expected {'0' * 64}" in refusal(f"{url}#sha256={'0' * 64}")
    assert files() == []


def test_what_is_not_there_is_said(server, url, digest, files):
    assert "the server answers 404 Not Found: check the URL" in refusal(
        f"{server.address}/none.safetensors#sha256={digest}"
    )
    assert "cannot be fetched" in refusal(f"http://127.0.0.1:9/m.safetensors#sha256={digest}")
    assert "does not end in a file's name" in refusal(f"{server.address}/models/#sha256={digest}")
    assert "does not end in a file's name" in refusal(f"{server.address}/models/%2e%2e#sha256={digest}")
    assert files() == []


def test_nothing_is_fetched_while_offline(server, url, digest, monkeypatch, capsys):
    assert main(["info", f"{url}#sha256={digest}", "--offline"]) == 1
    told = capsys.readouterr().err
    assert "is not in the cache" in told
    assert f"run `tfswa pull {url}#sha256={digest}` once" in told
    assert main(["pull", f"{url}#sha256={digest}"]) == 0
    server.asked.clear()
    remote._fetched.cache_clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["card", url]) == 0
    assert capsys.readouterr().out.count("# guitars\n") == 1
    assert server.asked == []


def test_a_cache_that_cannot_be_written_is_named(url, digest, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TFSWA_CACHE", str(tmp_path / "file"))
    assert "TFSWA_CACHE" in refusal(f"{url}#sha256={digest}")


def test_the_cache_lies_where_caches_lie(monkeypatch):
    monkeypatch.delenv("TFSWA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert remote.cache_folder() == Path("/somewhere/tfswa-unet")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert remote.cache_folder() == Path.home() / ".cache/tfswa-unet"


def test_pull_prints_what_it_fetched_and_copies_it(url, digest, bundle, tmp_path, capsys):
    out = tmp_path / "new/copy.safetensors"
    assert main(["pull", f"{url}#sha256={digest}", "-o", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(f"vocals, drums, bass, other at 44100 Hz, {bundle.stat().st_size / 1e6:.1f} MB")
    assert lines[1:] == [f"sha256={digest}", str(out)]
    assert out.read_bytes() == bundle.read_bytes()
    assert main(["pull", "tfswa_open_small"]) == 1
    assert (
        capsys.readouterr().err == "error: tfswa_open_small: expected hf://OWNER/NAME or https://HOST/FILE#sha256=…\n"
    )
