"""From YAML to objects: frozen records, kinds that are chosen by name, and the files of conf.

A value has one home, a file of conf: neither a record nor a kind has a default for what YAML holds.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Generic, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from tfswa_unet.errors import ConfigError, did_you_mean, unknown

Record = TypeVar("Record")
Kind = TypeVar("Kind")

EXPECTED = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


class Registry(Mapping[str, Kind], Generic[Kind]):
    """Kinds of one thing, classes or functions, each under the name by which a configuration chooses it.

    `@REGISTRY.register("name")` over a class or function is all that a new kind needs. Its options are its parameters,
    but for the first `positional` ones and those in `context`, which the program gives.

    Args:
        key: configuration key whose value or whose entries are names of kinds, such as "loss".
        positional: parameters at the front that are no options, such as a loss term's two signals.
        context: names of parameters that are no options, such as an augmentation's generator.
    """

    def __init__(self, key: str, positional: int = 0, context: Sequence[str] = ()) -> None:
        self.key = key
        self.positional = positional
        self.context = frozenset(context)
        self._kinds: dict[str, Kind] = {}

    def register(self, name: str) -> Callable[[Kind], Kind]:
        """Decorate a kind: it is chosen by `name` from now on."""

        def add(kind: Kind) -> Kind:
            if name in self._kinds:
                raise ValueError(f"two kinds of {self.key} are called {name!r}")
            self._kinds[name] = kind
            return kind

        return add

    def __getitem__(self, name: str) -> Kind:
        """The kind of a name; raises ConfigError, with the nearest known name, where there is none."""
        if name not in self._kinds:
            raise unknown(self.key, name, self._kinds)
        return self._kinds[name]

    def __contains__(self, name: object) -> bool:
        return name in self._kinds

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def options(self, name: str) -> dict[str, inspect.Parameter]:
        """The parameters of a kind that a configuration gives."""
        parameters = list(inspect.signature(cast(Any, self[name])).parameters.values())[self.positional :]
        return {each.name: each for each in parameters if each.name not in self.context}

    def bind(
        self, name: str, options: Mapping[str, Any], *, where: str | None = None, **context: Any
    ) -> Callable[..., Any]:
        """A kind that lacks nothing any more but its positional arguments.

        Args:
            name: of the kind.
            options: values from the configuration, lists as tuples where the kind wants those.
            where: the configuration key that holds the options, for the message; KEY.NAME where it is left out.
            context: values that the program gives; those that the kind does not take are left out.

        Raises:
            ConfigError: for an unknown name, an unknown or missing option, or a value of another type.
        """
        kind: Any = self[name]
        known, where = self.options(name), where or f"{self.key}.{name}"
        for option in options:
            if option not in known:
                takes = f"it takes {', '.join(known)}" if known else "it takes no options"
                raise ConfigError(f"unknown option {where}.{option}{did_you_mean(option, known)}: {takes}")
        for option, parameter in known.items():
            if option not in options and parameter.default is parameter.empty:
                raise ConfigError(f"{where}.{option} is missing: give it a value")
        hints = get_type_hints(kind.__init__ if inspect.isclass(kind) else kind)
        values = {option: converted(options[option], hints.get(option), f"{where}.{option}") for option in options}
        taken = inspect.signature(kind).parameters
        return partial(kind, **values, **{key: value for key, value in context.items() if key in taken})

    def choose(self, values: Mapping[str, Any], **context: Any) -> Callable[..., Any]:
        """`bind` for a mapping that holds the kind's name under "name" beside its options."""
        options = dict(values)
        if "name" not in options:
            raise ConfigError(f"{self.key}.name is missing: expected one of {', '.join(self)}")
        return self.bind(options.pop("name"), options, **context)


def from_values(record: type[Record], values: Mapping[str, Any], where: str) -> Record:
    """Make a frozen dataclass, and those that its fields hold, from plain values; lists become tuples.

    Args:
        record: the dataclass.
        values: its fields by name.
        where: the configuration key that holds the values, for the message; "" for the whole configuration.

    Raises:
        ConfigError: for unknown or missing names, with the nearest known one, or a value of another type.
    """
    known = {field.name: field for field in fields(record)}  # type: ignore[arg-type]
    hints = get_type_hints(record)
    prefix = f"{where}." if where else ""
    for name in values:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigError(f"unknown key {prefix}{name}{hint}: expected one of {', '.join(known)}")
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{prefix}{name} is missing: give it a value")
    return record(**{name: converted(value, hints[name], f"{prefix}{name}") for name, value in values.items()})


