"""What tests look at in MLflow, through its own client: which runs a sweep has, and whether they are whole."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Run, ViewType
from mlflow.tracking import MlflowClient

from orchestrator.recording.journal_view import TrialLog, read
from orchestrator.recording.mlflow import run_record as flat_run
from trainables.storage import Storage

# MLflow 3.17's tables use a loader that SQLAlchemy 2.1 is about to drop.
MLFLOW_WARNINGS = ("ignore:The ``noload`` loader strategy is deprecated",)


def empty_database(folder: Path) -> Path:
    """An SQLite file with MLflow's tables. Making them takes seconds, so tests copy one."""
    file = folder / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


def storage_with_database(folder: Path, database: Path) -> Storage:
    folder.mkdir(exist_ok=True)
    shutil.copy(database, folder / "mlflow.db")
    return Storage(str(folder))


def runs(client: MlflowClient, sweep: str) -> dict[str, Run]:
    """Trial -> run, of the runs that are not deleted; every trial has exactly one."""
    experiment = client.get_experiment_by_name(sweep)
    assert experiment is not None, f"MLflow has no experiment {sweep}"
    found = list(client.search_runs([experiment.experiment_id], run_view_type=ViewType.ACTIVE_ONLY, max_results=1000))
    counts = Counter(run.data.tags[flat_run.TRIAL_TAG] for run in found)
    assert len(counts) == len(found), f"trials with several runs: {counts}"
    return {run.data.tags[flat_run.TRIAL_TAG]: run for run in found}


def expected_readings(log: TrialLog) -> dict[tuple[str, int], float]:
    readings = [each for told in log.reports for each in flat_run.report_readings(told.report, told.time_ms)]
    result = log.result()
    if result and log.ended:
        readings += flat_run.end_readings(result, log.ended.time_ms)
    readings += flat_run.first_readings(log)
    expected = {(reading.key, reading.step): reading.value for reading in readings}
    assert len(expected) == len(readings), "a metric is sent twice at one step"
    return expected


def check_complete(storage: Storage, sweep: str, tracking_uri: str) -> Mapping[str, Run]:
    """MLflow has all that the journal has, each thing once, and no run is left open."""
    client = MlflowClient(tracking_uri)
    journal, found = read(storage, sweep), runs(client, sweep)
    assert set(found) == set(journal.trials)
    for trial, run in found.items():
        log = journal.trials[trial]
        assert log.ended is not None
        assert run.info.status == flat_run.mlflow_status(log.ended.result.status)
        assert run.info.start_time == log.start_ms
        assert run.info.end_time == log.ended.time_ms
        histories = [
            client.get_metric_history(run.info.run_id, key) for key in {key for key, _ in expected_readings(log)}
        ]
        readings = [((metric.key, metric.step), metric.value) for history in histories for metric in history]
        assert sorted(readings) == sorted(expected_readings(log).items())
        assert run.data.params == flat_run.params(log)
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert files == {"config.json", "result.json", "model.pt2"}
    return found


def quiet_environment(**more: str) -> dict[str, str]:
    """The environment without variables that would send a test's runs elsewhere."""
    return {**{key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}, **more}


def without_waiting(errors: str) -> list[str]:
    """All that was said, but for what is said on a busy machine: its load, and that a recorder takes its time."""
    waiting = r"paretune: (sending|trying \(.*\) to send) .* to MLflow at \S+; Ctrl-C postpones this to the next run"
    load = r"paretune: load \d+ on \d+ cores: other programs are running, so seconds and latencies are not reliable"
    return [line for line in errors.splitlines() if line and not re.fullmatch(f"{waiting}|{load}", line)]
