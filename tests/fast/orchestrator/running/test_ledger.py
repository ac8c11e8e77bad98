"""What the driver knows of a sweep's trials, and in which order others learn of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.adaptive.early_answer import REASON
from orchestrator.adaptive.resolve import Outlook
from orchestrator.analysis.plan_file import load_plan
from orchestrator.planning.expand import expand
from orchestrator.recording.journal import Journal
from orchestrator.running.goal_status import GoalStatus
from orchestrator.running.ledger import Ledger
from orchestrator.running.observer import Observer, Observers
from orchestrator.running.plan_keeper import PlanKeeper
from orchestrator.running.progress import Progress
from orchestrator.sweep.plan import Plan, Stage, Trial
from orchestrator.sweep.spec import EarlyStopping
from tests.support import simulated
from tests.support.scripted import Told, pending, result_of, scripted, sweep_of
from trainables.results import Report, Status, TrialResult
from trainables.storage import Storage, checkpoint_file, division_file, trial_file

TRIALS = [scripted(seed) for seed in range(3)]
EARLY = EarlyStopping()


def reading(step: int, quality: float = 0.5) -> Report:
    return Report(step=step, examples=1000 * step, seconds=0.1 * step, metrics={"val_accuracy": quality})


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def loaded(plan: Plan, storage: Storage, observer: Observer | None = None, **options: object) -> Ledger:
    ledger = Ledger(plan, storage, observer or Told(), **options)  # type: ignore[arg-type]
    ledger.load()
    return ledger


def test_a_result_is_on_the_storage_before_anyone_is_told(storage: Storage) -> None:
    seen: list[TrialResult] = []

    class Reader(Told):
        def ended(self, result: TrialResult) -> None:
            seen.append(TrialResult.model_validate_json(storage.read_sealed(trial_file(result.id, "result.json"))))

    ledger = loaded(sweep_of(*TRIALS), storage, Reader())
    ledger.ended(result_of(TRIALS[0], 0.5))
    assert seen == [result_of(TRIALS[0], 0.5)]


def test_a_second_run_finds_what_the_first_has_ended_and_tells_of_it(storage: Storage) -> None:
    loaded(sweep_of(*TRIALS), storage).ended(result_of(TRIALS[1], 0.5))
    told = Told()
    ledger = loaded(sweep_of(*TRIALS), storage, told)
    assert ledger.found == [TRIALS[1].id]
    assert told.events == [("ended", TRIALS[1].id)]
    assert [trial.id for trial in ledger.open_trials()] == [TRIALS[0].id, TRIALS[2].id]


def test_a_failed_trial_is_run_again_only_on_request(storage: Storage) -> None:
    first = loaded(sweep_of(*TRIALS), storage)
    first.ended_as(TRIALS[0].id, Status.FAILED, "because")
    first.ended_as(TRIALS[1].id, Status.OUT_OF_MEMORY, "because")
    assert len(loaded(sweep_of(*TRIALS), storage).open_trials()) == 1
    again = loaded(sweep_of(*TRIALS), storage, retry_failed=True)
    assert [trial.id for trial in again.open_trials()] == [TRIALS[0].id, TRIALS[2].id]


def test_a_damaged_result_is_none(storage: Storage) -> None:
    loaded(sweep_of(*TRIALS), storage).ended(result_of(TRIALS[0], 0.5))
    name = trial_file(TRIALS[0].id, "result.json")
    storage.write(name, storage.read(name)[:-20])
    assert [trial.id for trial in loaded(sweep_of(*TRIALS), storage).open_trials()] == [trial.id for trial in TRIALS]


def test_a_trial_that_could_not_say_its_end_has_its_readings_those_of_earlier_runs_too(storage: Storage) -> None:
    trial = TRIALS[0]
    told = Told()
    ledger = loaded(sweep_of(trial), storage, told, earlier={trial.id: [reading(1)]})
    ledger.started(trial.id)
    ledger.report(trial.id, reading(2))
    ledger.ended_as(trial.id, Status.STOPPED_EARLY, "behind")
    assert ledger.results[trial.id].history == (reading(1), reading(2))
    assert told.events == [("started", trial.id), ("report", trial.id, 2), ("ended", trial.id)]


def test_a_retried_trial_starts_once_and_repeats_no_reading(storage: Storage) -> None:
    trial = TRIALS[0]
    told = Told()
    ledger = loaded(sweep_of(trial), storage, told)
    for _ in range(2):
        ledger.started(trial.id)
        for step in (1, 2):
            ledger.report(trial.id, reading(step))
    ledger.report(trial.id, reading(3))
    assert told.events == [("started", trial.id), *(("report", trial.id, step) for step in (1, 2, 3))]


def test_only_a_stopped_trial_loses_its_checkpoint(storage: Storage) -> None:
    ledger = loaded(sweep_of(*TRIALS), storage)
    for trial, status in zip(TRIALS, (Status.STOPPED_EARLY, Status.FAILED, Status.OUT_OF_MEMORY), strict=True):
        storage.write(checkpoint_file(trial.id), b"state")
        storage.write(division_file(checkpoint_file(trial.id)), b"8")
        ledger.ended_as(trial.id, status, "because")
    left = [storage.exists(checkpoint_file(trial.id)) for trial in TRIALS]
    divisions = [storage.exists(division_file(checkpoint_file(trial.id))) for trial in TRIALS]
    assert divisions == left
    assert left == [False, True, True]


def test_variants_appear_when_their_parent_can_be_chosen(storage: Storage) -> None:
    plan = sweep_of(*TRIALS, pending=[pending(TRIALS[:2])])
    ledger = loaded(plan, storage)
    ledger.ended(result_of(TRIALS[0], 0.3))
    assert set(ledger.trials) == {trial.id for trial in TRIALS}
    ledger.ended(result_of(TRIALS[1], 0.7))
    (variant,) = (trial for trial in ledger.trials.values() if trial not in TRIALS)
    assert variant.config.kind == "variant"
    assert variant.config.parent == TRIALS[1].id  # type: ignore[union-attr]
    ledger.ended(result_of(TRIALS[2], 0.3))
    assert not ledger.is_complete
    ledger.ended(result_of(variant, 0.7))
    assert ledger.is_complete
    assert loaded(plan, storage).is_complete


def test_a_sweep_without_a_parent_left_is_complete(storage: Storage) -> None:
    plan = sweep_of(TRIALS[0], pending=[pending(TRIALS[:1])])
    ledger = loaded(plan, storage)
    ledger.ended_as(TRIALS[0].id, Status.DIVERGED, "loss was nan")
    assert ledger.is_complete
    lost = ledger.results[next(trial for trial in ledger.trials if trial != TRIALS[0].id)]
    assert lost.status is Status.PARENT_FAILED
    assert "1 diverged" in (lost.reason or "")
    assert lost.config.kind == "variant"
    assert lost.config.parent == TRIALS[0].id
    again = loaded(plan, storage)
    assert again.is_complete
    assert again.found == list(again.trials), "the second run finds it, and tells of no start"


def test_many_variants_may_lose_their_parents_at_once(storage: Storage) -> None:
    """As where a compression is added to a sweep whose trainings have failed."""
    trials = [scripted(seed) for seed in range(60)]
    waiting = [pending(trials[i : i + 1], chain_length=n) for i in range(60) for n in range(6)]
    first = loaded(sweep_of(*trials), storage)
    for trial in trials:
        first.ended_as(trial.id, Status.DIVERGED, "loss was nan")
    told = Told()
    ledger = loaded(sweep_of(*trials, pending=waiting), storage, told)
    assert ledger.is_complete
    assert sum(result.status is Status.PARENT_FAILED for result in ledger.results.values()) == 360
    assert len(told.events) == 60 + 2 * 360


def test_what_comes_next_is_worked_out_once_for_each_ended_trial_and_told_to_all(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[list[str]] = []
    learn = Outlook.learn

    def counted(outlook: Outlook, results: Iterable[TrialResult]) -> None:
        learned.append([result.id for result in results])
        learn(outlook, results)

    monkeypatch.setattr(Outlook, "learn", counted)

    class Ahead(Told):
        def planned(self, outlook: Outlook) -> None:
            self.events.append((id(outlook), outlook.beyond, outlook.waiting))

    plan, ahead = sweep_of(*TRIALS, pending=[pending(TRIALS[:2])]), Ahead()
    keeper, progress = PlanKeeper(plan, storage), Progress(plan)
    with Journal(storage, plan.sweep.name) as journal:
        ledger = loaded(plan, storage, GoalStatus(plan, Observers((journal, keeper, progress, ahead))))
        for trial in TRIALS:
            ledger.started(trial.id)
            ledger.ended(result_of(trial, 0.5))
    assert learned == [[], *([trial.id] for trial in TRIALS)]
    (outlook,) = {event[0] for event in ahead.events if isinstance(event[0], int)}
    first, second, third = (trial.id for trial in TRIALS)
    assert ahead.events == [
        (outlook, 0, 1),
        ("started", first),
        (outlook, 0, 1),
        ("ended", first),
        ("started", second),
        (outlook, 1, 0),
        ("ended", second),
        ("started", third),
        (outlook, 1, 0),
        ("ended", third),
    ]
    assert (progress.total, progress.waiting) == (4, 1)
    assert len(load_plan(storage, plan.sweep.name).trials) == 4


@pytest.mark.parametrize("status", [Status.STOPPED_EARLY, Status.COMPLETED])
def test_a_parent_that_did_not_fail_loses_no_variant(storage: Storage, status: Status) -> None:
    """Stopped early, or without a figure to choose by; what another sweep made of it stays as it is."""
    ledger = loaded(sweep_of(TRIALS[0], pending=[pending(TRIALS[:1])]), storage)
    ledger.ended_as(TRIALS[0].id, status, "as told")
    assert ledger.is_complete
    assert set(ledger.results) == {TRIALS[0].id}


def test_a_variant_whose_parent_failed_runs_when_the_parent_does_after_all(storage: Storage) -> None:
    plan = sweep_of(TRIALS[0], pending=[pending(TRIALS[:1])])
    first = loaded(plan, storage)
    first.ended_as(TRIALS[0].id, Status.FAILED, "a bug in the task")
    (variant,) = (trial for trial in first.trials if trial != TRIALS[0].id)
    again = loaded(plan, storage, retry_failed=True)
    assert [trial.id for trial in again.open_trials()] == [TRIALS[0].id]
    again.ended(result_of(TRIALS[0], 0.5))
    assert [trial.id for trial in again.open_trials()] == [variant]
    again.ended(result_of(again.trials[variant], 0.5))
    assert again.is_complete
    assert loaded(plan, storage).results[variant].status is Status.COMPLETED


# -- trials that were stopped early -----------------------------------------------------------------------------------


def stopped(trial: Trial, storage: Storage, observer: Observer) -> None:
    """A sweep that stops its one trial at its second reading."""
    ledger = Ledger(sweep_of(trial, early_stopping=EARLY), storage, observer)
    ledger.load()
    ledger.started(trial.id)
    for step in (1, 2):
        ledger.report(trial.id, reading(step))
    ledger.ended_as(trial.id, Status.STOPPED_EARLY, "behind")


def test_a_stopped_trial_stays_stopped_where_it_could_have_been_stopped(storage: Storage) -> None:
    stopped(TRIALS[0], storage, Told())
    told = Told()
    again = loaded(sweep_of(*TRIALS, early_stopping=EARLY), storage, told)
    assert again.found == [TRIALS[0].id]
    assert told.events == [("ended", TRIALS[0].id)]


def test_a_stopped_trial_is_run_again_for_a_sweep_that_stops_none(storage: Storage) -> None:
    """Everyone is told of it as of a new one, and what comes of it is good for the first sweep too."""
    trial = TRIALS[0]
    stopped(trial, storage, Told())
    told = Told()
    whole = loaded(sweep_of(trial), storage, told)
    assert (whole.found, told.events) == ([], [])
    assert whole.open_trials() == [trial]
    whole.started(trial.id)
    for step in (1, 2, 3):
        whole.report(trial.id, reading(step))
    whole.ended(result_of(trial, 0.5))
    reports = [("report", trial.id, step) for step in (1, 2, 3)]
    assert told.events == [("started", trial.id), *reports, ("ended", trial.id)]
    for stopping in (None, EARLY):
        found = loaded(sweep_of(trial, early_stopping=stopping), storage)
        assert found.results[trial.id].status is Status.COMPLETED


@pytest.mark.parametrize("stage", [Stage.CONFIRMATION, Stage.SHORT_RUN])
def test_what_is_never_stopped_is_run_again_though_others_may_be_stopped(storage: Storage, stage: Stage) -> None:
    stopped(TRIALS[0], storage, Told())
    kept = replace(TRIALS[0], stage=stage)
    assert loaded(sweep_of(kept, early_stopping=EARLY), storage).open_trials() == [kept]


def test_a_sweep_that_is_killed_while_a_stopped_trial_runs_again_goes_on_with_it(storage: Storage) -> None:
    """Its journal holds the first end, the start after it, and every reading once."""
    trial, plan = TRIALS[0], sweep_of(TRIALS[0])
    with Journal(storage, "s") as journal:
        stopped(trial, storage, journal)
    for step in (2, 3):  # each in a driver of its own
        with Journal(storage, "s") as journal:
            log = journal.trials[trial.id]
            assert (log.ended is None) == (step == 3)
            ledger = Ledger(plan, storage, journal, earlier={trial.id: [told.report for told in log.reports]})
            ledger.load()
            assert ledger.open_trials() == [trial]
            ledger.started(trial.id)
            ledger.report(trial.id, reading(step))
    with Journal(storage, "s") as journal:
        history = tuple(reading(step) for step in (1, 2, 3))
        loaded(plan, storage, journal).ended(result_of(trial, 0.5).model_copy(update={"history": history}))
        result = journal.trials[trial.id].result()
    assert result is not None
    assert (result.status, result.history) == (Status.COMPLETED, history)


@pytest.fixture
def auto(storage: Storage) -> Plan:
    """`batch_size: auto` with its results on the storage; of its fit those that have answered were stopped."""
    sweep = simulated.sweep_of(Path(storage.root)).model_copy(update={"evaluations": 50})
    plan, law = expand(sweep), simulated.Law()
    ledger = loaded(plan, storage)
    while not ledger.is_complete:
        for trial in ledger.open_trials():
            play(ledger, law.result(trial))
    return plan


def play(ledger: Ledger, result: TrialResult) -> None:
    for report in result.history:
        ledger.report(result.id, report)
        if ledger.has_answered(result.id):
            ledger.ended_as(result.id, Status.STOPPED_EARLY, REASON)
            return
    ledger.ended(result)


def cut_short(ledger: Ledger) -> list[Trial]:
    return [trial for trial in ledger.trials.values() if ledger.results[trial.id].status is Status.STOPPED_EARLY]


def test_a_resumed_search_for_the_batch_size_runs_no_answered_trial_again(auto: Plan, storage: Storage) -> None:
    again = loaded(auto, storage)
    assert again.is_complete
    assert len(cut_short(again)) >= 5


@pytest.mark.parametrize("stage", [Stage.GRID, Stage.EDGE])
def test_a_grid_runs_to_its_end_what_had_answered_elsewhere(auto: Plan, storage: Storage, stage: Stage) -> None:
    answered = tuple(replace(trial, stage=stage) for trial in cut_short(loaded(auto, storage)))
    parameters = auto.sweep.parameters.model_copy(update={"batch_size": (64,)})
    grid = Plan(auto.sweep.model_copy(update={"parameters": parameters}), answered, ())
    assert loaded(grid, storage).open_trials() == list(answered)


def test_what_had_answered_at_an_easier_target_has_not_at_a_harder_one(auto: Plan, storage: Storage) -> None:
    """Ended where the loss was 0.5, it is not to pass for a trial that could not get to 0.1."""
    answered = tuple(cut_short(loaded(auto, storage)))
    harder = auto.sweep.objective.model_copy(update={"target": 0.1})
    fit = Plan(auto.sweep.model_copy(update={"objective": harder}), (*auto.trials, *answered), ())
    opened = {trial.id for trial in loaded(fit, storage).open_trials()}
    assert opened >= {trial.id for trial in answered}


def test_observers_are_told_in_order() -> None:
    log: list[str] = []

    class Named(Told):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def ended(self, result: TrialResult) -> None:
            log.append(self.name)

    both = Observers((Named("journal"), Named("display")))
    both.started(TRIALS[0])
    both.report(TRIALS[0].id, reading(1))
    both.ended(result_of(TRIALS[0], 0.5))
    assert log == ["journal", "display"]
    assert [type(one) for one in both.each] == [Named, Named]
