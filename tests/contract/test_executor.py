"""What every executor must do with a sweep: one contract, held by the inline executor and by gangs on Ray alike.

Trials follow a script (tests/support/scripted.py). Few sweeps are run, with all endings in one; each test looks at
one promise.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.running.early_stopping import Rungs
from orchestrator.running.executor import Executor, Interrupted, SweepOutcome, run_sweep
from orchestrator.running.goal_status import GoalStatus
from orchestrator.running.inline import InlineExecutor
from orchestrator.running.patience import StorageFailsError
from orchestrator.running.resources import NeverFitsError
from orchestrator.sweep.plan import Plan, Trial
from orchestrator.sweep.spec import CompressionPlan, EarlyStopping, Goal, Objective, ScaledLearningRate
from tests.support.scripted import RUNNER, Told, attempts, pending, scripted, sweep_of
from tests.support.shared_ray import SharedRay
from trainables.config.compression import FineTune
from trainables.results import Report, Status, TrialResult
from trainables.storage import Storage, checkpoint_file, trial_file


def executor(name: str) -> Executor:
    if name == "inline":
        return InlineExecutor(RUNNER)
    from orchestrator.running.tuner import RayExecutor

    return RayExecutor(runner=RUNNER)


@pytest.fixture(
    scope="module",
    params=[
        "inline",
        pytest.param(
            "ray",
            marks=[
                pytest.mark.ray,
                pytest.mark.timeout(1800),  # a group of workers takes a minute to start on a machine that is busy
                pytest.mark.filterwarnings(
                    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
                ),
            ],
        ),
    ],
)
def name(request: pytest.FixtureRequest, shared_ray: SharedRay) -> str:
    """An executor's name, with what it needs."""
    if request.param == "ray":
        shared_ray.start()
    return str(request.param)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


class Log(Told):
    """Keeps the results that it is told of, too."""

    def __init__(self) -> None:
        super().__init__()
        self.results: dict[str, TrialResult] = {}

    def ended(self, result: TrialResult) -> None:
        super().ended(result)
        self.results[result.id] = result

    def of(self, trial: str) -> list[object]:
        return [event[0] for event in self.events if event[1] == trial]

    def started_in_order(self) -> list[object]:
        return [event[1] for event in self.events if event[0] == "started"]


@dataclass
class Played:
    """A sweep that has been run."""

    plan: Plan
    storage: Storage
    outcome: SweepOutcome
    log: Log = field(default_factory=Log)

    def result(self, trial: Trial) -> TrialResult:
        return self.outcome.results[trial.id]

    @property
    def variants(self) -> list[TrialResult]:
        return [result for result in self.outcome.results.values() if result.kind == "variant"]


def play(name: str, plan: Plan, storage: Storage, **options: Any) -> Played:
    log = Log()
    outcome = run_sweep(plan, storage, GoalStatus(plan, log), executor(name), **options)
    return Played(plan, storage, outcome, log)


# -- one sweep with every ending --------------------------------------------------------------------------------------

GOOD = [scripted(seed, quality=0.9) for seed in range(2)]
RAISES = scripted(fail="raise", at=2)
OUT_OF_MEMORY = scripted(fail="out_of_memory", at=2)
DIVERGES = scripted(ends="diverged")
SMALLER_NEXT = scripted(fail="too_large", at=2, times=1)
BEST_OF_GOOD, OF_A_FAILED = pending(GOOD, chain_length=1), pending([RAISES], chain_length=2)
TRIALS = (GOOD[0], RAISES, OUT_OF_MEMORY, DIVERGES, SMALLER_NEXT, GOOD[1])


def whole_plan() -> Plan:
    plan = sweep_of(*TRIALS, pending=[BEST_OF_GOOD, OF_A_FAILED], at_a_time=1)
    goals = (Goal(metric="val_accuracy", type="threshold", value=0.95),)  # the variant gets to 0.9
    return replace(plan, sweep=plan.sweep.model_copy(update={"goals": goals}))


