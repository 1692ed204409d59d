from __future__ import annotations

import json

import numpy as np

from tfswa_unet.evaluation.bsseval import TrackScores


def test_json_round_trip_is_exact():
    frames = {"vocals": {"SDR": np.array([1 / 3, np.nan, np.inf, -np.inf, -1e-300])}}
    scores = TrackScores("a song", frames, {"vocals": 0.1 + 0.2}, ("vocals",))
    text = json.dumps(scores.to_dict(), allow_nan=False)
    back = TrackScores.from_dict(json.loads(text))
    np.testing.assert_array_equal(back.frames["vocals"]["SDR"], frames["vocals"]["SDR"])
    assert (back.track, back.usdr, back.left_out) == (scores.track, scores.usdr, scores.left_out)
