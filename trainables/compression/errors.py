"""Why a method could not be applied to a model: a result of the trial, not a failure of the sweep."""

from trainables.errors import ParetuneError


class CompressionError(ParetuneError):
    """One sentence that names the method, the obstacle, and what to do instead."""
