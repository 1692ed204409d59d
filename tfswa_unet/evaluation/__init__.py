"""How well stems are separated: metrics, reference methods, scores of a data set, tables and pictures."""

from tfswa_unet.evaluation.bsseval import TrackScores
from tfswa_unet.evaluation.metrics import sdr, si_sdr, windowed_sdr
from tfswa_unet.evaluation.plots import spectrograms
from tfswa_unet.evaluation.references import ideal_ratio_mask, mixture_as_estimate
from tfswa_unet.evaluation.report import MethodScores, Scores, StemScores, aggregate
from tfswa_unet.evaluation.run import evaluate
from tfswa_unet.evaluation.settings import EvaluationSettings
from tfswa_unet.evaluation.terminal import tables

__all__ = [
    "sdr",
    "si_sdr",
    "windowed_sdr",
    "spectrograms",
    "ideal_ratio_mask",
    "mixture_as_estimate",
    "MethodScores",
    "Scores",
    "StemScores",
    "aggregate",
    "tables",
    "evaluate",
    "EvaluationSettings",
    "TrackScores",
]
