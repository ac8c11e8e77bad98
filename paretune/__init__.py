"""Paretune from Python: `import paretune` offers the commands of the command line as functions of the same names.

    comparison = paretune.run("sweep.yaml")
    comparison.trials, comparison.recommendation, comparison.pareto, comparison.plot("objective")

This package only forwards names, and imports each when it is first used: `plan` needs no torch, Ray or MLflow. The
functions are in `orchestrator.api`; the tree of exceptions is drawn in `trainables.errors`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.analysis.plan_file import TableError as TableError
    from orchestrator.api.clusters import doctor as doctor
    from orchestrator.api.clusters import jobs as jobs
    from orchestrator.api.clusters import logs as logs
    from orchestrator.api.clusters import status as status
    from orchestrator.api.clusters import stop as stop
    from orchestrator.api.clusters import submit as submit
    from orchestrator.api.comparison import Comparison as Comparison
    from orchestrator.api.models import load_model as load_model
    from orchestrator.api.planned import SweepPlan as SweepPlan
    from orchestrator.api.probes import Probes as Probes
    from orchestrator.api.probes import probe as probe
    from orchestrator.api.sweeps import compare as compare
    from orchestrator.api.sweeps import demo as demo
    from orchestrator.api.sweeps import plan as plan
    from orchestrator.api.sweeps import report as report
    from orchestrator.api.sweeps import run as run
    from orchestrator.api.sweeps import ui as ui
    from orchestrator.diagnostics.problem import SweepError as SweepError
    from orchestrator.recording.journal_view import JournalError as JournalError
    from orchestrator.recording.lease import SweepIsRunningError as SweepIsRunningError
    from orchestrator.remote.submitted import UnknownJobError as UnknownJobError
    from orchestrator.remote.token import ClusterError as ClusterError
    from orchestrator.remote.tracking import TrackingError as TrackingError
    from orchestrator.running.executor import Interrupted as Interrupted
    from orchestrator.running.executor import NobodyAtWorkError as NobodyAtWorkError
    from orchestrator.running.local_trial import LocalTrialError as LocalTrialError
    from orchestrator.running.patience import StorageFailsError as StorageFailsError
    from orchestrator.running.ray_connection import RayStartError as RayStartError
    from orchestrator.running.resources import NeverFitsError as NeverFitsError
    from trainables.data.columns import Category as Category
    from trainables.data.columns import Date as Date
    from trainables.data.columns import Number as Number
    from trainables.data.columns import Ragged as Ragged
    from trainables.data.columns import Stored as Stored
    from trainables.data.fingerprint import NoHomeError as NoHomeError
    from trainables.data.sources import DataError as DataError
    from trainables.errors import InputError as InputError
    from trainables.errors import ParetuneError as ParetuneError
    from trainables.measure.artifact import ArtifactError as ArtifactError
    from trainables.storage import StorageError as StorageError
    from trainables.tasks.base import Batch as Batch
    from trainables.tasks.base import Task as Task
    from trainables.tasks.load import TaskError as TaskError
    from trainables.tasks.parameter_group import ParameterGroup as ParameterGroup

_HOME = {  # name -> the module that defines it
    "ArtifactError": "trainables.measure.artifact",
    "Batch": "trainables.tasks.base",
    "Category": "trainables.data.columns",
    "ClusterError": "orchestrator.remote.token",
    "Comparison": "orchestrator.api.comparison",
    "DataError": "trainables.data.sources",
    "Date": "trainables.data.columns",
    "InputError": "trainables.errors",
    "Interrupted": "orchestrator.running.executor",
    "JournalError": "orchestrator.recording.journal_view",
    "LocalTrialError": "orchestrator.running.local_trial",
    "NeverFitsError": "orchestrator.running.resources",
    "NoHomeError": "trainables.data.fingerprint",
    "NobodyAtWorkError": "orchestrator.running.executor",
    "Number": "trainables.data.columns",
    "ParameterGroup": "trainables.tasks.parameter_group",
    "ParetuneError": "trainables.errors",
    "Probes": "orchestrator.api.probes",
    "Ragged": "trainables.data.columns",
    "RayStartError": "orchestrator.running.ray_connection",
    "StorageError": "trainables.storage",
    "StorageFailsError": "orchestrator.running.patience",
    "Stored": "trainables.data.columns",
    "SweepError": "orchestrator.diagnostics.problem",
    "SweepIsRunningError": "orchestrator.recording.lease",
    "SweepPlan": "orchestrator.api.planned",
    "TableError": "orchestrator.analysis.plan_file",
    "Task": "trainables.tasks.base",
    "TaskError": "trainables.tasks.load",
    "TrackingError": "orchestrator.remote.tracking",
    "UnknownJobError": "orchestrator.remote.submitted",
    "compare": "orchestrator.api.sweeps",
    "demo": "orchestrator.api.sweeps",
    "doctor": "orchestrator.api.clusters",
    "jobs": "orchestrator.api.clusters",
    "load_model": "orchestrator.api.models",
    "logs": "orchestrator.api.clusters",
    "plan": "orchestrator.api.sweeps",
    "probe": "orchestrator.api.probes",
    "report": "orchestrator.api.sweeps",
    "run": "orchestrator.api.sweeps",
    "status": "orchestrator.api.clusters",
    "stop": "orchestrator.api.clusters",
    "submit": "orchestrator.api.clusters",
    "ui": "orchestrator.api.sweeps",
}

__all__ = [
    "ArtifactError",
    "Batch",
    "Category",
    "ClusterError",
    "Comparison",
    "DataError",
    "Date",
    "InputError",
    "Interrupted",
    "JournalError",
    "LocalTrialError",
    "NeverFitsError",
    "NoHomeError",
    "NobodyAtWorkError",
    "Number",
    "ParameterGroup",
    "ParetuneError",
    "Probes",
    "Ragged",
    "RayStartError",
    "StorageError",
    "StorageFailsError",
    "Stored",
    "SweepError",
    "SweepIsRunningError",
    "SweepPlan",
    "TableError",
    "Task",
    "TaskError",
    "TrackingError",
    "UnknownJobError",
    "compare",
    "demo",
    "doctor",
    "jobs",
    "load_model",
    "logs",
    "plan",
    "probe",
    "report",
    "run",
    "status",
    "stop",
    "submit",
    "ui",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
