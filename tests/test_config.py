"""The registry, records from plain values, and the files of conf as Hydra composes them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tfswa_unet.config import Registry, choice, choices, conf_folder, converted, discover, from_values
from tfswa_unet.errors import ConfigError


@pytest.fixture
def effects():
    """A class and two functions, whose first parameter is a signal and whose `seed` the program gives."""
    registry: Registry[Any] = Registry("effects", positional=1, context=["seed"])

    @registry.register("gain")
    def gain(signal: float, decibel: float, clip: bool = False) -> float:
        return signal * 10 ** (decibel / 20) if not clip else min(1.0, signal)

    @registry.register("noise")
    class Noise:
        def __init__(self, signal: float, seed: int, levels: tuple[float, ...]) -> None:
            self.given = (signal, seed, levels)

    @registry.register("nothing")
    def nothing(signal: float) -> float:
        return signal

    return registry


def test_a_registry_is_a_mapping_in_order_of_registration(effects):
    assert list(effects) == ["gain", "noise", "nothing"]
    assert len(effects) == 3
    assert "gain" in effects
    assert "echo" not in effects
    assert effects["nothing"](0.25) == 0.25
    with pytest.raises(ValueError, match="two kinds of effects are called 'gain'"):
        effects.register("gain")(lambda signal: signal)


def test_options_are_what_a_configuration_gives(effects):
    assert list(effects.options("gain")) == ["decibel", "clip"]
    assert list(effects.options("noise")) == ["levels"]
    assert not effects.options("nothing")


def test_a_bound_kind_lacks_its_positional_arguments_only(effects):
    assert effects.bind("gain", {"decibel": 20}, seed=3)(2.0) == 20.0  # which takes no seed
    assert effects.bind("gain", {"decibel": 20, "clip": True})(2.0) == 1.0
    assert effects.bind("noise", {"levels": [1, 2]}, seed=3)(0.5).given == (0.5, 3, (1.0, 2.0))
    assert effects.choose({"name": "noise", "levels": []}, seed=4)(0.5).given == (0.5, 4, ())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gian", {}, r"unknown effects 'gian' \(did you mean gain\?\): expected one of gain, noise, nothing"),
        ("gain", {"decibels": 1}, r"unknown option effects\.gain\.decibels \(did you mean decibel\?\): it takes decib"),
        ("noise", {"levels": [], "seed": 1}, r"unknown option effects\.noise\.seed: it takes levels"),
        ("nothing", {"decibel": 1}, r"unknown option effects\.nothing\.decibel: it takes no options"),
        ("gain", {}, r"effects\.gain\.decibel is missing: give it a value"),
        ("gain", {"decibel": "loud"}, r"effects\.gain\.decibel is 'loud', expected a number"),
        ("gain", {"decibel": 1, "clip": 1}, r"effects\.gain\.clip is 1, expected true or false"),
        ("noise", {"levels": [1, None]}, r"effects\.noise\.levels\[1\] is None, expected a number"),
    ],
)
def test_a_mistake_is_told_with_the_key_to_change(effects, name, options, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        effects.choose({"name": name, **options})


def test_the_name_of_a_kind_must_be_there(effects):
    with pytest.raises(ConfigError, match=r"^effects\.name is missing: expected one of gain, noise, nothing$"):
        effects.choose({"decibel": 1})


@dataclass(frozen=True)
class Window:
    length: int
    hop: int = 4


@dataclass(frozen=True)
class Settings:
    window: Window
    kind: Literal["hann", "hamming"]
    gains: tuple[float, ...]
    title: str | None
    sizes: tuple[int, int] = (1, 2)
    extra: Any = None


VALUES = {"window": {"length": 8}, "kind": "hann", "gains": [1, 0.5], "title": None}


def test_plain_values_become_a_record():
    expected = Settings(Window(8), "hann", (1.0, 0.5), None)
    assert from_values(Settings, VALUES, "settings") == expected
    given = from_values(Settings, {**VALUES, "title": "a", "sizes": [3, 4], "extra": {"b": [1]}}, "settings")
    assert (given.title, given.sizes, given.extra) == ("a", (3, 4), {"b": [1]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"windows": 1}, r"unknown key settings\.windows \(did you mean window\?\): expected one of window, kind, g"),
        ({"window": {"length": 8, "hopp": 1}}, r"unknown key settings\.window\.hopp \(did you mean hop\?\): expected"),
        ({"window": {}}, r"settings\.window\.length is missing: give it a value"),
        ({"window": 8}, r"settings\.window is 8, expected a mapping of length, hop"),
        ({"window": {"length": 8.5}}, r"settings\.window\.length is 8\.5, expected a whole number"),
        ({"window": {"length": True}}, r"settings\.window\.length is True, expected a whole number"),
        ({"kind": "han"}, r"unknown settings\.kind 'han' \(did you mean hann\?\): expected one of hann, hamming"),
        ({"gains": 1}, r"settings\.gains is 1, expected a list"),
        ({"gains": "12"}, r"settings\.gains is '12', expected a list"),
        ({"gains": [1, "a"]}, r"settings\.gains\[1\] is 'a', expected a number"),
        ({"title": 3}, r"settings\.title is 3, expected a text"),
    ],
)
def test_values_that_do_not_fit_a_record_are_told_in_one_sentence(changes, message):
    with pytest.raises(ConfigError, match=f"^{message}") as raised:
        from_values(Settings, {**VALUES, **changes}, "settings")
    assert "\n" not in str(raised.value)


def test_a_missing_value_is_told_and_the_whole_configuration_has_no_prefix():
    with pytest.raises(ConfigError, match=r"^kind is missing: give it a value$"):
        from_values(Settings, {key: value for key, value in VALUES.items() if key != "kind"}, "")
    with pytest.raises(ConfigError, match=r"^unknown key knd \(did you mean kind\?\)"):
        from_values(Settings, {**VALUES, "knd": 1}, "")


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (2, float, 2.0),
        (2, float | None, 2.0),
        (None, float | None, None),
        ([[1, 2]], tuple[tuple[int, int], ...], ((1, 2),)),
        ([1, [2]], Any, (1, (2,))),
        ("a", int | str, "a"),  # of several types the value keeps its own
        ({"a": [1]}, dict[str, Any], {"a": [1]}),
    ],
)
def test_values_are_converted_as_hints_want_them(value, hint, expected):
    found = converted(value, hint, "key")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("group", ["loss", "model", "augmentation", "data", "optimizer", "scheduler", "stems"])
def test_choices_are_what_hydra_composes(group):
    names = choices(group)
    assert names == sorted(path.stem for path in (conf_folder() / group).glob("[!_]*.yaml"))
    with initialize_config_dir(str(conf_folder().resolve()), version_base="1.3"):
        composed = {name: compose("train", overrides=[f"{group}={name}"]) for name in names}
    for name in names:
        assert choice(group, name) == OmegaConf.to_container(composed[name])[group], name


def test_a_choice_is_the_callers_own():
    choice("loss", "default")["waveform_l1"]["weight"] = 7
    assert choice("loss", "default")["waveform_l1"]["weight"] == 1.0


def test_an_unknown_choice_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"^unknown loss 'fats' \(did you mean fast\?\): expected one of complex, "):
        choice("loss", "fats")


def test_discover_imports_every_module_of_a_package(tmp_path, monkeypatch):
    package = tmp_path / "found_kinds"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from tfswa_unet.config import Registry\n\nKINDS: Registry = Registry('kinds')\n"
    )
    for name in ("first", "second"):
        (package / f"{name}.py").write_text(
            f"from found_kinds import KINDS\n\n\n@KINDS.register('{name}')\ndef make() -> str:\n    return '{name}'\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    discover("found_kinds")
    assert sorted(sys.modules["found_kinds"].KINDS) == ["first", "second"]
    for name in [name for name in sys.modules if name.startswith("found_kinds")]:
        monkeypatch.delitem(sys.modules, name)