@pytest.fixture(scope="module")
def played(name: str, tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play(name, whole_plan(), Storage(str(tmp_path_factory.mktemp("played"))))


def test_each_failure_ends_its_own_trial_and_no_other(played: Played) -> None:
    assert {trial.id: played.result(trial).status for trial in TRIALS} == {
        GOOD[0].id: Status.COMPLETED,
        RAISES.id: Status.FAILED,
        OUT_OF_MEMORY.id: Status.OUT_OF_MEMORY,
        DIVERGES.id: Status.DIVERGED,
        SMALLER_NEXT.id: Status.COMPLETED,
        GOOD[1].id: Status.COMPLETED,
    }


def test_a_trial_that_broke_off_has_its_readings_and_the_reason(played: Played) -> None:
    failed = played.result(RAISES)
    assert [report.step for report in failed.history] == [1]
    assert (failed.reason or "").startswith("ValueError: as the script says (scripted.py, line ")
    assert "scripted.py" in (failed.details or "")
    assert [report.step for report in played.result(OUT_OF_MEMORY).history] == [1]
    assert len(attempts(played.storage, RAISES.id)) == 1, "what was raised would be raised again"


def test_a_trial_that_takes_a_smaller_micro_batch_goes_on_from_its_checkpoint(played: Played) -> None:
    assert [attempt["resumed_at"] for attempt in attempts(played.storage, SMALLER_NEXT.id)] == [0, 1]
    assert [report.step for report in played.result(SMALLER_NEXT).history] == [1, 2, 3]


def test_trials_start_in_the_order_of_the_plan(played: Played) -> None:
    baselines = [trial.id for trial in TRIALS]
    assert [trial for trial in played.log.started_in_order() if trial in baselines] == baselines


def test_every_trial_is_told_of_once_from_start_to_end(played: Played) -> None:
    for result in played.outcome.results.values():
        assert played.log.of(result.id) == ["started", *["report"] * len(result.history), "ended"]


def test_a_result_is_on_the_storage_as_it_was_told(played: Played) -> None:
    for result in played.outcome.results.values():
        stored = played.storage.read_sealed(trial_file(result.id, "result.json"))
        assert TrialResult.model_validate_json(stored) == result


def test_a_variant_follows_the_best_of_its_baselines(played: Played) -> None:
    variant = next(result for result in played.variants if result.status is not Status.PARENT_FAILED)
    assert variant.parent == GOOD[0].id, "of equals, the first"
    events = [event[:2] for event in played.log.events]
    assert all(events.index(("ended", trial.id)) < events.index(("started", variant.id)) for trial in GOOD)


def test_a_variant_of_a_failed_baseline_ends_without_having_run(played: Played) -> None:
    (lost,) = (result for result in played.variants if result.status is Status.PARENT_FAILED)
    assert lost.parent == RAISES.id
    assert "ended as failed" in (lost.reason or "") or "1 failed" in (lost.reason or "")
    assert attempts(played.storage, lost.id) == []


def test_a_missed_goal_is_told_and_is_no_part_of_the_result(played: Played) -> None:
    variant = next(result for result in played.variants if result.status is not Status.PARENT_FAILED)
    assert variant.status is Status.COMPLETED
    assert played.log.results[variant.id].status is Status.GOAL_MISSED


def test_a_sweep_that_is_run_again_runs_nothing_again(played: Played, name: str) -> None:
    again = play(name, whole_plan(), played.storage)
    assert set(again.outcome.found) == set(played.outcome.results)
    assert again.outcome.results == played.outcome.results
    assert again.log.started_in_order() == []
    assert len(attempts(played.storage, GOOD[0].id)) == 1


# -- interrupted, and run again ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["error", "Ctrl-C"]
)
def test_an_interrupted_sweep_goes_on_from_the_checkpoint_of_its_trial(
    name: str, storage: Storage, error: BaseException
) -> None:
    first, second, failed = scripted(0), scripted(1), scripted(2, fail="raise", at=1, times=1)
    plan = sweep_of(failed, first, second, at_a_time=1)

    class BreaksOff(Told):
        def report(self, trial_id: str, report: Report) -> None:
            if (trial_id, report.step) == (second.id, 2):
                raise error
            super().report(trial_id, report)

    told = BreaksOff()
    with pytest.raises(Interrupted if isinstance(error, KeyboardInterrupt) else OSError):
        run_sweep(plan, storage, told, executor(name))
    assert ("ended", second.id) not in told.events
    earlier = {second.id: [Report(step=1, examples=1000, seconds=0.1, metrics={"val_accuracy": 1 / 3})]}
    again = play(name, plan, storage, earlier=earlier, retry_failed=True)
    assert {result.status for result in again.outcome.results.values()} == {Status.COMPLETED}
    assert [report.step for report in again.result(second).history] == [1, 2, 3]
    assert attempts(storage, second.id)[-1]["resumed_at"] >= 1
    assert len(attempts(storage, failed.id)) == 2, "asked for by retry_failed"
    assert storage.exists(checkpoint_file(second.id)) is False


# -- stopped early, and growing ---------------------------------------------------------------------------------------


def test_trials_behind_the_others_are_stopped_early_and_leave_no_checkpoint(name: str, storage: Storage) -> None:
    best, *others = [scripted(seed, readings=4, quality=1 / (seed + 1)) for seed in range(4)]
    stopping = EarlyStopping(grace_fraction=0.25, reduction_factor=4)
    play(name, sweep_of(best, early_stopping=stopping), storage)
    ended = play(name, sweep_of(best, *others, early_stopping=stopping), storage)
    assert ended.outcome.found == (best.id,)
    for trial in others:
        result = ended.result(trial)
        assert (result.status, result.reason) == (Status.STOPPED_EARLY, "behind the others of its batch size")
        assert [report.step for report in result.history] == [1]
        assert ended.log.of(trial.id) == ["started", "report", "ended"]
        assert not storage.exists(checkpoint_file(trial.id))


