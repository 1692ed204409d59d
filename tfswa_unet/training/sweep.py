"""Sweeps by Optuna: trainings one after the other, each in processes of its own, whose values earlier ones suggest."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from tfswa_unet.config import from_values
from tfswa_unet.errors import ConfigError, RunError
from tfswa_unet.files import replacing, write_text
from tfswa_unet.training.config import SEPARATION
from tfswa_unet.training.resuming import differences
from tfswa_unet.training.runs import SCORE, read_curves
from tfswa_unet.training.trials import (
    OUTPUT,
    locked,
    override_text,
    passed_on,
    reason,
    refuse,
    running,
    stoppable,
    training_command,
)

if TYPE_CHECKING:
    from optuna import Study, Trial

ASKED = "sweep=optuna"
STUDY, TABLE, PICTURE = "study.db", "trials.csv", "importances.png"
POLL = 0.5  # s between looks at a trial's scores
SETTINGS = "settings"  # of a study, which do not change


@dataclass(frozen=True)
class SweepConfig:
    """See conf/sweep."""

    name: str
    trials: int
    startup_trials: int
    prune_after: int | None
    max_failed: int
    seed: int
    space: dict[str, Any]

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("startup_trials", 1), ("max_failed", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"sweep.{name} is {getattr(self, name)}, expected {least} or more")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, whole ones if both are; by their logarithm, or in steps, if wanted."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    def suggest(self, trial: Trial, key: str) -> str:
        """A value as an override has it."""
        if all(isinstance(each, int) for each in (self.low, self.high, self.step or 1)):
            return str(trial.suggest_int(key, int(self.low), int(self.high), step=int(self.step or 1), log=self.log))
        return repr(trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log))


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    choices: tuple[Any, ...]

    def suggest(self, trial: Trial, key: str) -> str:
        """A value as an override has it."""
        return trial.suggest_categorical(key, [override_text(each) for each in self.choices])


def read_space(values: Mapping[str, Any], where: str = "sweep.space") -> dict[str, Range | Choices]:
    """What is searched, by configuration key, from nested mappings that end in `Range`s and `Choices`.

    Raises:
        ConfigError: for anything else in there, or an empty range.
    """
    space: dict[str, Range | Choices] = {}
    for name, value in values.items():
        key = f"{where}.{name}"
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key} is {value!r}, expected low and high, or choices")
        if "choices" in value:
            space[name] = from_values(Choices, value, key)
        elif {"low", "high"} & value.keys():
            found = space[name] = from_values(Range, value, key)
            if not found.low < found.high or (found.log and (found.low <= 0 or found.step)):
                raise ConfigError(
                    f"{key} is {dict(value)}, expected low below high, and with log: true low above 0 and no step"
                )
        else:
            space |= {f"{name}.{inner}": each for inner, each in read_space(value, key).items()}
    return space


def sweep(values: Mapping[str, Any], command: Sequence[str], folder: Path) -> float:
    """Train until `sweep.trials` trials are finished, and tell how they ended.

    Trial n is `command` with its values and without the sweep, in folder/trial_n: a training as any other, which goes
    on by itself. Scores are read from its table of metrics, the study lies in folder/study.db. A sweep that is started
    again goes on, with the trial that was under way.

    Args:
        values: the resolved configuration, with `sweep` as in conf/sweep.
        command: train.py and its arguments.
        folder: of the sweep.

    Returns:
        the best validation SDR, dB.

    Raises:
        ConfigError: for settings that cannot be, or are not those with which the sweep in `folder` began.
        RunError: where trials fail.
        StoppedError: after SIGINT or SIGTERM; the trial under way has ended too.
    """
    config = from_values(SweepConfig, values["sweep"], "sweep")
    space = read_space(config.space)
    refuse(values, ASKED)
    if values["task"]["name"] != SEPARATION:
        raise ConfigError(
            f"{ASKED} compares trainings by their SDR, which task={values['task']['name']} has not: leave one out"
        )
    if not space:
        raise ConfigError("sweep.space is empty: name what to search, such as sweep.space.optimizer.lr")
    if not values["logger"]["csv"]:
        raise ConfigError(f"{ASKED} reads the scores of a trial from its csv/metrics.csv: set logger.csv=true")
    words = passed_on(command[1:], "sweep")
    console = Console(highlight=False, soft_wrap=True)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, console) as lock, stoppable(), _usable(folder / STUDY):
        study = _open_study(config, words, folder)
        failed = 0
        while len(_finished(study)) < config.trials:
            trial = _next_trial(study, config)
            overrides = [f"{key}={each.suggest(trial, key)}" for key, each in space.items()]
            console.print(f"trial {trial.number}: {' '.join(overrides)}")
            place = folder / f"trial_{trial.number:03}"
            run = training_command(command[0], [*words, *overrides], place)
            outcome = _train(study, trial, run, place, lock, config.prune_after is not None)
            console.print(f"trial {trial.number}: {outcome}")
            failed += study.trials[trial.number].state.name == "FAIL"
            if failed >= config.max_failed or (failed and not _finished(study)):
                raise RunError(f"trial {trial.number} {outcome}; all it said is in {place / OUTPUT}")
    _tell(study, folder, console)
    return study.best_value


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Tell in one sentence that the study at `path` cannot be used, or that there is no Optuna to use it."""
    try:
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        raise ConfigError("sweep=optuna needs the package optuna: pip install optuna") from None
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        cause: Any = error.__cause__ if isinstance(error, StorageInternalError) else error
        raise RunError(
            f"the study {path} cannot be read or written ({getattr(cause, 'orig', cause)}): make room for it there, or "
            "give the sweep another folder, sweep.name=NAME"
        ) from None


