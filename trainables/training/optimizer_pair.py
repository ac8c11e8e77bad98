"""Two optimisers over the parts of one model, as one: torch.optim.Muon takes matrices only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer


class OptimizerPair(Optimizer):
    """Steps both. Its groups are those of the first and then those of the second, and its state is that of both."""

    def __init__(self, first: Optimizer, second: Optimizer) -> None:
        self.parts = (first, second)
        super().__init__([*first.param_groups, *second.param_groups], {})
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for part in self.parts:
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """The parts work on the groups and the state that are seen from outside: loading makes new ones."""
        split = len(self.parts[0].param_groups)
        for part, groups in zip(self.parts, (self.param_groups[:split], self.param_groups[split:]), strict=True):
            part.param_groups, part.state = groups, self.state
