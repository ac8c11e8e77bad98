"""The expected ways in which a training may end early."""

from __future__ import annotations

from trainables.errors import ParetuneError
from trainables.results import Report


class Diverged(ParetuneError):  # noqa: N818 - an expected ending, not an error
    """The loss is infinite or NaN; every worker raises this, with the same step and loss."""

    def __init__(self, step: int, loss: float, history: tuple[Report, ...], *, in_validation: bool = False) -> None:
        super().__init__(f"the {'validation ' if in_validation else ''}loss was {loss} at step {step}")
        self.step = step  # the first one is step 1
        self.loss = loss
        self.history = history
        self.in_validation = in_validation
