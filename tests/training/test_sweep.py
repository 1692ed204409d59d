"""A sweep goes on wherever it was killed, and asks each trial's own files how it went."""

import csv
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest

from tests.training.conftest import SMALL
from tfswa_unet.config import compose_values
from tfswa_unet.errors import ConfigError, RunError, StoppedError
from tfswa_unet.training.sweep import Choices, Range, read_space, sweep

ROOT = Path(__file__).parents[2]
TRIALS = int(os.environ.get("FUZZ_TRIALS", "1"))  # of real trainings; `make fuzz` has 6
# In place of train.py: five validations whose SDR is lr, and what the file `act` says; it keeps its arguments.
TRIAL = """
import json, signal, sys, time
from pathlib import Path
given = dict(word.split("=", 1) for word in sys.argv[1:])
folder = Path(given["hydra.run.dir"])
with (folder / "given.jsonl").open("a") as file:
    file.write(json.dumps(given) + "\\n")
act = Path(__file__).with_name("act").read_text()
if act == "fail":
    print("error: no such song")
    sys.exit(1)
if act == "hang":
    signal.signal(signal.SIGTERM, lambda *_: ((folder / "kept").touch(), sys.exit(143)))
score = float(given["optimizer.lr"])
worse = act == "worse" and folder.name != "trial_000"
if worse:
    score -= 1
rows = [f"{n},{n},{'' if act == 'silent' else score}\\n" for n in range(5)]
(folder / "csv").mkdir(exist_ok=True)
(folder / "csv" / "metrics.csv").write_text("epoch,step,val/sdr\\n" + "".join(rows))
if act == "hang" or worse:
    time.sleep(600)
"""
# Holds the lock of a sweep's folder, as a trial that is still at work.
HOLD = """
import fcntl, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
folder.mkdir()
file = (folder / "lock").open("w")
fcntl.flock(file, fcntl.LOCK_EX)
print("x", end="", flush=True)
time.sleep(600)
"""
SPACE = {"optimizer": {"lr": {"low": 0.0, "high": 1.0}}}


@pytest.fixture
def start(tmp_path):
    """Sweep with a small script in place of train.py."""
    script = tmp_path / "trial.py"
    script.write_text(TRIAL)

    def run(*words, act="", space=SPACE, values=(), **settings):
        (tmp_path / "act").write_text(act)
        config = {"name": "x", "trials": 3, "startup_trials": 2, "prune_after": 3, "max_failed": 2, "seed": 0}
        task = {"name": "separation"}
        given = {"task": task, "trainer": {"num_nodes": 1}, "resume": None, "logger": {"csv": True}, **dict(values)}
        return sweep({**given, "sweep": {**config, "space": space, **settings}}, [str(script), *words], tmp_path / "s")

    return run


def trials(folder):
    return optuna.load_study(study_name="sweep", storage=f"sqlite:///{folder}/study.db").trials


def states(folder):
    return [trial.state.name for trial in trials(folder)]


def given(folder):
    return [json.loads(line) for line in (folder / "given.jsonl").read_text().splitlines()]


def test_trials_take_the_values_and_give_their_best_score(start, tmp_path, capsys):
    best = start("data.root=/a", "sweep=optuna", "sweep.trials=3", "hydra.run.dir=/b")
    found = trials(tmp_path / "s")
    assert states(tmp_path / "s") == ["COMPLETE"] * 3
    for number, trial in enumerate(found):
        folder = tmp_path / "s" / f"trial_{number:03}"
        lr = trial.params["optimizer.lr"]
        wanted = {"data.root": "/a", "optimizer.lr": repr(lr), "hydra.run.dir": str(folder), "resume": "auto"}
        assert given(folder) == [wanted]
        assert trial.value == pytest.approx(lr)
        assert trial.intermediate_values == dict.fromkeys(range(1, 6), trial.value)
    assert len({trial.value for trial in found}) == 3
    assert best == max(trial.value for trial in found)
    with (tmp_path / "s" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["SDR, dB"]) for row in rows] == sorted((round(each.value, 2) for each in found), reverse=True)
    assert (tmp_path / "s" / "importances.png").read_bytes().startswith(b"\x89PNG")
    assert f"best {best:.2f} dB: {tmp_path}/s/trial_00" in capsys.readouterr().out


