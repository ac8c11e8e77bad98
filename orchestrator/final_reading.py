"""The one reading of the test data: of the recommended trial, after every choice has been made on validation data."""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator.analysis.comparison import Comparison, TestReading, load_comparison, save_test_reading
from orchestrator.plan import Plan
from trainables.storage import Storage, sweep_file, trial_file

LOG = "test_readings.jsonl"


def read_test_data(plan: Plan, storage: Storage, cache: Path) -> Comparison:
    """The sweep's comparison, with the test figures of what it recommends; they are read unless they were before.

    Should a later run recommend another trial, the test data is read again: every reading stays in the sweep's log, so
    that nobody can mistake the best of several for one.
    """
    name = plan.sweep.name
    comparison = load_comparison(storage, name)
    row = comparison.recommendation.row
    if row is None or row.result is None or comparison.test_of_recommended or "model" not in row.result.files:
        return comparison
    from trainables.fresh_process import MeasureError, evaluate_artifact  # brings in torch

    file = row.result.files["model"]
    model = storage.fetch(trial_file(row.id, file), cache / "models" / row.id / file)
    sys.path.extend(folder for folder in plan.sweep.facts.search_path if folder not in sys.path)  # the user's module
    try:
        measure = plan.sweep.measure
        if measure.device == "cuda":  # the workers have one; the driver may not
            measure = measure.model_copy(update={"device": "auto"})
        metrics = evaluate_artifact(model, row.config.task, cache, measure=measure)
    except MeasureError as error:
        print(f"paretune: the test data could not be read: {error}", file=sys.stderr)
        return comparison
    reading = TestReading(trial=row.id, metrics=metrics)
    storage.append_lines(sweep_file(name, LOG), [reading.model_dump_json()])
    save_test_reading(storage, name, reading)
    return load_comparison(storage, name)
