import json

import pytest
import torch

from tfswa_unet.bench.results import Failure, MissingPackage, Results, attempt, recorded, rounded, time_in_turns
from tfswa_unet.errors import ConfigError, ModelError

CPU = torch.device("cpu")
MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB.\nA trace"


def _raising(error):
    def work(*_, **__):
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError(MEMORY), "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
        (MissingPackage("demucs is missing: install it"), "demucs is missing: install it"),
        (ModelError("it diverged: lower its rate"), "it diverged: lower its rate"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_what_befalls_one_system_is_its_record(error, reason, capsys):
    assert recorded("one", _raising(error)) == {"status": "failed", "reason": reason}
    assert capsys.readouterr().err == f"one: failed: {reason}\n"


@pytest.mark.parametrize("error", [ConfigError("unknown loss"), KeyboardInterrupt(), AssertionError("a defect")])
def test_mistakes_and_interruptions_end_the_run(error):
    with pytest.raises(type(error)):
        attempt("one", _raising(error))


def test_what_is_measured_has_a_status_and_is_rounded_for_print():
    record = recorded("one", lambda: {"shares": {"data": 0.123456789}, "stems": ("a",)})
    assert rounded(record) == {"status": "measured", "shares": {"data": 0.12346}, "stems": ["a"]}
    assert recorded("one", lambda: {"status": "diverged", "lr": 1})["status"] == "diverged"


def _turns(works, rounds):
    warm_ups = {key: lambda work=work: work("warm") for key, work in works.items()}
    return time_in_turns(works, warm_ups, rounds, CPU, lambda seconds: "some time")


def test_systems_take_turns(capsys):
    order = []
    works = {(name, "fp32"): lambda kind="work", name=name: order.append((name, kind)) for name in "ab"}
    outcomes = _turns(works, 2)
    assert order == [("a", "warm"), ("b", "warm"), *[("a", "work"), ("b", "work")] * 2]
    assert set(outcomes) == set(works)
    assert all(seconds >= 0 for seconds in outcomes.values())
    assert capsys.readouterr().err.splitlines()[-1] == "round 2 of 2: b fp32: some time"


def test_one_that_fails_has_no_more_turns():
    order = []

    def work(kind="work"):
        order.append(kind)
        if len(order) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    outcomes = _turns({("a",): lambda kind="work": None, ("b",): work, ("c",): lambda kind="work": None}, 3)
    assert order == ["warm", "work"]
    failures = {key: outcome for key, outcome in outcomes.items() if isinstance(outcome, Failure)}
    assert failures == {("b",): Failure("OutOfMemoryError: CUDA out of memory")}
    assert set(outcomes) - set(failures) == {("a",), ("c",)}


@pytest.mark.parametrize(("call", "measured"), [(2, set()), (4, {"x"}), (6, {"x", "y"})])
def test_an_interruption_leaves_what_was_measured(call, measured, capsys):
    calls = []

    def work(kind="work"):
        calls.append(kind)
        if len(calls) == call:
            raise KeyboardInterrupt

    assert {name for (name,) in _turns({("x",): work, ("y",): work}, 9)} == measured
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted: what was measured so far follows"


def test_records_are_on_disk_at_once_and_found_again(tmp_path):
    path = tmp_path / "new" / "results.json"
    results = Results(path, {"minutes": 3, "lr": {"a": 0.1}})
    results.add("first", {"sdr": 1.5})
    assert json.loads(path.read_text()) == {
        "settings": {"minutes": 3, "lr": {"a": 0.1}},
        "results": {"first": {"sdr": 1.5}},
    }
    again = Results(path, {"minutes": 3, "lr": {"a": 0.1}})
    again.add("second", {"sdr": 2.0})
    assert list(Results(path, {"minutes": 3, "lr": {"a": 0.1}}).records) == ["first", "second"]


def test_what_failed_is_tried_again(tmp_path):
    path = tmp_path / "results.json"
    results = Results(path, {})
    results.add("good", {"status": "measured", "sdr": 1.5})
    results.add("bad", {"status": "failed", "reason": "no memory"})
    assert json.loads(path.read_text())["results"]["bad"]["reason"] == "no memory"
    assert list(Results(path, {}).records) == ["good"]


def test_other_settings_are_refused(tmp_path):
    path = tmp_path / "results.json"
    Results(path, {"minutes": 3}).add("first", {})
    with pytest.raises(ConfigError, match=r"minutes 3 where 4 is asked\): give another --out, or delete it"):
        Results(path, {"minutes": 4})


@pytest.mark.parametrize("text", ["", "[]", '{"results": 3}', "{"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"results\.json holds no results of this benchmark: give another --out"):
        Results(path, {})
    assert path.read_text() == text