def test_a_sweep_draws_what_it_would_have_drawn_had_it_not_ended(start, tmp_path):
    for number in (1, 2, 4):
        start(trials=number)
    broken = [trial.params for trial in trials(tmp_path / "s")]
    os.rename(tmp_path / "s", tmp_path / "t")
    start(trials=4)
    assert [trial.params for trial in trials(tmp_path / "s")] == broken
    assert all(len(given(tmp_path / "s" / f"trial_{number:03}")) == 1 for number in range(4))


def test_a_trial_below_the_median_is_pruned_and_counts(start, tmp_path, capsys):
    best = start(act="worse", startup_trials=1)
    assert states(tmp_path / "s") == ["COMPLETE", "PRUNED", "PRUNED"]
    assert best == trials(tmp_path / "s")[0].value
    assert "trial 1: pruned after 5 validations, best -" in capsys.readouterr().out


def test_trials_that_fail_do_not_count(start, tmp_path):
    start(trials=1)
    told = rf"^trial 2 failed with status 1: no such song; all it said is in {tmp_path}/s/trial_002/output\.txt$"
    with pytest.raises(RunError, match=told):
        start(act="fail")
    start()
    assert states(tmp_path / "s") == ["COMPLETE", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]


def test_a_first_trial_that_fails_ends_the_sweep_and_leaves_its_settings_open(start, tmp_path):
    with pytest.raises(RunError, match=r"^trial 0 failed with status 0: no validation had an SDR; "):
        start(act="silent")
    start("data.root=/b", trials=1)
    assert states(tmp_path / "s") == ["COMPLETE"]
    with pytest.raises(ConfigError) as refused:
        start("data.root=/c")
    assert str(refused.value) == (
        f"{tmp_path}/s holds a sweep of other settings: overrides is ['data.root=/b'] there and ['data.root=/c'] here; "
        "give this one a folder of its own, sweep.name=NAME"
    )


def _when_there(path, act):
    """Act in a thread when a file is there."""

    def wait():
        while not path.exists():
            time.sleep(0.02)
        act()

    threading.Thread(target=wait, daemon=True).start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_trial_which_goes_on_later(start, tmp_path, number):
    _when_there(tmp_path / "s/trial_000/csv/metrics.csv", lambda: os.kill(os.getpid(), number))
    with pytest.raises(StoppedError, match=f"^stopped by {number.name}, and goes on where it was: start it again$"):
        start(act="hang")
    assert (tmp_path / "s/trial_000/kept").exists()
    assert states(tmp_path / "s") == ["RUNNING"]
    start()
    assert states(tmp_path / "s") == ["COMPLETE"] * 3
    first, again = given(tmp_path / "s/trial_000")
    assert first == again


