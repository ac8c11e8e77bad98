"""A trial as a flat MLflow run: names a person can tell apart, every setting a parameter, every number sent once."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.recording.journal_view import Started, TrialLog
from orchestrator.recording.mlflow import run_record as flat_run
from trainables.config.compression import Distill, Int8, Prune
from trainables.config.optimizers import Adam
from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, TaskConfig, VariantConfig, trial_id
from trainables.estimate import Estimate
from trainables.results import Report, Status, TrialResult

TASK = TaskConfig(name="digits_cnn", options={"width": 1.5, "norm": True}, data="d", code="c")
TRAINING = Training(batch_size=64, micro_batch_size=64, learning_rate=0.05, budget=Budget(unit="steps", amount=10))
BASELINE = BaselineConfig(task=TASK, training=TRAINING)
VARIANT = VariantConfig(task=TASK, parent="p", training=TRAINING, chain=(Prune(), Int8()))


def log_of(config: BaselineConfig | VariantConfig) -> TrialLog:
    return TrialLog(Started(time_ms=1000, trial=trial_id(config), config=config, learning_rate_source="as given"))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "B=64 lr=0.05 seed 0"),
        ({"seed": 3, "learning_rate": 1 / 3}, "B=64 lr=0.3333 seed 3"),
        ({"optimizer": Adam(), "precision": "bfloat16"}, "B=64 lr=0.05 adam bfloat16 seed 0"),
        ({"micro_batch_size": 16, "num_workers": 4}, "B=64 lr=0.05 4 workers seed 0"),
    ],
)
def test_a_name_says_what_was_chosen(changes, name):
    training = TRAINING.model_copy(update=changes)
    assert flat_run.run_name(BaselineConfig(task=TASK, training=training)) == name
    variant = VariantConfig(task=TASK, parent="p", training=training, chain=(Distill(width=0.25),))
    assert flat_run.run_name(variant) == f"distill 0.25 of {name}"


@pytest.mark.parametrize("config", [BASELINE, VARIANT], ids=["baseline", "variant"])
def test_every_setting_is_a_parameter(config):
    params = flat_run.params(log_of(config))
    leaves = list(values(config.model_dump(mode="json", exclude={"kind"})))
    assert len(params) == len(leaves) + 2  # compression, learning_rate_source
    assert params["batch_size"] == "64"
    assert params["optimizer.name"] == "sgd"
    assert params["task.options.width"] == "1.5"
    assert params["task.options.norm"] == "true"
    assert params["learning_rate_source"] == "as given"
    assert params["compression"] == ("prune 0.5 + int8" if config is VARIANT else "none")


def values(tree):
    match tree:
        case dict():
            for inner in tree.values():
                yield from values(inner)
        case list():
            for inner in tree:
                yield from values(inner)
        case None:
            pass
        case _:
            yield tree


def test_a_parameter_longer_than_mlflow_takes_is_cut():
    task = TASK.model_copy(update={"options": {"text": "x" * 10_000}})
    params = flat_run.params(log_of(BaselineConfig(task=task, training=TRAINING)))
    assert len(params["task.options.text"]) == 6000


def test_tags_say_what_kind_of_trial_it_is():
    tags = flat_run.tags("s", "r", log_of(VARIANT))
    assert tags["paretune.parent"] == "p"
    assert tags["paretune.status"] == "running"
    assert "paretune.parent" not in flat_run.tags("s", "r", log_of(BASELINE))
    wide = BASELINE.model_copy(update={"training": TRAINING.model_copy(update={"batch_size": 128})})
    assert tags["mlflow.runColor"] != flat_run.tags("s", "r", log_of(wide))["mlflow.runColor"]


@pytest.mark.parametrize("status", Status)
def test_every_status_is_a_status_of_mlflow(status):
    has_figures = status in (Status.COMPLETED, Status.STOPPED_EARLY, Status.GOAL_MISSED)
    assert flat_run.mlflow_status(status) == ("FINISHED" if has_figures else "FAILED")
    tags = flat_run.end_tags(TrialResult(id="x", config=BASELINE, status=status, reason="r" * 9000, warnings=("w",)))
    assert tags["paretune.status"] == status.value
    assert len(tags["paretune.reason"]) == 5000


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
METRICS = st.dictionaries(
    st.sampled_from(["val_loss", "val_accuracy", "train_loss", "examples", "train_seconds"]), NUMBERS
)
HISTORIES = st.dictionaries(st.integers(1, 50), METRICS, max_size=6)


@given(history=HISTORIES, final=METRICS, with_interval=st.booleans())
def test_no_number_is_sent_twice_at_one_step_and_the_last_is_the_final_one(history, final, with_interval):
    log = log_of(BASELINE)
    readings = flat_run.first_readings(log)
    reports = []
    for step, metrics in sorted(history.items()):
        told = {key: value for key, value in metrics.items() if key not in ("examples", "train_seconds")}
        report = Report(step=step, examples=8 * step, seconds=step / 10, metrics=told)
        reports.append(report)
        readings += flat_run.report_readings(report, time_ms=2000)
    ends = {"low": 0.0, "high": 1.0} if with_interval else {}
    metrics = {key: Estimate(value=value, **ends) for key, value in final.items()}
    result = TrialResult(id="x", config=BASELINE, status=Status.COMPLETED, history=tuple(reports), metrics=metrics)
    readings += flat_run.end_readings(result, time_ms=3000)
    places = [(reading.key, reading.step) for reading in readings]
    assert len(set(places)) == len(places)
    for key, value in final.items():
        latest = max((reading for reading in readings if reading.key == key), key=lambda reading: reading.step)
        assert latest.value == value or (math.isnan(latest.value) and math.isnan(value))
        assert (f"{key}_low" in {reading.key for reading in readings}) == with_interval


def test_batch_size_is_a_metric_on_a_scale_that_charts_can_show():
    (reading,) = flat_run.first_readings(log_of(BASELINE))
    assert (reading.key, reading.value, reading.step) == ("log2_batch_size", 6.0, 0)
