"""The doctor: what is wrong with a data set, found before training learns from it."""

from tfswa_unet.data.doctor.diagnosis import Diagnosis, diagnose
from tfswa_unet.data.doctor.finding import Finding

__all__ = ["diagnose", "Diagnosis", "Finding"]
