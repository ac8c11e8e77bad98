"""The demo as it was run once, `paretune run examples/digits.yaml` on two cores: its plan and its results.

Numbers have six digits, and a reading has what is compared of it.
"""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.analysis.plan_file import StoredPlan
from orchestrator.analysis.table import SweepTable, make_table
from trainables.results import TrialResult

RECORDED = Path(__file__).parents[1] / "goldens" / "demo.json"


def demo_table() -> SweepTable:
    recorded = json.loads(RECORDED.read_text())
    plan = StoredPlan.model_validate(recorded["plan"])
    configs = {trial.id: trial.config for trial in plan.trials}
    results = [TrialResult.model_validate({**one, "config": configs[one["id"]]}) for one in recorded["results"]]
    return make_table(plan, {result.id: result for result in results})
