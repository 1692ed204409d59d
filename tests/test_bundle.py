from __future__ import annotations

import hashlib
import json
import os
import pickle

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from tests.cli.conftest import small_config
from tfswa_unet import bundle, bundles, models
from tfswa_unet.bundle import average, find_model, fingerprint, load_model, read_facts, save_bundle
from tfswa_unet.errors import ModelError
from tfswa_unet.inference import Separator


def small(**changes):
    """Plain values of a network that builds in milliseconds."""
    return {**small_config(), **changes}


@pytest.fixture
def model():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return models.build(small()).eval()


def checkpoint(path, model, **changes):
    content = {
        "state_dict": {f"model.{name}": value for name, value in model.state_dict().items()}
        | {"loss.window": torch.ones(2)},
        "hyper_parameters": {"model": small(), "lr": 1e-3},
        "epoch": 3,
        "global_step": 1200,
        "callbacks": {"ModelCheckpoint{'monitor': 'sdr'}": {"monitor": "sdr", "current_score": torch.tensor(6.5)}},
        **changes,
    }
    torch.save(content, path)
    return path


def outputs(model):
    torch.manual_seed(1)
    with torch.inference_mode():
        return model(torch.randn(1, 2, 8000))


def test_a_bundle_gives_the_same_samples(model, tmp_path):
    path = save_bundle(tmp_path / "new" / "m.safetensors", model, {"epoch": 7, "scores": {"sdr": 6.1}})
    loaded = load_model(path)
    assert torch.equal(outputs(loaded), outputs(model))
    assert not loaded.training
    assert (loaded.stems, loaded.rate, loaded.channels) == (model.stems, model.rate, model.channels)
    facts = read_facts(path)
    assert facts["training"] == {"epoch": 7, "scores": {"sdr": 6.1}}
    assert (facts["format"], facts["name"], facts["rate"]) == (2, "small", 44100)
    assert facts["stems"] == list(model.stems)
    assert [entry.name for entry in path.parent.iterdir()] == ["m.safetensors"]


def test_a_checkpoint_gives_the_same_samples_and_its_facts(model, tmp_path):
    path = checkpoint(tmp_path / "last.ckpt", model)
    assert torch.equal(outputs(load_model(str(path))), outputs(model))
    assert read_facts(path)["training"] == {
        "epoch": 3,
        "step": 1200,
        "scores": {"sdr": 6.5},
        "averaged": False,
        "recipe": {"lr": 1e-3},
    }


def test_pieces_and_sources_of_a_checkpoint_are_facts(model, tmp_path):
    kept = {
        "pieces": [{"steps": [0, 1200], "seconds": 60.5}],
        "sources": [{"source": "an album", "licence": "CC0-1.0"}],
    }
    path = checkpoint(tmp_path / "last.ckpt", model, callbacks={"Pieces": kept, "Other": {"sources": ["theirs"]}})
    training = read_facts(path)["training"]
    assert {name: training[name] for name in kept} == kept
    bundled = save_bundle(tmp_path / "m.safetensors", model, training)
    assert read_facts(bundled)["training"] == training


def test_averaged_weights_are_what_a_checkpoint_gives(model, tmp_path):
    raw = {f"model.{name}": torch.zeros_like(value) for name, value in model.state_dict().items()}
    path = checkpoint(tmp_path / "last.ckpt", model, current_model_state=raw)
    assert torch.equal(outputs(load_model(path)), outputs(model))
    assert read_facts(path)["training"]["averaged"] is True


def test_weights_of_a_compiled_model_are_read(model, tmp_path):
    state = {f"model._orig_mod.{name}": value for name, value in model.state_dict().items()}
    assert torch.equal(outputs(load_model(checkpoint(tmp_path / "c.ckpt", model, state_dict=state))), outputs(model))


def test_a_preset_gives_random_weights_only_where_that_is_allowed():
    assert load_model("tfswa_tiny", allow_random=True).config["name"] == "tfswa_tiny"
    with pytest.raises(ModelError, match="tfswa_tiny is a preset, which has no trained weights: give a bundle"):
        load_model("tfswa_tiny")


