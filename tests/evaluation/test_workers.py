from __future__ import annotations

import os

import pytest

from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation.scorer import THREAD_VARIABLES, _explained, scoring_processes


def test_processes_have_one_thread_and_their_death_is_explained(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with scoring_processes(1) as pool:
        assert (os.environ["OMP_NUM_THREADS"], "MKL_NUM_THREADS" in os.environ) == ("3", False)
        assert [pool.submit(os.getenv, name).result() for name in THREAD_VARIABLES] == ["1"] * len(THREAD_VARIABLES)
        with pytest.raises(ConfigError, match=r"a scoring process ended early.* set workers below 2"), _explained(2):
            pool.submit(os._exit, 9).result()
