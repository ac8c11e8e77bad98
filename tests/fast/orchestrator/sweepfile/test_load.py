"""What a sweep file means: defaults, short notations, and YAML as people write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.analysis.plan_file import StoredPlan
from orchestrator.diagnostics.problem import SweepError, closest_name, join_path
from orchestrator.sweep.metrics import known_metrics, objective_metrics
from orchestrator.sweep.spec import Goal, Objective, ScaledLearningRate, TopParents
from orchestrator.sweepfile.load import load_sweep
from orchestrator.sweepfile.yaml_file import parse_yaml
from tests.support.places import ROOT
from tests.support.sweep_text import load_text, sweep_text
from trainables.config.compression import Distill, Int8, Prune
from trainables.config.optimizers import AdamW, Sgd
from trainables.config.schedules import Constant, WarmupCosine
from trainables.config.training import Budget
from trainables.config.trial import MeasureSettings
from trainables.tasks.catalog import BUILTIN

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
EXAMPLES = [path for path in EXAMPLES if path.stem != "own_task"]  # its data is made by a script first


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    sweep = load_text(tmp_path, sweep_text(compression=None, goals=None))
    assert (sweep.name, sweep.task.name, sweep.evaluations) == ("small", "digits_cnn", 10)
    assert sweep.objective.mode == "max"  # the task knows which way accuracy is better
    assert sweep.budget == Budget(unit="examples", amount=1000)
    axes = sweep.parameters
    assert (axes.optimizer, axes.schedule, axes.seed) == ((Sgd(),), (Constant(),), (0,))
    assert (axes.precision, axes.num_workers, axes.sharding) == (("float32",), (1,), ("stripe",))
    assert axes.gradient_clip_norm == (None,)
    assert sweep.compression is None
    assert sweep.early_stopping is None
    assert sweep.measure == MeasureSettings()
    assert load_text(tmp_path, sweep_text()).measure.device == "cpu", "int8 runs nowhere else"
    assert sweep.facts.train_rows == BUILTIN["digits_cnn"].train_rows()
    assert sweep.facts.metrics == {"loss": "min", "accuracy": "max"}
    assert sweep.facts.complete


def test_short_notations(tmp_path: Path) -> None:
    sweep = load_text(
        tmp_path,
        sweep_text(
            parameters="{batch_size: 32, learning_rate: 1e-3, optimizer: adamw, schedule: warmup_cosine,"
            " gradient_clip_norm: {values: [null, 1]}}",
            compression="{parents: {top: 1}, seeds: all,"
            " variants: [int8, {distill: {width: 0.25}}, {prune: null}, [prune, {int8: {mode: static}}],"
            " [distill, prune, int8]]}",
        ),
    )
    axes, compression = sweep.parameters, sweep.compression
    assert axes.learning_rate == (0.001,)
    assert (axes.optimizer, axes.schedule) == ((AdamW(),), (WarmupCosine(),))
    assert axes.gradient_clip_norm == (None, 1.0)
    assert compression is not None
    assert (compression.parents, compression.seeds) == (TopParents(top=1), "all")
    assert compression.variants == (
        (Int8(),),
        (Distill(width=0.25),),
        (Prune(),),
        (Prune(), Int8(mode="static")),
        (Distill(), Prune(), Int8()),
    )


def test_tagged_settings_and_rules(tmp_path: Path) -> None:
    sweep = load_text(
        tmp_path,
        sweep_text(
            parameters="{batch_size: {values: [8]}, optimizer: {values: [sgd, {name: sgd, momentum: 0}]},"
            " learning_rate: {base: 0.05, at_batch_size: 64, rule: sqrt, multipliers: [0.5, 1]}}",
            objective="{metric: val_loss, target: -1.5}",
            goals="[{metric: latency_p50_ms_batch_8, type: threshold, value: 2}]",
            measure="{batch_sizes: [1, 8]}",
        ),
    )
    rule = ScaledLearningRate(base=0.05, at_batch_size=64, rule="sqrt", multipliers=(0.5, 1))
    assert sweep.parameters.learning_rate == rule
    assert sweep.parameters.optimizer == (Sgd(), Sgd(momentum=0))
    assert (sweep.objective.mode, sweep.objective.target) == ("min", -1.5)
    assert sweep.goals == (Goal(metric="latency_p50_ms_batch_8", type="threshold", value=2),)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E4", 10000.0),
        ("-2.5e+1", -25.0),
        (".5", 0.5),
        ("2.", 2.0),
        ("1_000", 1000),
        ("+7", 7),
        ("0", 0),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("off", "off"),
        ("~", None),
        ("null", None),
        ("2024-01-01", "2024-01-01"),
        ("12:30", "12:30"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("'64'", "64"),
        ('"1e-3"', "1e-3"),
        ("1e-3x", "1e-3x"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_scalars_are_what_they_look_like(text: str, value: object) -> None:
    read = parse_yaml(f"key: {text}").content["key"]
    assert read == value
    assert type(read) is type(value)


def test_aliases_give_the_same_value() -> None:
    content = parse_yaml("a: &a {x: [1, 2]}\nb: *a\nc: [*a, *a]").content
    assert content["b"] == content["a"] == content["c"][1] == {"x": [1, 2]}


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    assert load_text(tmp_path, b"\xef\xbb\xbf" + sweep_text().encode()).name == "small"


def test_numbers_may_be_written_with_an_exponent(tmp_path: Path) -> None:
    sweep = load_text(tmp_path, sweep_text(budget="{examples: 1e4}", measure="{rounds: 1e1}"))
    assert sweep.budget.amount == 10000
    assert sweep.measure.rounds == 10


def test_all_problems_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = sweep_text(name="a b", budget="{steps: 0}", goals="[{metric: x, type: y, value: z}]", evaluations="0")
    with pytest.raises(SweepError) as caught:
        load_text(tmp_path, text)
    places = [(problem.line, problem.path) for problem in caught.value.problems]
    assert places == [
        (1, "name"),
        (4, "budget.steps"),
        (7, "goals[0].metric"),
        (7, "goals[0].type"),
        (7, "goals[0].value"),
        (8, "evaluations"),
    ]


@pytest.mark.parametrize("missing", ["nowhere.yaml", ".", "folder/nowhere.yaml"])
def test_a_file_that_cannot_be_read_is_a_problem_too(tmp_path: Path, missing: str) -> None:
    with pytest.raises(SweepError, match="cannot be read"):
        load_sweep(tmp_path / missing)


def test_a_problem_for_scripts(tmp_path: Path) -> None:
    with pytest.raises(SweepError) as caught:
        load_text(tmp_path, sweep_text(task="digit_cnn"))
    (problem,) = caught.value.problems
    assert problem.as_json() == {
        "path": "task",
        "line": 2,
        "value": "digit_cnn",
        "message": "is not a built-in task",
        "allowed": f"{', '.join(BUILTIN)}, or package.module:Class",
        "nearest": "digits_cnn",
    }


def test_paths_are_written_as_people_write_them() -> None:
    assert join_path(("parameters", "batch_size", "values", 2)) == "parameters.batch_size.values[2]"
    assert join_path(("a b", 0, "c")) == "['a b'][0].c"
    assert closest_name("max_degredation", ["threshold", "max-degradation"]) == "max-degradation"
    assert closest_name("zzz", ["threshold"]) is None


def test_metrics_have_a_direction() -> None:
    task_metrics = {"loss": "min", "accuracy": "max", "price_change": "max"}
    assert objective_metrics(task_metrics)["best_val_accuracy"] == "max"
    metrics = known_metrics(task_metrics, MeasureSettings(batch_sizes=(1, 8)))
    assert metrics["best_train_accuracy"] == "max"
    assert metrics["latency_p95_ms_batch_8"] == "min"
    assert metrics["val_accuracy_change"] == "max"
    assert metrics["artifact_bytes"] == "min"
    plan = StoredPlan(name="x", task="y", objective=Objective(metric="val_loss", mode="min"), directions=task_metrics)
    assert {name: plan.direction(name) for name in metrics} == metrics  # goals are judged by what was stored


@pytest.mark.parametrize("example", EXAMPLES, ids=[path.name for path in EXAMPLES])
def test_the_examples_are_right(example: Path) -> None:
    assert load_sweep(example).name == example.stem