def decibels(wanted, got):
    """SNR of each stem."""
    noise = (wanted - got).square().sum((0, 2, 3))
    return 10 * torch.log10(wanted.square().sum((0, 2, 3)) / noise)


def test_half_precision_halves_the_file_and_keeps_50_db(tmp_path):
    torch.manual_seed(0)
    model = models.build(models.preset("tfswa_tiny"))
    model(0.1 * torch.randn(1, 2, 44_100))  # the norms' statistics are no longer those of a fresh model
    whole = save_bundle(tmp_path / "whole.safetensors", model.eval())
    half = save_bundle(tmp_path / "half.safetensors", model, half=True)
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    loaded = load_model(half)
    assert {value.dtype for value in loaded.state_dict().values() if value.is_floating_point()} == {torch.float32}
    assert 50 <= decibels(outputs(load_model(whole)), outputs(loaded)).min() < 140
    assert [read_facts(path)["precision"] for path in (half, whole)] == ["fp16", "fp32"]


def test_half_precision_is_of_large_weights_that_it_holds(model, tmp_path):
    with torch.no_grad():
        tiny, *_ = (weight for weight in model.parameters() if weight.ndim > 1)
        tiny.fill_(1e-8)  # which half precision rounds to nothing
    model.register_buffer("count", torch.tensor(1 << 40))
    stored = load_file(save_bundle(tmp_path / "m.safetensors", model, half=True))
    parameters = dict(model.named_parameters())
    large = {name for name, weight in parameters.items() if weight.ndim > 1 and weight is not tiny}
    assert {name for name, value in stored.items() if value.dtype == torch.float16} == large
    assert all(torch.equal(stored[name], value) for name, value in model.state_dict().items() if name not in large)
    assert any("running_var" in name for name in stored)


@pytest.mark.parametrize("value", [7e4, -1e9, float("nan")])
def test_a_weight_beyond_half_precision_is_named(model, tmp_path, value):
    name, weight = next((name, weight) for name, weight in model.named_parameters() if weight.ndim > 1)
    with torch.no_grad():
        weight[0, 0] = value
    with pytest.raises(ModelError, match=rf"m\.safetensors: {name} reaches \S+, half precision ends at 65504: write"):
        save_bundle(tmp_path / "m.safetensors", model, half=True)
    assert os.listdir(tmp_path) == []
    save_bundle(tmp_path / "m.safetensors", model)


def test_an_average_counts_every_model_once(model, tmp_path):
    """Of three models whose weights and running statistics are 1, 2 and 6 everywhere."""
    paths = []
    for value in (1.0, 2.0, 6.0):
        filled = models.build(model.config)
        filled.load_state_dict({name: torch.full_like(old, value) for name, old in filled.state_dict().items()})
        paths.append(save_bundle(tmp_path / f"{value:g}.safetensors", filled, {}))
    first = load_model(paths[0])
    average(first, paths[1:])
    assert all(bool((value == 3).all()) for value in first.state_dict().values())
    again = load_model(paths[0])
    average(again, [paths[2], paths[2], paths[2]])
    assert all(bool((value == 4.75).all()) for value in again.state_dict().values())


def test_an_average_of_unlike_models_is_refused(model, tmp_path):
    other = save_bundle(tmp_path / "other.safetensors", models.build({**model.config, "subbands": 1}), {})
    with pytest.raises(ModelError, match=r"other.safetensors: the weights do not fit"):
        average(load_model(save_bundle(tmp_path / "one.safetensors", model, {})), [other])


def test_an_evaluation_is_kept_beside_the_training(model, tmp_path):
    path = save_bundle(tmp_path / "m.safetensors", model, {"epoch": 1}, evaluation={"scores": {"model": {}}})
    assert read_facts(path)["evaluation"] == {"scores": {"model": {}}}
    assert "evaluation" not in read_facts(save_bundle(path, model))


