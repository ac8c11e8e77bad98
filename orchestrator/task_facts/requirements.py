"""Checks a sweep's requirements for its task, such as a column to sort by or a narrower model, before any trial runs.

Only the imported task can show this, so `run` checks it, and only if the sweep has such requirements.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator.sweep.plan import Plan
from trainables.config.compression import Distill
from trainables.config.training import SortedBy
from trainables.config.trial import ProbeConfig
from trainables.data.fingerprint import default_cache
from trainables.errors import InputError

if TYPE_CHECKING:
    from trainables.tasks.base import Task


def check_asked(plan: Plan) -> None:
    """Raises InputError for the first thing that the task, with any combination of its options, does not have."""
    trained = [trial.config.training for trial in plan.trials if not isinstance(trial.config, ProbeConfig)]
    orders = sorted({t.data_order.column for t in trained if isinstance(t.data_order, SortedBy)})
    compression = plan.sweep.compression
    steps = [step for chain in compression.variants for step in chain] if compression else []
    distills = any(isinstance(step, Distill) for step in steps)
    if not (orders or distills):
        return
    for task in _tasks(plan):
        if distills:
            _check_students(task)
        for column in orders:
            _check_order(task, column)


def _tasks(plan: Plan) -> Iterator[Task]:
    from trainables.tasks.load import load_task

    chosen = plan.sweep.task
    for options in chosen.combinations():
        yield load_task(chosen.name, options, plan.sweep.facts.search_path)


def _check_students(task: Task) -> None:
    from trainables.compression.distill import check_width
    from trainables.compression.errors import CompressionError

    try:
        check_width(task)
    except CompressionError as error:
        raise InputError(f"compression.variants: {error}") from None


def _check_order(task: Task, column: str) -> None:
    from orchestrator.task_facts.data_preview import preview
    from trainables.data.order import row_order
    from trainables.data.selection import Selection
    from trainables.data.sources import DataError
    from trainables.tasks.task_data import sources_of

    try:
        numbers = preview(sources_of(task)["train"], default_cache(), Selection.of(None))
        row_order(SortedBy(column=column), numbers)
    except DataError as error:
        raise InputError(f"parameters.data_order: {error}") from None
