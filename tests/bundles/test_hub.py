"""The Hugging Face Hub as the local server speaks it, by the real client."""

import pytest

from tests.bundles.server import COMMIT
from tfswa_unet.bundle import find_model, load_model, model_name, read_facts
from tfswa_unet.bundles import hub, remote
from tfswa_unet.cli import main
from tfswa_unet.errors import ConfigError, ModelError

constants = pytest.importorskip(
    "huggingface_hub.constants", reason="huggingface_hub is not installed: pip install '.[hub]'"
)
pytestmark = pytest.mark.usefixtures("plain")


@pytest.fixture
def plain(server, monkeypatch):
    """Transfers by HTTP alone, and no waiting before it is tried again."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("time.sleep", lambda _: None)


@pytest.fixture
def guitars(server, bundle):
    server.repositories["me/guitars"] = {"model.safetensors": bundle.read_bytes()}
    return "hf://me/guitars"


def refusal(name):
    with pytest.raises(ModelError) as caught:
        find_model(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_goes_there_and_comes_back(server, bundle, capsys):
    assert main(["push", str(bundle), "hf://me/guitars", "--private"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{server.address}/me/guitars/commit/{COMMIT}"
    files = server.repositories["me/guitars"]
    assert (sorted(files), server.private) == (["README.md", "model.safetensors"], {"me/guitars": True})
    assert files["model.safetensors"] == bundle.read_bytes()
    card = files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: tfswa-unet\npipeline_tag: audio-to-audio\n")
    assert "| stems | vocals, drums, bass, other |" in card
    assert "tfswa separate song.mp3 --model hf://me/guitars\n" in card
    assert main(["pull", "hf://me/guitars"]) == 0
    assert read_facts("hf://me/guitars") == read_facts(bundle)
    assert model_name("hf://me/guitars@v1") == "guitars"
    assert load_model("hf://me/guitars@v1").stems == load_model(bundle).stems
    assert sorted(remote.cached()) == ["hf://me/guitars", "hf://me/guitars@v1"]


def test_a_revision_once_fetched_needs_no_network(server, guitars, capsys):
    path = find_model(guitars)
    remote._fetched.cache_clear()
    server.asked.clear()
    assert main(["card", guitars, "--offline"]) == 0
    assert capsys.readouterr().out.startswith("# guitars\n")
    assert (server.asked, find_model(guitars)) == ([], path)
    assert main(["card", "hf://me/drums", "--offline"]) == 1
    assert "hf://me/drums is not in the cache" in capsys.readouterr().err


def test_what_arrives_with_another_hash_is_not_kept(server, guitars, files):
    server.damaged.add("me/guitars")
    assert "arrived damaged" in refusal(guitars)
    assert not [name for name in files() if name.endswith(".safetensors") or len(name) == 64]
    server.damaged.clear()
    assert find_model(guitars).read_bytes() == server.repositories["me/guitars"]["model.safetensors"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("hf://me/none", "hf://me/none does not exist or is private"),
        ("hf://me/guitars@v7", "the repository has no such revision"),
        ("hf://me/empty", "holds no model.safetensors: only repositories that `tfswa push` made"),
        ("hf://me", "is no repository: expected hf://OWNER/NAME or hf://OWNER/NAME@REVISION"),
        ("hf://me/../guitars", "is no repository"),
    ],
)
def test_what_cannot_be_had_is_said(server, guitars, name, sentence):
    server.repositories["me/empty"] = {}
    assert sentence in refusal(name)


def test_only_the_owner_can_push(server, bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "another's")
    assert main(["push", str(bundle), "hf://me/guitars"]) == 1
    assert "`hf auth login`" in capsys.readouterr().err
    assert main(["push", str(bundle), "me/guitars"]) == 1
    assert main(["push", str(tmp_path / "x.ckpt"), "hf://me/guitars"]) == 1
    assert "x.ckpt is no bundle: make one of a checkpoint by `tfswa bundle CKPT`" in capsys.readouterr().err
    assert server.repositories == {}


def test_without_the_package_the_extra_is_named(guitars, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match=r"pip install 'tfswa-unet\[hub\]'"):
        find_model(guitars)
    assert hub.parse("me/x@v1") == ("me/x", "v1")
