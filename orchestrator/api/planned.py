"""The plan of a sweep, the value of `paretune.plan`: every trial that would run. Imports no torch, Ray or MLflow."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from orchestrator.sweep.plan import Plan

if TYPE_CHECKING:
    import pandas as pd


class SweepPlan:
    """A sweep before it runs. Its text form is the output of `paretune plan`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    @property
    def name(self) -> str:
        """The sweep's."""
        return self._plan.sweep.name

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial that is known in advance, indexed by its id: its settings, its steps and examples."""
        import pandas as pd

        from orchestrator.report.plan_frame import trial_records

        return pd.DataFrame(trial_records(self._plan)).set_index("id")

    @cached_property
    def variants(self) -> pd.DataFrame:
        """One row per variant whose baseline is chosen from results: the rule, the chain, the most steps of it."""
        import pandas as pd

        return pd.DataFrame(
            self.to_dict()["pending"], columns=["key", "rule", "description", "steps_at_most", "examples_at_most"]
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes on the plan: possible problems of the sweep."""
        return self._plan.notes

    def to_dict(self) -> dict[str, Any]:
        """The content of `paretune plan --format json`, as a dict."""
        from orchestrator.report.plan_json import plan_as_dict

        return plan_as_dict(self._plan)

    def __str__(self) -> str:
        from orchestrator.report.plan_table import print_plan
        from orchestrator.report.tables import plain_text

        return plain_text(lambda console: print_plan(self._plan, console))

    def __repr__(self) -> str:
        return f"<SweepPlan of {self.name}: {len(self._plan.trials)} trials known, {len(self._plan.pending)} to come>"
