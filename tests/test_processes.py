from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tfswa_unet.errors import DataError
from tfswa_unet.processes import environment, imports, in_processes

KILLED = """
import time
from tests.test_processes import note
from tfswa_unet.processes import environment, in_processes
if __name__ == "__main__":
    list(in_processes(note, [({folder!r}, k, 60) for k in range(4)], 2))
"""


def note(folder, number, seconds):
    (Path(folder) / f"{os.getpid()}").touch()
    time.sleep(seconds)
    return number, os.getpid()


def fall(signal_number):
    os.kill(os.getpid(), signal_number)


def test_one_worker_works_here_and_several_elsewhere(tmp_path):
    calls = [(tmp_path, k, 0) for k in range(3)]
    assert list(in_processes(note, calls, 1)) == [(k, os.getpid()) for k in range(3)]
    results = dict(in_processes(note, calls, 2))
    assert sorted(results) == [0, 1, 2]
    assert os.getpid() not in results.values()
    assert list(in_processes(note, [], 2)) == []


def test_a_worker_ended_from_outside_is_a_sentence():
    with pytest.raises(DataError, match=r"working process was ended .* fewer workers and run again"):
        list(in_processes(fall, [(signal.SIGKILL,)] * 2, 2))


def test_workers_end_with_a_killed_parent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(KILLED.format(folder=str(tmp_path / "noted")))
    (tmp_path / "noted").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    parent = subprocess.Popen([sys.executable, script], env=environment)
    while len(workers := list((tmp_path / "noted").iterdir())) < 2:
        assert parent.poll() is None
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    pids = [int(path.name) for path in workers]
    deadline = time.monotonic() + 30
    while any(_runs(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(_runs(pid) for pid in pids)


def _runs(pid):
    state = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
        return not (Path("/proc/self").is_dir() and state.read_text().rpartition(")")[2].split()[0] == "Z")
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_environment_is_put_back_also_after_an_error(monkeypatch):
    monkeypatch.setenv("KEPT", "before")
    monkeypatch.delenv("NEW", raising=False)
    seen = []

    @environment(KEPT="1", NEW="2")
    def fail():
        seen.extend((os.environ["KEPT"], os.environ["NEW"]))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen == ["1", "2"]
    assert os.environ["KEPT"] == "before"
    assert "NEW" not in os.environ


def test_the_collector_rests_while_packages_are_imported_and_then_leaves_them_out():
    frozen = gc.get_freeze_count()
    try:
        with imports():
            assert not gc.isenabled()
            made: list[list] = [[] for _ in range(1000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() >= frozen + len(made)
        with pytest.raises(ModuleNotFoundError), imports():
            import tfswa_unet.no_such_module  # noqa: F401
        assert gc.isenabled()
    finally:
        gc.unfreeze()