def test_a_packaged_model_is_found_by_its_name(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bundles, "FOLDER", tmp_path / "bundles")
    path = save_bundle(bundles.FOLDER / "guitars.safetensors", model, {"epoch": 7})
    (tmp_path / "guitars").mkdir()  # a folder of that name is no model
    assert torch.equal(outputs(load_model("guitars")), outputs(model))
    assert read_facts("guitars")["training"] == {"epoch": 7}
    assert (find_model("guitars"), fingerprint("guitars")) == (path, fingerprint(path))
    with pytest.raises(ModelError, match=r"gitars: no such bundle .*\(did you mean guitars\?\): check the path"):
        load_model("gitars")
    with pytest.raises(ModelError, match=r"tfswa_tny: no such bundle .*\(did you mean tfswa_tiny\?\)"):
        load_model("tfswa_tny")


def test_the_default_model_is_loaded_where_none_is_named(model, tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "FOLDER", tmp_path)
    sentence = rf"this installation has no default model \({bundles.DEFAULT_MODEL} did not .*--model FILE\.safetensors"
    for load in (load_model, Separator.load):
        with pytest.raises(ModelError, match=sentence):
            load()
    save_bundle(tmp_path / f"{bundles.DEFAULT_MODEL}.safetensors", model)
    assert torch.equal(outputs(load_model()), outputs(model))
    separator = Separator.load(device="cpu", segment_seconds=2, precision="fp32")
    assert (separator.stems, separator.segment_seconds) == (model.stems, 2)
    assert torch.equal(outputs(separator.model), outputs(model))


def test_an_interrupted_save_leaves_the_old_bundle_and_nothing_else(model, tmp_path, monkeypatch):
    path = save_bundle(tmp_path / "m.safetensors", model)
    before = path.read_bytes()

    def interrupted(weights, file, metadata):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_bundle(path, model)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.safetensors"]


def test_what_cannot_be_a_bundle_is_refused(model, tmp_path):
    with pytest.raises(ModelError, match=r"a bundle's name ends in \.safetensors, got '\.pt'"):
        save_bundle(tmp_path / "m.pt", model)
    with pytest.raises(ModelError, match=r"must be plain JSON values: .*Tensor"):
        save_bundle(tmp_path / "m.safetensors", model, {"score": torch.ones(1)})
    assert os.listdir(tmp_path) == []


def test_fingerprint_is_the_start_of_the_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc" * 1_000_000)
    assert fingerprint(tmp_path / "f") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()[:16]


class Payload:
    def __init__(self, path, function=open):
        self.path, self.function = path, function

    def __reduce__(self):
        return self.function, (str(self.path), "w") if self.function is open else (f"touch {self.path}",)


@pytest.mark.parametrize("function", [open, os.system])
@pytest.mark.parametrize("place", ["state_dict", "hyper_parameters", "extra", "whole"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_never_run(tmp_path, place, zipped, function):
    victim = tmp_path / "created"
    content = {"state_dict": {}, "hyper_parameters": {"model": small()}}
    content = Payload(victim, function) if place == "whole" else {**content, place: Payload(victim, function)}
    torch.save(content, tmp_path / "evil.ckpt", _use_new_zipfile_serialization=zipped)
    for read in (load_model, read_facts):
        with pytest.raises(ModelError, match="nothing is unpickled here because a pickle can run any code: save plain"):
            read(tmp_path / "evil.ckpt")
    assert not victim.exists()


def test_a_bare_pickle_is_not_run_either(tmp_path):
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps(Payload(tmp_path / "created")))
    with pytest.raises(ModelError, match=r"evil\.ckpt"):
        load_model(tmp_path / "evil.ckpt")
    assert not (tmp_path / "created").exists()


def test_configuration_objects_in_a_checkpoint_are_refused_in_words(model, tmp_path):
    path = checkpoint(tmp_path / "o.ckpt", model, hyper_parameters={"model": OmegaConf.create(small())})
    with pytest.raises(ModelError, match=r"holds the Python object omegaconf\.dictconfig\.DictConfig besides weights"):
        load_model(path)


def test_missing_files_are_named_with_the_nearest_preset(tmp_path):
    with pytest.raises(ModelError, match=r"tfswa_tny: no such bundle .*\(did you mean tfswa_tiny\?\)"):
        load_model("tfswa_tny", allow_random=True)
    with pytest.raises(ModelError, match=r"gone\.safetensors: no such bundle or checkpoint: check the path"):
        load_model(tmp_path / "gone.safetensors")
    with pytest.raises(ModelError, match="is a folder: give a bundle"):
        read_facts(tmp_path)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("m.safetensors", "m.safetensors is not a whole safetensors file .*damaged or cut short"),
        ("m.ckpt", r"m\.ckpt is not a"),
    ],
)
@pytest.mark.parametrize("kept", [1, 7, 100, 5000, 0.5, 0.99])
def test_truncated_files_are_refused(model, tmp_path, name, sentence, kept):
    path = tmp_path / name
    save_bundle(path, model) if path.suffix == ".safetensors" else checkpoint(path, model)
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(ModelError, match=sentence):
        load_model(path)


