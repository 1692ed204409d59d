from __future__ import annotations

import os

import pytest

from tests.evaluation.conftest import noise
from tfswa_unet.errors import ConfigError
from tfswa_unet.evaluation import scorer
from tfswa_unet.evaluation.scorer import THREAD_VARIABLES, Scorer, ScoreStore, scoring_processes
from tfswa_unet.evaluation.settings import EvaluationSettings
from tfswa_unet.evaluation.tracks import ScoredTrack


def die(*job):
    os._exit(9)


def test_processes_have_one_thread_and_their_death_is_explained(monkeypatch, make_track, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setattr(scorer, "score_saved", die)
    song = ScoredTrack(make_track("song", {"vocals": noise(0, 0.1)}), {"vocals": ("vocals",)})
    with scoring_processes(1) as pool:
        assert (os.environ["OMP_NUM_THREADS"], "MKL_NUM_THREADS" in os.environ) == ("3", False)
        assert [pool.submit(os.getenv, name).result() for name in THREAD_VARIABLES] == ["1"] * len(THREAD_VARIABLES)
        store = ScoreStore(tmp_path, EvaluationSettings(model="m"), lambda song: None, 1, None)
        work = Scorer(store, pool, 2, tmp_path)
        work.submit(song, "mixture")
        with pytest.raises(ConfigError, match=r"a scoring process ended early.* set workers below 2"):
            work.finish()