def test_a_plan_grows_by_the_learning_rates_beyond_its_edge(name: str, storage: Storage) -> None:
    trials = [scripted(learning_rate=rate, best_rate=0.4) for rate in (0.1, 0.2)]
    plan = sweep_of(*trials)
    compression = CompressionPlan(parents="best_per_batch_size", variants=((FineTune(),),))
    rates = ScaledLearningRate(base=0.1, at_batch_size=8, rule="linear", multipliers=(1.0, 2.0), extend=1)
    parameters = plan.sweep.parameters.model_copy(update={"learning_rate": rates})
    grown = {"parameters": parameters, "compression": compression}
    plan = replace(plan, sweep=plan.sweep.model_copy(update=grown))
    ended = play(name, plan, storage)
    (beyond,) = (r for r in ended.outcome.results.values() if r.kind == "baseline" and r.id not in plan.by_id)
    assert beyond.config.training.learning_rate == pytest.approx(0.4)  # type: ignore[union-attr]
    assert {variant.parent for variant in ended.variants} == {beyond.id}
    events = [event[:2] for event in ended.log.events]
    assert all(events.index(("ended", trial.id)) < events.index(("started", beyond.id)) for trial in trials)
    assert all(events.index(("ended", beyond.id)) < events.index(("started", one.id)) for one in ended.variants)


def test_a_trial_of_more_workers_than_there_are_is_refused_before_anything_runs(name: str, storage: Storage) -> None:
    told = Told()
    with pytest.raises(NeverFitsError, match="num_workers to"):
        run_sweep(sweep_of(scripted(0), scripted(1, num_workers=4)), storage, told, executor(name))
    assert told.events == []


# -- the inline executor alone ----------------------------------------------------------------------------------------


def test_a_full_disk_fails_no_trial_and_with_room_again_the_sweep_goes_on(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of gangs: tests of a real disk that is full."""
    monkeypatch.setattr("orchestrator.running.inline.TRY_AGAIN_S", 0.0)
    trial, said = scripted(fail="full_disk", at=2, times=1), list[str]()
    ended = play("inline", sweep_of(trial), storage, tell=said.append)
    assert ended.result(trial).status is Status.COMPLETED
    assert ended.log.waiting == [(trial.id, "for the storage")]
    assert [sentence.split(":")[0] for sentence in said] == ["paused", "the storage works again"]
    monkeypatch.setattr("orchestrator.running.patience.PATIENCE_S", 0.0)
    with pytest.raises(StorageFailsError, match="run the same command again to resume"):
        play("inline", sweep_of(scripted(1, fail="full_disk", at=2)), storage)


def test_inline_trials_run_in_this_process_and_leave_it_as_it_was(storage: Storage) -> None:
    import os
    import warnings

    before = dict(os.environ), os.getcwd(), list(warnings.filters), sys.path[:]
    trials = [scripted(0, tamper=True), scripted(1)]
    ended = play("inline", sweep_of(*trials), storage)
    assert [ended.result(trial).details for trial in trials] == [None, None]
    assert {ended.result(trial).environment["pid"] for trial in trials} == {str(os.getpid())}
    assert (dict(os.environ), os.getcwd(), list(warnings.filters), sys.path[:]) == before


def test_the_inline_executor_brings_in_neither_ray_nor_mlflow() -> None:
    code = "import sys, orchestrator.running.inline; print({'ray', 'mlflow'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


# -- whom early stopping stops ----------------------------------------------------------------------------------------

readings = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 25), st.floats(-10, 10)), max_size=60)


@settings(max_examples=60)
@given(readings, st.sampled_from(["min", "max"]), st.sampled_from([2.0, 2.5, 4.0]))
def test_rungs_judge_as_rays_asynchronous_hyperband_does(
    told: Sequence[tuple[int, int, float]], mode: Any, factor: float
) -> None:
    """The rule is Ray's to the bit, so that a sweep comes out the same whatever executes it."""
    from types import SimpleNamespace

    from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

    training, stopping = scripted().training, EarlyStopping(grace_fraction=0.1, reduction_factor=factor)
    rungs = Rungs(training, stopping, Objective(metric="val_accuracy", mode=mode), train_rows=1000)
    rays: Any = AsyncHyperBandScheduler(
        time_attr="examples",
        metric="objective",
        mode=mode,
        max_t=3000 * (1 - 1e-6),  # type: ignore[arg-type]
        grace_period=0.1 * 3000,  # type: ignore[arg-type]
        reduction_factor=factor,
        stop_last_trials=False,
    )
    trials = [SimpleNamespace(trial_id=str(number)) for number in range(6)]
    for trial in trials:
        rays.on_trial_add(None, trial)
    for number, at, value in told:
        report = Report(step=at, examples=120 * at, seconds=1.0, metrics={"val_accuracy": value})
        said = rays.on_trial_result(None, trials[number], {"examples": 120 * at, "objective": value})
        assert rungs.is_behind(str(number), report, value) == (said == TrialScheduler.STOP)
