"""The doctor: what is wrong with a data set, found before training learns from it."""

from tfswa_unet.doctor.diagnosis import Diagnosis, diagnose
from tfswa_unet.doctor.findings import Finding

__all__ = ["diagnose", "Diagnosis", "Finding"]
