"""Who separates best after equal time of training: our smaller presets and other packages' networks, small."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tfswa_unet import models
from tfswa_unet.bench.networks import SMALL
from tfswa_unet.bench.results import Failure, Results, attempt, recorded
from tfswa_unet.bench.settings import RATES, ContestSetting
from tfswa_unet.bench.trial import check, prepare, run_trial, score_songs
from tfswa_unet.types import MIXTURE, STEMS

OURS = ("tfswa_tiny", "tfswa_base")


def measure(setting: ContestSetting) -> dict[str, Any]:
    """Train and score whoever has no result in the file yet; gives what the file then holds.

    A contestant that fails leaves the reason as its record. Whose package is missing is told before anyone is trained.
    Raises ConfigError for results under other settings, and DataError where the songs cannot be made.
    """
    check(setting)
    results = Results(Path(setting.out), {**setting.deciding(), "lr": setting.rates})
    builders: dict[str, Callable[[], Any]] = {name: partial(build, STEMS) for name, build in SMALL.items()}
    builders |= {name: partial(models.build, models.preset(name, STEMS)) for name in OURS}
    able = []
    for name in RATES:
        if name not in results.records and setting.only in (None, name):
            outcome = attempt(name, builders[name])
            if isinstance(outcome, Failure):
                results.add(name, outcome.to_dict())
            else:
                able.append(name)
    if able:
        songs = prepare(setting)
        if MIXTURE not in results.records:
            results.add(MIXTURE, recorded(MIXTURE, lambda: {"scores": score_songs(songs.test, None, STEMS)}))
        for name in able:
            trial = partial(run_trial, name, builders[name], setting.rates[name], setting, songs)
            results.add(name, recorded(name, trial))
    return results.to_dict()
