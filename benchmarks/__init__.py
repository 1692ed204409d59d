"""Measurements beside other packages: speed, a contest in training, and what each option is worth."""