def _open_study(config: SweepConfig, words: Sequence[str], folder: Path) -> Study:
    """The study in a folder, made where there is none, or none of whose trials came to anything."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = f"sqlite:///{(folder / STUDY).absolute()}"
    again = {"trials", "max_failed", "name"}  # which may change
    settings = {key: value for key, value in asdict(config).items() if key not in again}
    settings = json.loads(json.dumps({**settings, "overrides": sorted(words)}))
    study = optuna.create_study(storage=storage, study_name="sweep", direction="maximize", load_if_exists=True)
    if differences(study.user_attrs.get(SETTINGS, settings), settings) and not _alive(study):
        optuna.delete_study(study_name="sweep", storage=storage)
        study = optuna.create_study(storage=storage, study_name="sweep", direction="maximize")
    found = differences(study.user_attrs.get(SETTINGS, settings), settings)
    if found:
        raise ConfigError(
            f"{folder} holds a sweep of other settings: {', '.join(found[:3])}; give this one a folder of its own, "
            "sweep.name=NAME"
        )
    study.set_user_attr(SETTINGS, settings)
    if config.prune_after is not None:
        study.pruner = optuna.pruners.MedianPruner(config.startup_trials, config.prune_after)
    else:
        study.pruner = optuna.pruners.NopPruner()
    return study


def _alive(study: Study) -> bool:
    """Whether a trial of the study is finished or under way."""
    return any(trial.state.name != "FAIL" for trial in study.trials)


def _finished(study: Study) -> list[Any]:
    return [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]


def _next_trial(study: Study, config: SweepConfig) -> Trial:
    """The trial that a killed sweep left under way, or a new one."""
    import optuna

    left = [trial for trial in study.trials if trial.state.name == "RUNNING"]
    # Seeded by its number, so that a sweep that goes on draws what it would have drawn.
    number = left[0].number if left else len(study.trials)
    study.sampler = optuna.samplers.TPESampler(n_startup_trials=config.startup_trials, seed=config.seed + number)
    return optuna.Trial(study, left[0]._trial_id) if left else study.ask()


def _train(study: Study, trial: Trial, command: Sequence[str], folder: Path, lock: int, prune: bool) -> str:
    """Run a trial to its end, or to where it is pruned, and write its outcome to the study; tells it in words."""
    from optuna.trial import TrialState

    pruned = False
    folder.mkdir(exist_ok=True)
    with running(command, folder / OUTPUT, lock) as process:
        while process.poll() is None and not pruned:
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
            pruned = _report(trial, folder) and prune and process.poll() is None and trial.should_prune()
    _report(trial, folder)
    scores = _scores(folder)
    if pruned:
        study.tell(trial, state=TrialState.PRUNED)
        return f"pruned after {len(scores)} validations, best {max(scores):.2f} dB"
    if process.returncode or not scores:
        why = reason(folder / OUTPUT) if process.returncode else "no validation had an SDR"
        trial.set_user_attr("reason", why)
        study.tell(trial, state=TrialState.FAIL)
        return f"failed with status {process.returncode}: {why}"
    study.tell(trial, max(scores))
    return f"{max(scores):.2f} dB, best of all {study.best_value:.2f} dB"


def _scores(folder: Path) -> list[float]:
    """The SDRs of a trial's validations, dB."""
    try:
        curve = read_curves(folder).get(SCORE, [])
    except (OSError, ValueError):  # none yet, or a table that is being written
        return []
    return [score for _, score in curve if math.isfinite(score)]


def _report(trial: Trial, folder: Path) -> bool:
    """Tell the study of the validations that are new; whether there were any."""
    known = len(trial.study.trials[trial.number].intermediate_values)
    new = _scores(folder)[known:]
    for number, score in enumerate(new, known + 1):
        trial.report(score, number)
    return bool(new)


def _tell(study: Study, folder: Path, console: Console) -> None:
    """Print the table of trials, the best first, and keep it, and the picture of importances, in the sweep's folder."""
    keys = list(dict.fromkeys(key for trial in study.trials for key in trial.params))
    heads = ["trial", "state", "SDR, dB", "validations", *keys]
    rows = []
    for trial in study.trials:
        scores = trial.intermediate_values.values()
        best = max(scores, default=-math.inf)
        score = f"{best:.2f}" if scores else ""
        shown = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in map(trial.params.get, keys)]
        rows.append((-best, [str(trial.number), trial.state.name.lower(), score, str(len(scores)), *shown]))
    rows.sort(key=lambda row: row[0])
    table = Table(*heads)
    for _, cells in rows:
        table.add_row(*cells)
    console.print(table)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heads, *(cells for _, cells in rows)])
    write_text(folder / TABLE, text.getvalue())
    drawn = _draw_importances(study, folder / PICTURE)
    best_folder = folder / f"trial_{study.best_trial.number:03}"
    console.print(f"best {study.best_value:.2f} dB: {best_folder}; {folder / TABLE}{drawn}")


def _draw_importances(study: Study, path: Path) -> str:
    """Draw what each value decides of the score, by PED-ANOVA (arXiv 2304.10255); the end of the sentence about it."""
    from matplotlib.figure import Figure
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    try:
        shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError):
        return "; too few trials ended by themselves for importances"
    figure = Figure(figsize=(7, 1 + 0.4 * len(shares)), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(shares), list(shares.values()))
    axes.invert_yaxis()
    axes.set_xlabel("share of what decides the validation SDR")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    return f", {path}"
