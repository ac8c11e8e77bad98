"""What the orchestrator makes of probes: the command, the fit, the powers of two, and their place in a sweep."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from rich.console import Console
from typer.testing import CliRunner

from orchestrator.analysis.comparison import compare
from orchestrator.analysis.plan_file import StoredPlan, StoredTrial
from orchestrator.analysis.table import make_table
from orchestrator.analysis.throughput import fit_together, neighbour_effects, neighbour_sizes, step_times
from orchestrator.api.probes import Probes
from orchestrator.cli import app
from orchestrator.commands.probe import read_bytes, read_option
from orchestrator.recording.mlflow.run_record import run_name
from orchestrator.report.export import to_csv, to_json, to_parquet
from orchestrator.report.probe_table import print_probes, probes_as_json
from orchestrator.report.terminal import print_comparison
from orchestrator.sweep.labels import describe
from orchestrator.sweep.spec import Objective
from tests.support.training_samples import training
from trainables.config.optimizers import Adam
from trainables.config.trial import BaselineConfig, ProbeConfig, TaskConfig, trial_id
from trainables.estimate import Estimate
from trainables.results import Report, Status, TrialResult

TASK = TaskConfig(name="digits_cnn", data="of the test", code="of the test")
FIXED, PER_EXAMPLE, EXCHANGE = 4e-3, 20e-6, 3e-3  # seconds; the last with two workers


def probed(num_workers: int = 1, slower_at: int = 0) -> TrialResult:
    """A probe of a machine that follows the line, but takes a fifth longer at one size."""
    config = ProbeConfig(task=TASK, optimizer=Adam(), precision="bfloat16", num_workers=num_workers)
    seconds = {
        size: (FIXED + PER_EXAMPLE * size + EXCHANGE * (num_workers - 1)) * (1.2 if size == slower_at else 1.0)
        for size in (1, 7, 8, 9, 64, 112, 128, 144)
    }
    rounds = [
        Report(
            step=number,
            examples=0,
            seconds=1.0,
            metrics={
                f"step_seconds_micro_batch_{size}": value * (1 + 0.001 * ((7 * number + size) % 5))
                for size, value in seconds.items()
            },
        )
        for number in range(8)
    ]
    first = Report(step=1, examples=0, seconds=0.5, metrics={"micro_batch_size": 1.0, "memory_ran_out": 0.0})
    return TrialResult(
        id=trial_id(config),
        config=config,
        status=Status.COMPLETED,
        history=(first, *rounds),
        metrics={
            "largest_micro_batch_size": Estimate.exact(144, "limited by memory; verified"),
            "memory_capacity_bytes": Estimate.exact(2**31),
            "memory_fixed_bytes": Estimate.exact(2**28),
            "memory_bytes_per_example": Estimate.exact(2**20),
            "probes": Estimate.exact(5),
            "probe_out_of_memory_errors": Estimate.exact(0),
            **{
                f"step_seconds_micro_batch_{size}": Estimate(value=value, low=0.9 * value, high=1.1 * value, n=8)
                for size, value in seconds.items()
            },
        },
        environment={"device": "cpu"},
    )


def test_the_line_comes_back_from_probes_with_one_and_with_two_workers() -> None:
    fit = fit_together([probed(1), probed(2)])
    assert fit is not None
    assert fit.step_time.fixed == pytest.approx(FIXED)
    assert fit.step_time.per_example == pytest.approx(PER_EXAMPLE)
    assert fit.step_time.communication == pytest.approx({2: EXCHANGE})
    assert fit.step_time.batch_for_share(0.5) == pytest.approx(FIXED / PER_EXAMPLE)
    assert list(step_times(probed())) == [1, 7, 8, 9, 64, 112, 128, 144]


def test_powers_of_two_are_judged_by_their_neighbours() -> None:
    assert neighbour_sizes(40) == (7, 8, 9, 14, 16, 18, 28, 32, 36)
    none = neighbour_effects(probed())
    assert list(none) == [8, 128]
    assert {effect.verdict for effect in none.values()} == {"no detectable difference from its neighbours"}
    slow = neighbour_effects(probed(slower_at=128))[128]
    assert slow.verdict == "slower than its neighbours"
    assert slow.ratio == pytest.approx(1.2, rel=0.01)


def test_people_and_scripts_see_what_was_found() -> None:
    results = [probed(1), probed(2)]
    pairs = [(result.config, result) for result in results if isinstance(result.config, ProbeConfig)]
    text = StringIO()
    print_probes("digits_cnn", pairs, Console(file=text, width=140))
    shown = text.getvalue()
    assert "limited by memory" in shown
    assert "144" in shown
    assert "a = 4 ms" in shown
    assert "b = 20 us an example" in shown
    assert (
        "knee: half of the limit of 50,000 examples/s is reached at batch 200 (200 to 200), 90 % at 1,800, on" in shown
    )
    assert "both are beyond the largest batch that was timed, 144: the fit is extrapolated" in shown
    assert "no detectable difference" in shown
    data = json.loads(probes_as_json("digits_cnn", pairs))
    assert data["probes"][0]["metrics"]["largest_micro_batch_size"]["value"] == 144
    assert data["step_time"][0]["knee_batch_size"] == pytest.approx(200)
    from_python = Probes("digits_cnn", pairs)
    assert [line.rstrip() for line in str(from_python).splitlines()] == [line.rstrip() for line in shown.splitlines()]
    assert json.loads(json.dumps(from_python.to_dict())) == data
    assert from_python.trials["largest_micro_batch_size"].tolist() == [144, 144]


@pytest.mark.parametrize(("largest", "said"), [(199, "both are"), (200, "1,800 is"), (1800, None)])
def test_a_knee_beyond_what_was_timed_is_said_to_be(largest: int, said: str | None) -> None:
    result = probed()
    seconds = {size: FIXED + PER_EXAMPLE * size for size in (1, 64, 128, largest)}
    metrics = {f"step_seconds_micro_batch_{size}": Estimate.exact(value) for size, value in seconds.items()}
    text = StringIO()
    pairs = [(ProbeConfig.model_validate(result.config), result.model_copy(update={"metrics": metrics}))]
    print_probes("digits_cnn", pairs, Console(file=text, width=140))
    beyond = [line.strip() for line in text.getvalue().splitlines() if "beyond the largest" in line]
    assert [line.partition(" beyond")[0] for line in beyond] == ([said] if said else [])


@pytest.mark.parametrize(
    ("workers", "lines"),
    [
        (
            (2,),
            [
                "a + c(2) = 7 ms",
                "knee: half of the limit of 100,000 examples/s is reached at batch 700",
                "on 2 workers",
            ],
        ),
        ((2, 4), ["a + c(2) = 7 ms", "c(4) - c(2) = 6 ms (6 to 6) for the exchange between 4 workers", "on 2 workers"]),
    ],
)
def test_without_one_worker_no_exchange_is_told_from_the_rest(workers: tuple[int, ...], lines: list[str]) -> None:
    results = [probed(count) for count in workers]
    pairs = [(result.config, result) for result in results if isinstance(result.config, ProbeConfig)]
    text = StringIO()
    print_probes("digits_cnn", pairs, Console(file=text, width=140))
    for line in lines:
        assert line in text.getvalue()
    assert "c(2) = 0" not in text.getvalue()
    (fit,) = json.loads(probes_as_json("digits_cnn", pairs))["step_time"]
    assert fit["reference_workers"] == 2
    assert fit["knee_batch_size"] == pytest.approx(700)


@pytest.mark.parametrize(
    ("text", "size"), [("2GiB", 2**31), ("500 MB", 500_000_000), ("1.5g", 3 * 2**29), ("4096", 4096)]
)
def test_amounts_of_memory(text: str, size: int) -> None:
    assert read_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("1e-3", 0.001),
        ("true", True),
        ("yes", "yes"),
        ("010", "010"),
        ("'8'", "8"),
        ("*.parquet", "*.parquet"),
        ("a: b", "a: b"),
        ("", ""),
    ],
)
def test_an_option_is_what_it_would_be_in_a_sweep_file(text: str, value: object) -> None:
    name, read = read_option(f"files={text}")
    assert (name, read, type(read)) == ("files", value, type(value))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["digts_cnn"], "did you mean 'digits_cnn'"),
        (["digits_cnn", "--memory-limit", "2XB"], "write it like 2GiB"),
        (["digits_cnn", "--option", "channels"], "KEY=VALUE"),
        (["digits_cnn", "--option", "chanels=4"], "channels"),
        (["digits_cnn", "--option", "channels=inf"], "not a finite number"),
    ],
)
def test_wrong_input_names_the_way_out(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["probe", *arguments])
    assert done.exit_code == 2
    assert words in done.output


def test_a_probe_is_no_candidate_of_a_comparison() -> None:
    result = probed()
    baseline = BaselineConfig(task=TASK, training=training())
    plan = StoredPlan(
        name="sweep",
        task="digits_cnn",
        objective=Objective(metric="val_accuracy", mode="max"),
        trials=(
            StoredTrial(id=result.id, config=result.config),
            StoredTrial(id=trial_id(baseline), config=baseline),
        ),
    )
    table = make_table(plan, {result.id: result})
    assert [row.kind for row in table.rows] == ["baseline"]
    assert [(probe.id, probe.status) for probe in table.probes] == [(result.id, "completed")]
    comparison = compare(table)
    (told,) = [trial for trial in json.loads(to_json(comparison))["trials"] if trial["kind"] == "probe"]
    assert (told["id"], told["metrics"]["largest_micro_batch_size"]) == (result.id, 144)
    assert "largest_micro_batch_size" in to_csv(comparison)
    assert len(to_parquet(comparison)) > 0
    text = StringIO()
    print_comparison(comparison, Console(file=text, width=120), details=True)
    assert ": micro-batches of up to 144 fit" in text.getvalue()


def test_a_probe_has_its_name_and_its_words() -> None:
    config = ProbeConfig(task=TASK, optimizer=Adam(), precision="bfloat16", num_workers=2)
    assert run_name(config) == "probe of adam bfloat16 2 workers"
    assert describe(config) == "probe, adam, bfloat16, 2 workers"
    assert trial_id(config) != trial_id(config.model_copy(update={"memory_limit_bytes": 2**30}))
