"""A trial as a flat MLflow run: names a person can tell apart, every setting a parameter, every number sent once."""

import subprocess
import sys

from orchestrator.recording.journal_view import Started, TrialLog
from orchestrator.recording.mlflow import run_record as flat_run
from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, TaskConfig, VariantConfig, trial_id
from trainables.estimate import Estimate
from trainables.results import Report, Status, TrialResult

TASK = TaskConfig(name="digits_cnn", options={"width": 1.5, "norm": True}, data="d", code="c")
TRAINING = Training(batch_size=64, micro_batch_size=64, learning_rate=0.05, budget=Budget(unit="steps", amount=10))
BASELINE = BaselineConfig(task=TASK, training=TRAINING)


def log_of(config: BaselineConfig | VariantConfig) -> TrialLog:
    return TrialLog(Started(time_ms=1000, trial=trial_id(config), config=config, learning_rate_source="as given"))


ODD = ("recall@10", "f1(macro)", "précision", "top/5", "a//b", "rate %", "`x`", "a\nb", "x/", "p: q")


def test_names_that_mlflow_refuses_are_written_as_it_takes_them():
    """MLflow's own check, on every name that a task with odd metrics and options would send."""
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    metrics = {f"val_{name}": 0.5 for name in ODD}
    report = Report(step=1, examples=8, seconds=0.1, metrics=metrics)
    figures = {name: Estimate(value=0.6, low=0.5, high=0.7) for name in metrics}
    result = TrialResult(id="x", config=BASELINE, status=Status.COMPLETED, history=(report,), metrics=figures)
    readings = flat_run.report_readings(report, time_ms=1) + flat_run.end_readings(result, time_ms=2)
    assert {"val_recall_10", "val_recall_10_low", "val_f1_macro_", "val_précision", "val_top/5", "val_a__b"} <= {
        reading.key for reading in readings
    }
    for reading in readings:
        _validate_metric_name(reading.key)
    task = TASK.model_copy(update={"options": dict.fromkeys(ODD, 1)})
    for key in flat_run.params(log_of(BaselineConfig(task=task, training=TRAINING))):
        _validate_param_name(key)


def test_recording_imports_mlflow_only_when_there_is_something_to_send():
    heavy = "{'mlflow', 'torch', 'ray'} & set(sys.modules)"
    code = f"import sys, orchestrator.recording.mlflow.recorder, orchestrator.recording.mlflow.views; print(*({heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
