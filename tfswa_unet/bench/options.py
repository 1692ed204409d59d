"""What each option beyond the paper costs and gains: size, speed, and SDR after the same wall-clock of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from tfswa_unet import models
from tfswa_unet.bench.measures import count_flops, median_seconds
from tfswa_unet.bench.results import Results, recorded, tell
from tfswa_unet.bench.settings import OptionsSetting
from tfswa_unet.bench.subject import as_in_training, mixtures
from tfswa_unet.bench.trial import TrialSongs, check, prepare, run_trial
from tfswa_unet.errors import ConfigError, unknown
from tfswa_unet.inference.precision import pick_device
from tfswa_unet.types import STEMS

ROWS = Path(__file__).with_name("options.yaml")
RUNS = 5  # of the forward pass that is timed


def measure(setting: OptionsSetting) -> dict[str, Any]:
    """Measure the rows that have no result in the file yet; gives what the file then holds, or the rows for `list`.

    A row that fails leaves the reason as its record. Raises ConfigError for rows that cannot be built or results under
    other settings, and DataError where the songs cannot be made.
    """
    rows = load_rows(Path(setting.table or ROWS))
    if setting.list:
        return {"rows": rows}
    check(setting)
    wanted = list(rows) if setting.rows is None else [name.strip() for name in setting.rows.split(";") if name.strip()]
    for name in wanted:
        if name not in rows:
            raise unknown("row", name, rows)
    chosen = [name for name in rows if name in wanted]
    configs = {name: configured(setting.model, rows[name], name) for name in chosen}
    results = Results(Path(setting.out), {**setting.deciding(), "lr": setting.lr, "model": setting.model})
    _check_overrides(results, rows)
    songs = prepare(setting)
    for name in chosen:
        if name in results.records:
            tell(f"{name}: already in {setting.out}")
            continue
        measured = recorded(name, partial(_measure, name, configs[name], setting, songs))
        results.add(name, {"overrides": rows[name], **measured})
    return results.to_dict()


def load_rows(path: Path) -> dict[str, list[str]]:
    """Overrides by row; raises ConfigError for a file that is no such table."""
    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
        if not isinstance(values, dict) or not all(isinstance(row, list) for row in values.values()):
            raise ValueError("a mapping of names to lists of overrides was expected")
        return {str(name): [str(override) for override in row] for name, row in values.items()}
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"--table {path} cannot be read: {' '.join(str(error).split())}") from error


def configured(base: str, overrides: Sequence[str], row: str) -> dict[str, Any]:
    """Configuration of a preset for all four stems with overrides such as "network.patch=[2,2]".

    Raises ConfigError for an unknown preset, or a row that cannot be read or built: told now, not in an hour.
    """
    preset = models.preset(base, STEMS)
    try:
        config: Any = OmegaConf.to_container(OmegaConf.merge(preset, OmegaConf.from_dotlist(list(overrides))))
        models.build(config)
    except (OmegaConfBaseException, ConfigError, TypeError, ValueError) as error:
        raise ConfigError(f"row {row!r} cannot be built: {' '.join(str(error).split())}") from error
    return config


def costs(model: Any) -> dict[str, float]:
    """What a model costs before it has learned anything: operations a second of audio, and its real-time factor."""
    device = next(model.parameters()).device
    seconds = as_in_training("seconds")
    mixture = mixtures(1, model.channels, seconds, model.rate).to(device)
    forward = partial(model.eval(), mixture)
    flops = count_flops(forward)
    with torch.inference_mode():
        median = median_seconds(forward, RUNS, device)
    return {"flops_per_second": flops / seconds, "real_time_factor": median / seconds}


def _measure(name: str, config: dict[str, Any], setting: OptionsSetting, songs: TrialSongs) -> dict[str, Any]:
    cost = costs(models.build(config).to(pick_device(setting.device)))
    tell(f"{name}: real-time factor {cost['real_time_factor']:.3f}")
    return {**cost, **run_trial(name, partial(models.build, config), setting.lr, setting, songs)}


def _check_overrides(results: Results, rows: Mapping[str, Sequence[str]]) -> None:
    """A row whose overrides have changed is another row: its result must not stand under the new ones."""
    for name, record in results.records.items():
        if name in rows and record["overrides"] != list(rows[name]):
            raise ConfigError(
                f"{results.path} holds the row {name!r} with {record['overrides']} where the table now says "
                f"{list(rows[name])}: rename the row, or give another --out"
            )