def converted(value: Any, hint: Any, where: str) -> Any:
    """A plain value as a type hint wants it: mappings as dataclasses, lists as tuples, whole numbers as floats.

    Hints that say less than a plain type, such as Any, take every value.

    Raises:
        ConfigError: for a value of another type.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        rest = [each for each in arguments if each is not type(None)]
        if len(rest) == 1:
            return converted(value, rest[0], where)
        if all(isinstance(each, type) for each in rest) and not any(_fits(value, each) for each in rest):
            expected = " or ".join(dict.fromkeys(EXPECTED.get(each, f"a {each.__name__}") for each in rest))
            raise ConfigError(f"{where} is {value!r}, expected {expected}")
        return _plain(value)
    if origin is Literal:
        if value not in arguments:
            raise unknown(where, value, [str(each) for each in arguments])
        return value
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is {value!r}, expected a mapping of {', '.join(f.name for f in fields(hint))}")
        return from_values(hint, value, where)
    if origin is tuple and len(arguments) == 2 and arguments[1] is ...:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ConfigError(f"{where} is {value!r}, expected a list")
        return tuple(converted(each, arguments[0], f"{where}[{number}]") for number, each in enumerate(value))
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is {value!r}, expected a mapping")
        if arguments[1] is Any:
            return value
        return {key: converted(each, arguments[1], f"{where}.{key}") for key, each in value.items()}
    if hint in EXPECTED:
        if not _fits(value, hint):
            raise ConfigError(f"{where} is {value!r}, expected {EXPECTED[hint]}")
        return float(value) if hint is float else value
    return _plain(value)


def _fits(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def _plain(value: Any) -> Any:
    return tuple(_plain(each) for each in value) if isinstance(value, list) else value


def discover(package: str) -> None:
    """Import every module of a package, so that the kinds which its files register are known."""
    for module in iter_modules(import_module(package).__path__):
        import_module(f"{package}.{module.name}")


def conf_folder() -> Path:
    """The folder conf: beside the package in a checkout, inside it when installed from a wheel."""
    package = Path(__file__).parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def choices(group: str) -> list[str]:
    """Names of the files of a configuration group; those that begin with _ are what others build on, no choices."""
    return sorted(path.stem for path in (conf_folder() / group).glob("[!_]*.yaml"))


def choice(group: str, name: str) -> dict[str, Any]:
    """The values of one file of a configuration group, such as ("loss", "fast"), as `python train.py` takes them.

    References to other groups (`${paths.cache}`) stay as they are written.

    Raises:
        ConfigError: for a name that the group lacks, with the nearest known one.
    """
    known = choices(group)
    if name not in known:
        raise unknown(group, name, known)
    return deepcopy(_composed(group, name))


@cache
def _composed(group: str, name: str) -> dict[str, Any]:
    return plain(_compose(None, [f"+{group}={name}"])[group], resolve=False)


def compose_values(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A whole configuration as plain values, resolved, as `python train.py` or `python eval.py` makes it.

    Args:
        name: "train", "eval" or "serve".
        overrides: as on their command lines, such as "model=tfswa_tiny".

    Raises:
        hydra.errors.HydraException: for overrides that cannot be read or do not fit.
        ConfigError: for a value that has to be given and is not.
    """
    return plain(_compose(name, overrides))


def command_values(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """`compose_values` for a command of `tfswa` that takes KEY=VALUE.

    Raises:
        ConfigError: for overrides that cannot be read, and keys that conf/NAME.yaml lacks.
    """
    from hydra.errors import HydraException

    try:
        return compose_values(name, overrides)
    except HydraException as error:
        said = str(error).splitlines()[0]
        raise ConfigError(f"a setting cannot be read ({said}): write KEY=VALUE with keys of conf/{name}.yaml") from None


def plain(config: Any, resolve: bool = True) -> dict[str, Any]:
    """A composed configuration as dictionaries and lists; with `resolve`, references are replaced by their values.

    The name of the experiment is left out, as its settings are among the values.

    Raises:
        ConfigError: with `resolve`, for a value that has to be given and is not.
    """
    from omegaconf import MissingMandatoryValue, OmegaConf

    try:
        values: Any = OmegaConf.to_container(config, resolve=resolve, throw_on_missing=resolve)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} is missing: give it a value") from None
    values.pop("experiment", None)
    return values


def _compose(name: str | None, overrides: Sequence[str]) -> Any:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    # In train.py and eval.py, Hydra's main function has its own state there.
    hydra = GlobalHydra.instance()
    outer, hydra.hydra = hydra.hydra, None
    try:
        with initialize_config_dir(str(conf_folder().resolve()), version_base="1.3"):
            return compose(name, list(overrides))
    finally:
        hydra.hydra = outer
