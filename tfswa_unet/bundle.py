"""A model as one file: safetensors weights with the model's description as JSON in the header.

Lightning checkpoints are read too, but nothing in any file is ever unpickled into objects.
"""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tfswa_unet import models
from tfswa_unet.bundles import DEFAULT_MODEL, REMOTE, packaged
from tfswa_unet.errors import ConfigError, ModelError, did_you_mean
from tfswa_unet.files import content_hash, replacing

FORMAT_VERSION = 2
READABLE = (1, 2)
METADATA_KEY = "tfswa"
HALF_NOISE = 1e-6  # energy of what half precision rounds off a weight, of the weight's own: −60 dB


def save_bundle(
    path: str | Path,
    model: nn.Module,
    facts: Mapping[str, Any] | None = None,
    *,
    evaluation: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Write a model as a bundle, whole or not at all.

    Args:
        path: the .safetensors file to make; its folder is made too.
        model: what `models.build` gives (with `config`, `stems`, `rate` and `channels`).
        facts: where the weights come from (epoch, step, scores, commit, …), plain JSON values.
        evaluation: how the model scored, as `evaluation.report.summary` gives it, plain JSON values.
        half: keep weights of two or more axes in 16 bits; they are 32 bits again when loaded.

    Raises:
        ModelError: when the name does not end in .safetensors, the facts are not plain values, or half precision
            cannot hold a weight.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ModelError(f"{path}: a bundle's name ends in .safetensors, got {path.suffix or 'no ending'!r}")
    try:
        description = json.dumps(_describe(model, facts or {}, evaluation, half))
    except TypeError as error:
        raise ModelError(f"{path}: the facts of a bundle must be plain JSON values: {error}") from error
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    if half:
        # Biases, norms and their statistics, a hundredth of all, keep their 32 bits.
        large = [name for name, weight in model.named_parameters() if weight.ndim > 1]
        weights |= {name: _halved(path, name, weights[name]) for name in large}
    with replacing(path) as temporary:
        save_file(weights, temporary, metadata={METADATA_KEY: description})
    return path


def load_model(
    path_or_name: str | Path = DEFAULT_MODEL,
    device: str | torch.device = "cpu",
    *,
    allow_random: bool = False,
    pretrained: bool = False,
) -> Any:
    """Load a model, ready for inference.

    Args:
        path_or_name: a bundle (.safetensors), a Lightning checkpoint (.ckpt), the name of a model that comes with the
            package, or a remote one as `bundles.remote.fetch` takes it; a preset's name where weights do not matter.
        device: where the model goes.
        allow_random: take a preset's name and give the model fresh weights.
        pretrained: take a model that has not learned to give stems yet.

    Raises:
        ModelError: for a file that is missing, damaged, of another architecture or needs unpickling.
    """
    if allow_random and str(path_or_name) in models.names():
        return models.build(models.preset(str(path_or_name))).to(device).eval()
    path = find_model(path_or_name)
    description, weights = _read(path)
    if is_pretrained(description) and not pretrained:
        raise ModelError(
            f"{path} is only pre-trained and gives no stems yet: train it on songs with stems, "
            f"python train.py init_from={path}"
        )
    model, weights = _build(path, description["config"], weights)
    _check_fit(path, model.state_dict(), weights)
    model.load_state_dict(weights)
    return model.to(device).eval()


def average(model: Any, others: Sequence[str | Path]) -> None:
    """Average the weights of a model with those of other bundles or checkpoints, in place; each counts once.

    Of models that were trained on from one another the average is often better on other music than any of them is.
    Source: robust fine-tuning, arXiv 2109.01903.

    Raises:
        ModelError: where one cannot be loaded or is of another network.
    """
    mean = {name: weight.double() for name, weight in model.state_dict().items()}
    for path in others:
        state = load_model(path).state_dict()
        _check_fit(find_model(path), model.state_dict(), state)
        for name, weight in state.items():
            mean[name] = mean[name] + weight
    model.load_state_dict({name: weight / (1 + len(others)) for name, weight in mean.items()})


def read_facts(path: str | Path) -> dict[str, Any]:
    """Description of a bundle or checkpoint without its weights: name, config, stems, rate, channels, training facts.

    Raises:
        ModelError: as `load_model` does.
    """
    path = find_model(path)
    return _read_bundle(path, weights=False)[0] if path.suffix == ".safetensors" else _read(path)[0]


def is_pretrained(facts: Mapping[str, Any]) -> bool:
    """Whether what `read_facts` gives is of a model that was trained by task=pretrain, and by nothing else since."""
    recipe = facts.get("training", {}).get("recipe") or {}
    return isinstance(recipe, Mapping) and "task" in recipe


def fingerprint(path: str | Path) -> str:
    """First 16 hexadecimal digits of a file's SHA-256, which name the weights in score files."""
    return content_hash(find_model(path))[:16]


def find_model(path_or_name: object) -> Path:
    """Path of the file that holds a model's weights: the path itself, or that of a model which comes with the package.

    A URL, or hf://owner/name, is fetched into the user's cache where that does not have it.

    Raises:
        ModelError: where there is no such file, with the nearest known name.
    """
    if not isinstance(path_or_name, str | bytes | os.PathLike):
        raise ModelError(
            f"got {type(path_or_name).__name__} where a model's file is expected: "
            "give the path of a bundle (.safetensors) or a checkpoint (.ckpt)"
        )
    name = os.fsdecode(path_or_name)
    path = Path(name)
    if os.path.isfile(path):  # which is false, not an error, for a name that no file system takes
        return path
    if REMOTE.match(name):
        from tfswa_unet.bundles.remote import fetch

        return fetch(name)
    ours, presets = packaged(), models.names()
    if name in ours:
        return ours[name]
    if name == DEFAULT_MODEL:
        raise ModelError(
            f"this installation has no default model ({name} did not come with it): name a model, as "
            "--model FILE.safetensors does, the path of a bundle or of a checkpoint (.ckpt)"
        )
    if name in presets:
        raise ModelError(
            f"{name} is a preset, which has no trained weights: give a bundle (.safetensors) or a checkpoint (.ckpt)"
        )
    if os.path.isdir(path):
        raise ModelError(f"{path} is a folder: give a bundle (.safetensors) or a checkpoint (.ckpt) inside it")
    hint = did_you_mean(name, [*ours, *presets])
    raise ModelError(f"{name}: no such bundle or checkpoint{hint}: check the path")


def model_name(path_or_name: str | Path) -> str:
    """What a model is called in titles and file names: its file's name without the ending, or its repository's."""
    name = os.fsdecode(path_or_name)
    if REMOTE.match(name):
        from tfswa_unet.bundles.remote import short_name

        return short_name(name)
    return Path(name).stem


def _describe(model: Any, facts: Mapping[str, Any], evaluation: Mapping[str, Any] | None, half: bool) -> dict[str, Any]:
    description = {
        "format": FORMAT_VERSION,
        "name": model.config.get("name", type(model).__name__),
        "config": model.config,
        "stems": list(model.stems),
        "rate": model.rate,
        "channels": model.channels,
        "precision": "fp16" if half else "fp32",
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "training": dict(facts),
    }
    return {**description, "evaluation": dict(evaluation)} if evaluation else description


def _halved(path: Path, name: str, weight: Tensor) -> Tensor:
    """The weight in half precision, or as it is where it is too small for that: half precision ends at 6e-8."""
    half = weight.half()
    if not half.isfinite().all():
        raise ModelError(
            f"{path}: {name} reaches {weight.abs().max():.3g}, half precision ends at {torch.finfo(half.dtype).max:g}: "
            "write the bundle without it"
        )
    return half if (half - weight).square().sum() <= HALF_NOISE * weight.square().sum() else weight


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if path.stat().st_size == 0:
        raise ModelError(f"{path} is empty: it was not written completely, make or copy it again")
    return _read_bundle(path) if path.suffix == ".safetensors" else _read_checkpoint(path)


def _read_bundle(path: Path, weights: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()} if weights else {}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(
            f"{path} is not a whole safetensors file ({error}): it is damaged or cut short, copy or make it again"
        ) from error
    if METADATA_KEY not in metadata:
        raise ModelError(
            f"{path} is a safetensors file without the {METADATA_KEY!r} description: "
            "only bundles made with `tfswa bundle` say which network their weights belong to"
        )
    try:
        description = json.loads(metadata[METADATA_KEY])
        version = description["format"]
        description["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: its description is damaged ({error}): make the bundle again") from error
    if version not in READABLE:
        raise ModelError(
            f"{path} has bundle format {version}, this program reads formats {READABLE[0]} to {READABLE[-1]}: make the "
            "bundle again from its checkpoint with this version"
        )
    return description, tensors


def _read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused is None:
            raise ModelError(
                f"{path} is not a checkpoint: expected a file that Lightning or `tfswa bundle` made"
            ) from error
        raise ModelError(
            f"{path} holds the Python object {refused[1]} besides weights, and nothing is unpickled here because a "
            "pickle can run any code: save plain dictionaries of tensors and numbers, or give a bundle (.safetensors)"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ModelError(f"{path} is not a whole checkpoint ({reason}): it is damaged or of another kind") from error
    try:
        if not isinstance(checkpoint, dict):
            raise TypeError(type(checkpoint).__name__)
        config = checkpoint["hyper_parameters"]["model"]
        state = checkpoint["state_dict"]
        weights = {
            name.removeprefix("model.").removeprefix("_orig_mod."): value
            for name, value in state.items()
            if name.startswith("model.") and isinstance(value, Tensor)
        }
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(
            f"{path} is not a checkpoint of this project: state_dict and hyper_parameters.model were expected in it"
        ) from error
    return {"config": config, "training": _training_facts(checkpoint)}, weights


def _training_facts(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What a Lightning checkpoint knows of its own making, as JSON values."""
    callbacks = [state for state in checkpoint.get("callbacks", {}).values() if isinstance(state, dict)]
    scores = {
        state["monitor"]: round(float(state["current_score"]), 4)
        for state in callbacks
        if state.get("monitor") and state.get("current_score") is not None
    }
    # Those that `training.checkpoints.Pieces` keeps.
    kept = next((state for state in callbacks if {"pieces", "sources"} <= state.keys()), {})
    recipe = {key: value for key, value in checkpoint["hyper_parameters"].items() if key != "model"}
    return {
        "epoch": checkpoint.get("epoch"),
        "step": checkpoint.get("global_step"),
        "scores": scores,
        # Lightning's WeightAveraging callback puts the average in state_dict and the raw weights beside it.
        "averaged": "current_model_state" in checkpoint,
        "recipe": json.loads(json.dumps(recipe, default=str)),
        **{key: json.loads(json.dumps(kept[key], default=str)) for key in ("pieces", "sources") if key in kept},
    }


def _build(path: str | Path, config: Any, weights: Mapping[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    if not isinstance(config, dict):
        raise ModelError(
            f"{path}: its model configuration is {type(config).__name__}, expected a mapping of plain values"
        )
    try:
        config, weights = models.as_today(config, weights)
        return models.build(config), weights
    except (ConfigError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            f"{path} describes a network that this version cannot build ({error}): use the version that trained it"
        ) from error


def _check_fit(path: str | Path, expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> None:
    shapes = [
        f"{name} is {tuple(got[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in expected
        if name in got and got[name].shape != expected[name].shape
    ]
    problems = {
        "missing": [name for name in expected if name not in got],
        "unexpected": [name for name in got if name not in expected],
        "another shape": shapes,
    }
    told = [
        f"{len(names)} {kind}: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
        for kind, names in problems.items()
        if names
    ]
    if told:
        raise ModelError(
            f"{path}: the weights do not fit the network that its description names ({'; '.join(told)}): "
            "they belong to another architecture or version"
        )
