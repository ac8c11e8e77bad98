"""Calls of MLflow's client: paged, within its limits, and safe if an experiment is deleted. Knows no sweep."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

from orchestrator.recording.mlflow.run_record import MetricPoint

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run
    from mlflow.tracking import MlflowClient

T = TypeVar("T")

METRICS_PER_CALL, PARAMS_PER_CALL, RUNS_PER_CALL = 1000, 100, 1000  # MLflow's own limits, and a page of a search
ALL_RUNS = 3  # ViewType.ALL: deleted ones too


def open_client(tracking_uri: str) -> MlflowClient:
    from mlflow.tracking import MlflowClient  # takes seconds, so it is imported only when needed

    logging.getLogger("alembic").setLevel(logging.ERROR)
    return MlflowClient(tracking_uri)


def experiment_with(client: MlflowClient, experiment: str, condition: str) -> Experiment | None:
    """The experiment with this id, if it still exists and has a run that fulfils the condition."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_experiment(experiment)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return found if client.search_runs([experiment], condition, run_view_type=ALL_RUNS, max_results=1) else None


def search(client: MlflowClient, experiment: str, condition: str) -> Iterator[Run]:
    """All runs that fulfil the condition, including deleted ones, oldest first."""
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment],
            condition,
            run_view_type=ALL_RUNS,
            max_results=RUNS_PER_CALL,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def log_params(client: MlflowClient, run: str, params: dict[str, str]) -> None:
    from mlflow.entities import Param

    for chunk in _chunks([Param(key, value) for key, value in params.items()], PARAMS_PER_CALL):
        client.log_batch(run, params=chunk)


def log_readings(client: MlflowClient, run: str, readings: list[MetricPoint]) -> None:
    from mlflow.entities import Metric

    metrics = [Metric(each.key, each.value, each.time_ms, each.step) for each in readings]
    for chunk in _chunks(metrics, METRICS_PER_CALL):
        client.log_batch(run, metrics=chunk)


def _chunks(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