@pytest.mark.parametrize("name", ["m.safetensors", "m.ckpt"])
@pytest.mark.parametrize(
    "content", [b"hello", b"\x00" * 3000, b"RIFF" + b"\x01" * 500, b"PK\x03\x04" + b"x" * 500, b"\x80\x02."]
)
def test_other_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name} is not a"):
        load_model(tmp_path / name)


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "m.ckpt").touch()
    with pytest.raises(ModelError, match="is empty: it was not written completely"):
        load_model(tmp_path / "m.ckpt")


def test_safetensors_of_others_and_damaged_descriptions_are_refused(model, tmp_path):
    path = tmp_path / "m.safetensors"

    def described(text):
        save_file({"a": torch.ones(1)}, path, metadata=text)
        with pytest.raises(ModelError) as caught:
            load_model(path)
        return str(caught.value)

    assert "without the 'tfswa' description: only bundles made with `tfswa bundle`" in described(None)
    assert "its description is damaged" in described({"tfswa": "{"})
    assert "its description is damaged ('format')" in described({"tfswa": "{}"})
    assert "its description is damaged" in described({"tfswa": "[]"})
    assert "has bundle format 99, this program reads formats 1 to 2" in described(
        {"tfswa": '{"format": 99, "config": {}}'}
    )
    assert "configuration is list, expected a mapping" in described({"tfswa": '{"format": 1, "config": []}'})
    assert "cannot build" in described({"tfswa": '{"format": 1, "config": {"_target_": "os.system"}}'})
    wrong = json.dumps({"format": 1, "config": small(architecture="demucs")})
    assert "unknown model.architecture 'demucs'" in described({"tfswa": wrong})


def test_checkpoints_of_other_projects_are_refused(model, tmp_path):
    for content in ({"model": {}}, [1, 2], {"state_dict": {}, "hyper_parameters": {}}, torch.ones(3)):
        torch.save(content, tmp_path / "x.ckpt")
        with pytest.raises(ModelError, match=r"of this project: state_dict and hyper_parameters\.model"):
            load_model(tmp_path / "x.ckpt")


def test_weights_of_another_architecture_are_named(model, tmp_path):
    path = save_bundle(tmp_path / "m.safetensors", model)
    weights = load_file(path)
    names = sorted(weights)
    weights[names[0]] = torch.ones(3, 5, 7)
    weights["network.stranger"] = torch.ones(1)
    for name in names[1:6]:
        del weights[name]
    description = {"tfswa": json.dumps({**read_facts(path)})}
    save_file(weights, path, metadata=description)
    with pytest.raises(ModelError, match="do not fit the network that its description names") as caught:
        load_model(path)
    told = str(caught.value)
    assert "5 missing: " in told
    assert "…" in told
    assert "1 unexpected: network.stranger" in told
    assert f"1 another shape: {names[0]} is (3, 5, 7), expected " in told
