"""Diagnosis of data sets: faulty, missing and duplicate audio, found before training."""

from tfswa_unet.doctor.diagnosis import Diagnosis, diagnose
from tfswa_unet.doctor.findings import Finding

__all__ = ["diagnose", "Diagnosis", "Finding"]