def test_a_sweep_waits_for_the_trial_that_outlived_the_one_before(start, tmp_path, capsys):
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "s")], stdout=subprocess.PIPE)
    assert other.stdout.read(1) == b"x"
    _when_there(tmp_path / "waited", other.kill)
    threading.Timer(0.5, (tmp_path / "waited").touch).start()
    start(trials=1)
    assert (tmp_path / "waited").exists()
    assert f"waiting for what is at work in {tmp_path}/s, or the last training" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": {"trainer": {"num_nodes": 2}}}, r"trains on one machine: set trainer\.num_nodes=1"),
        ({"values": {"task": {"name": "pretrain"}}}, r"by their SDR, which task=pretrain has not: leave one out$"),
        ({"values": {"resume": "auto"}}, r"goes on by itself when it is started again: leave out resume="),
        ({"values": {"logger": {"csv": False}}}, r"set logger\.csv=true"),
        ({"space": {}}, r"^sweep\.space is empty: name what to search"),
        ({"trials": 0}, r"^sweep\.trials is 0, expected 1 or more$"),
        ({"space": {"seed": 3}}, r"^sweep\.space\.seed is 3, expected low and high, or choices$"),
        ({"space": {"a": {"b": {"low": 1}}}}, r"^sweep\.space\.a\.b\.high is missing: give it a value$"),
        ({"space": {"a": {"low": 2, "high": 1}}}, r"^sweep\.space\.a is .*, expected low below high"),
        ({"space": {"a": {"low": 0, "high": 1, "log": True}}}, r"with log: true low above 0"),
    ],
)
def test_mistakes_are_told_before_the_first_trial(start, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        start(**changes)
    assert not (tmp_path / "s").exists()


def test_a_study_that_cannot_be_used_is_one_sentence(start, tmp_path, monkeypatch):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(RunError, match=rf"^the study {tmp_path}/s/study\.db .* \(file is not a database\): make"):
        start()
    monkeypatch.setitem(sys.modules, "optuna.exceptions", None)  # as where it is not installed
    with pytest.raises(ConfigError, match=r"^sweep=optuna needs the package optuna: pip install optuna$"):
        start()


@pytest.mark.parametrize(("name", "value"), [("LOCAL_RANK", "1"), ("TORCHELASTIC_RUN_ID", "none")])
def test_a_sweep_is_not_for_torchrun(start, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"start it once, without torchrun, and set trainer\.devices$"):
        start()


def test_a_space_is_what_its_leaves_say():
    values = {"a": {"b": {"low": 1, "high": 8, "log": True}, "c": {"choices": ["x y", [1, 2], None, True]}}}
    space = read_space(values)
    assert space == {"a.b": Range(1, 8, log=True), "a.c": Choices(("x y", (1, 2), None, True))}
    fixed = optuna.trial.FixedTrial({"a.b": 3, "a.c": "[1,2]", "lr": 0.5})
    assert [each.suggest(fixed, key) for key, each in space.items()] == ["3", "[1,2]"]
    assert Range(0, 1.0).suggest(fixed, "lr") == "0.5"
    with pytest.raises(ValueError, match=r"'\"x y\"'.*'null'.*'true'"):
        space["a.c"].suggest(optuna.trial.FixedTrial({"a.c": "none of them"}), "a.c")


def test_the_group_is_composed_and_searches_what_is_there():
    values = compose_values("train", ["sweep=optuna"])
    space = read_space(values["sweep"]["space"])
    assert set(space) == {"optimizer.lr", "optimizer.weight_decay", "scheduler.warmup_steps"}
    for key in space:
        group, name = key.split(".")
        assert name in values[group]


def _kill_with_children(pid):
    """SIGKILL a process, and first the groups that its children lead."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    os.kill(pid, signal.SIGKILL)
    for child in found:
        os.killpg(int(child), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif("FUZZ_TRIALS" not in os.environ, reason="takes a minute: make fuzz runs it")
def test_a_sweep_of_ddp_runs_is_killed_and_goes_on(make_config, songs, tmp_path):
    settings = [f"sweep.trials={TRIALS}", "sweep.startup_trials=2", "~sweep.space.scheduler"]
    small = [
        *SMALL,
        "strategy=ddp",
        "trainer.devices=2",
        "trainer.max_epochs=2",
        "callbacks.checkpoint.every_n_minutes=0",
    ]
    values = make_config(*small, "sweep=optuna", *settings, small=False)
    command = [str(ROOT / "train.py"), *small, f"data.root={songs}", f"paths.cache={songs}-cache"]
    killed = tmp_path / f"trial_{TRIALS // 2:03}"

    process = multiprocessing.get_context("fork").Process(target=sweep, args=(values, command, tmp_path))
    process.start()
    while not (killed / "checkpoints" / "last.ckpt").exists():
        assert process.is_alive()
        time.sleep(0.05)
    _kill_with_children(process.pid)
    process.join()
    before = states(tmp_path)
    assert before == ["COMPLETE"] * (TRIALS // 2) + ["RUNNING"]

    best = sweep(values, command, tmp_path)
    assert states(tmp_path) == ["COMPLETE"] * TRIALS
    assert best == max(trial.value for trial in trials(tmp_path))
    outputs = [(tmp_path / f"trial_{number:03}" / "output.txt").read_text() for number in range(TRIALS)]
    held = [set(re.findall(r"2 processes hold one configuration, (\w+)", output)) for output in outputs]
    assert len(set.union(*held)) >= TRIALS  # of a run that goes on, the step at which it does is among it
    assert all(held)
    assert re.search(rf"going on from {killed}/checkpoints/\w+\.ckpt, step \d", outputs[TRIALS // 2])
    assert all("ended after step 4: trainer.max_epochs=2 is reached" in output for output in outputs)
