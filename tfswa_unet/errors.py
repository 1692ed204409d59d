"""What a user can put right: one sentence that says what was got, what was expected and what to change.

The command line prints the sentence and exits with status 1; anything else that is raised is a defect of ours.
"""


class UserError(Exception):
    """Base of every error whose cause lies in what the user gave."""


class AudioError(UserError):
    """A file cannot be read as audio, or audio cannot be written."""


class DataError(UserError):
    """A data set is missing, incomplete or inconsistent."""


class ConfigError(UserError):
    """A setting has an unknown name or an impossible value."""


class ModelError(UserError):
    """A checkpoint or bundle cannot be used as a model."""
