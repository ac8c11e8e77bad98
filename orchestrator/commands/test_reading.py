"""Reads the test data for the recommended trial, after every choice has been made on validation data."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import ValidationError

from orchestrator.analysis.comparison import (
    SweepComparison,
    TestReading,
    load_comparison,
    load_test_reading,
    save_test_reading,
)
from orchestrator.sweep.plan import Plan
from trainables.error_text import first_line
from trainables.seal import DamagedFileError, sealed_line, unsealed_line
from trainables.storage import Storage, sweep_file, trial_file

LOG = "test_readings.jsonl"


def read_test_data(plan: Plan, storage: Storage, cache: Path) -> SweepComparison:
    """The sweep's comparison, with the test figures of the recommended trial; they are read if they are not stored.

    If a later run recommends another trial, the test data is read again. Every reading stays in the sweep's log and is
    counted, so that the best of several readings is not mistaken for a single one.
    """
    name = plan.sweep.name
    comparison = load_comparison(storage, name)
    row = comparison.recommendation.row
    if row is None or row.result is None or "model" not in row.result.files:
        return comparison
    log, count = _log(storage, name)
    known = comparison.test_of_recommended or next((reading for reading in log if reading.trial == row.id), None)
    if known is not None:
        return _with(storage, name, known, max(1, count))
    from trainables.measure.client import MeasureError, evaluate_artifact  # imports torch

    print(f"Reading the test data with the recommended model, {row.id} ...", flush=True)
    file = row.result.files["model"]
    model = storage.fetch(trial_file(row.id, file), cache / "models" / row.id / file)
    sys.path.extend(folder for folder in plan.sweep.facts.search_path if folder not in sys.path)  # the user's module
    try:
        measure = plan.sweep.measure
        if measure.device == "cuda":  # the workers have a GPU; the driver may not
            measure = measure.model_copy(update={"device": "auto"})
        metrics = evaluate_artifact(model, row.config.task, cache, measure=measure)
    except MeasureError as error:
        print(f"paretune: the test data could not be read: {error}", file=sys.stderr)
        return comparison
    reading = TestReading(trial=row.id, metrics=metrics, readings=count + 1)
    storage.append_lines(sweep_file(name, LOG), [sealed_line(reading.model_dump_json())])
    return _with(storage, name, reading, reading.readings)


def _log(storage: Storage, sweep: str) -> tuple[list[TestReading], int]:
    """All readings whose lines are undamaged, and the number of all lines."""
    name, found = sweep_file(sweep, LOG), []
    lines = storage.read_lines(name)
    for number, line in enumerate(lines, start=1):
        try:
            text = unsealed_line(line, f"line {number} of {storage.display(name)}")
            found.append(TestReading.model_validate_json(text))
        except (DamagedFileError, ValidationError) as error:
            print(f"paretune: {first_line(error)}; this test reading is counted, but not shown", file=sys.stderr)
    return found, len(lines)


def _with(storage: Storage, sweep: str, reading: TestReading, readings: int) -> SweepComparison:
    """Store this reading and the sweep's number of readings, and return the comparison with it."""
    reading = reading.model_copy(update={"readings": readings})
    if reading != load_test_reading(storage, sweep):
        save_test_reading(storage, sweep, reading)
    return load_comparison(storage, sweep)
