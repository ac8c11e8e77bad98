"""The journal: told anything twice, killed anywhere, it holds every event once, in order, with its first time."""

import errno
import fcntl
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.recording.journal import Journal
from orchestrator.recording.journal_view import JournalError, read
from orchestrator.recording.lease import SweepIsRunningError
from orchestrator.sweep.plan import Trial
from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, TaskConfig, trial_id
from trainables.estimate import Estimate
from trainables.results import Report, Status, TrialResult
from trainables.seal import sealed_line
from trainables.storage import Storage, sweep_file


def make_trial(seed: int = 0) -> Trial:
    budget = Budget(unit="steps", amount=10)
    training = Training(batch_size=8, micro_batch_size=8, learning_rate=0.1, budget=budget, seed=seed)
    config = BaselineConfig(task=TaskConfig(name="digits_cnn", data="d", code="c"), training=training)
    return Trial(trial_id(config), config, "as given")


def make_report(step: int, loss: float = 1.0) -> Report:
    return Report(step=step, examples=8 * step, seconds=step / 10, metrics={"val_loss": loss})


def make_result(trial: Trial, steps: list[int], status: Status = Status.COMPLETED) -> TrialResult:
    metrics = {"val_loss": Estimate(value=1.0, low=0.9, high=1.1)}
    history = tuple(make_report(step) for step in steps)
    return TrialResult(id=trial.id, config=trial.config, status=status, history=history, metrics=metrics)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def lines(storage: Storage) -> list[str]:
    return storage.read_lines(sweep_file("s", "journal.jsonl"))


def test_what_was_told_is_read_back(storage):
    trial = make_trial()
    before = time.time_ns() // 1_000_000
    with Journal(storage, "s") as journal:
        journal.started(trial)
        journal.report(trial.id, make_report(1))
        assert read(storage, "s").trials[trial.id].result() is None
        journal.report(trial.id, make_report(2))
        journal.ended(make_result(trial, [1, 2]))
    log = read(storage, "s").trials[trial.id]
    assert log.started.config == trial.config
    assert log.started.learning_rate_source == "as given"
    assert log.result() == make_result(trial, [1, 2])
    times = [log.started.time_ms, *(reported.time_ms for reported in log.reports), log.ended.time_ms]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= time.time_ns() // 1_000_000


def test_a_sweep_without_a_journal_reads_as_empty(storage):
    assert read(storage, "s").trials == {}


TRIALS = [make_trial(seed) for seed in range(3)]
EVENTS = st.lists(st.tuples(st.sampled_from(["start", "report", "end", "kill"]), st.integers(0, 2), st.integers(1, 5)))


@settings(deadline=None)  # it writes files
@given(events=EVENTS)
def test_whatever_is_told_twice_is_kept_once(tmp_path_factory, events):
    """Against a model: sets of what was told, through any number of deaths of the driver.

    A start after an end begins the trial again, so it is told anew, and so are the reports and the end that follow. A
    start by another driver than before is told too: it goes on with the trial.
    """
    storage = Storage(str(tmp_path_factory.mktemp("sweep")))
    journal = Journal(storage, "s")
    steps: dict[str, list[int]] = {}
    ended, begun = set[str](), set[str]()  # begun: by the driver that is alive
    starts_and_ends = dropped = 0
    for event, number, step in events:
        trial = TRIALS[number]
        match event:
            case "start":
                journal.started(trial)
                starts_and_ends += trial.id not in begun
                begun.add(trial.id)
                if trial.id in ended:
                    dropped += len(steps.pop(trial.id))
                ended.discard(trial.id)
                steps.setdefault(trial.id, [])
            case "report" if trial.id in steps:
                journal.report(trial.id, make_report(step))
                if step not in steps[trial.id]:
                    steps[trial.id].append(step)
            case "end":
                starts_and_ends += (trial.id not in steps) + (trial.id not in ended)
                journal.ended(make_result(trial, sorted(steps.setdefault(trial.id, []))))
                ended.add(trial.id)
                begun.discard(trial.id)
            case "kill":
                begun.clear()
                before = lines(storage)
                journal.close()  # all that a death does: the kernel drops the lock
                journal = Journal(storage, "s")
                assert lines(storage) == before
    view = read(storage, "s")
    assert {trial: [each.report.step for each in log.reports] for trial, log in view.trials.items()} == steps
    assert {trial for trial, log in view.trials.items() if log.result()} == ended
    assert len(lines(storage)) == sum(map(len, steps.values())) + dropped + starts_and_ends
    assert view == journal._view
    journal.close()


@pytest.mark.parametrize(("status", "history"), [(Status.STOPPED_EARLY, [1]), (Status.FAILED, [1, 2])])
def test_a_trial_that_is_run_again_has_the_readings_of_that_run(storage, status, history):
    """One that failed goes on from its checkpoint, so what it read before is part of it."""
    trial = make_trial()
    with Journal(storage, "s") as journal:
        for end, steps in ((status, [1, 2]), (Status.COMPLETED, [1])):
            journal.started(trial)
            for step in steps:
                journal.report(trial.id, make_report(step))
            journal.ended(make_result(trial, steps, end))
    assert [report.step for report in read(storage, "s").trials[trial.id].result().history] == history


def test_a_journal_torn_at_any_byte_can_be_continued(storage):
    trial = make_trial()
    with Journal(storage, "s") as journal:
        journal.started(trial)
        journal.report(trial.id, make_report(1))
        journal.ended(make_result(trial, [1, 2, 3]))
    path = Path(storage.path(sweep_file("s", "journal.jsonl")))
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with Journal(storage, "s") as journal:
            journal.started(trial)
            journal.ended(make_result(trial, [1, 2, 3]))
        assert read(storage, "s").trials[trial.id].result() == make_result(trial, [1, 2, 3])
        content = path.read_bytes()
        starts = content.count(b'"event":"started"')
        assert content.count(b"\n") - starts == 4
        assert starts == 1 + (0 < whole[:size].count(b"\n") < 5), "a trial that was left open is begun again"


def test_a_trial_of_another_sweep_is_recorded_with_its_history(storage):
    trial = make_trial()
    with Journal(storage, "s") as journal:
        journal.ended(make_result(trial, [5, 10, 20]))
    log = read(storage, "s").trials[trial.id]
    assert log.result() == make_result(trial, [5, 10, 20])
    assert [log.ended.time_ms - reported.time_ms for reported in log.reports] == [1500, 1000, 0]  # by its training time
    assert log.start_ms == log.reports[0].time_ms


def test_an_end_fills_in_reports_that_a_crash_swallowed(storage):
    trial = make_trial()
    with Journal(storage, "s") as journal:
        journal.started(trial)
        journal.report(trial.id, make_report(1))
        journal.report(trial.id, make_report(3))
        journal.ended(make_result(trial, [1, 2, 3]))
    log = read(storage, "s").trials[trial.id]
    assert [report.step for report in log.result().history] == [1, 2, 3]
    assert log.reports[-1].time_ms >= log.reports[-2].time_ms


def test_a_trial_that_is_run_again_after_a_failure_has_its_last_end(storage):
    trial = make_trial()
    with Journal(storage, "s") as journal:
        journal.started(trial)
        journal.ended(make_result(trial, [], Status.FAILED))
        journal.ended(make_result(trial, [1], Status.COMPLETED))
        journal.ended(make_result(trial, [1], Status.COMPLETED))
    assert read(storage, "s").trials[trial.id].result().status is Status.COMPLETED
    assert len(lines(storage)) == 4


@pytest.mark.parametrize(("status", "steps"), [(None, [1, 2]), (Status.FAILED, [1, 2]), (Status.COMPLETED, None)])
def test_the_readings_of_trials_that_go_on_from_a_checkpoint_are_known(storage, status, steps):
    trial = make_trial()
    with Journal(storage, "s") as journal:
        journal.started(trial)
        journal.report(trial.id, make_report(1))
        journal.report(trial.id, make_report(2))
        if status is not None:
            journal.ended(make_result(trial, [1, 2], status))
    with Journal(storage, "s") as journal:
        expected = {} if steps is None else {trial.id: [make_report(step) for step in steps]}
        assert journal.readings_of_open_trials() == expected


def test_a_start_after_an_end_says_that_the_trial_is_run_again(storage):
    trial = make_trial()
    with Journal(storage, "s") as journal:
        journal.ended(make_result(trial, [], Status.PARENT_FAILED))
        for _ in range(2):  # the second time by a driver that was killed in between
            journal.started(trial)
        assert journal.trials[trial.id].ended is None
        journal.report(trial.id, make_report(1))
    assert read(storage, "s").trials[trial.id].ended is None
    assert len(lines(storage)) == 4
    with Journal(storage, "s") as journal:
        journal.ended(make_result(trial, [1], Status.COMPLETED))
    assert read(storage, "s").trials[trial.id].result().status is Status.COMPLETED


def test_infinity_and_nan_survive(storage):
    trial = make_trial()
    result = make_result(trial, [1], Status.DIVERGED).model_copy(
        update={"metrics": {"val_loss": Estimate(value=float("nan")), "train_loss": Estimate(value=float("inf"))}}
    )
    with Journal(storage, "s") as journal:
        journal.started(trial)
        journal.report(trial.id, make_report(1, loss=float("nan")))
        journal.ended(result)
        journal.ended(result)
    log = read(storage, "s").trials[trial.id]
    assert repr(log.reports[0].report.metrics["val_loss"]) == "nan"
    assert repr(log.result().metrics["train_loss"].value) == "inf"
    assert len(lines(storage)) == 3  # a NaN equals itself here


def test_text_with_every_kind_of_line_break_stays_on_one_line(storage):
    trial = make_trial()
    details = "".join(map(chr, range(0x20))) + "\x85\u2028\u2029 ünïcode 🙂"
    result = make_result(trial, [], Status.FAILED).model_copy(update={"details": details})
    with Journal(storage, "s") as journal:
        journal.ended(result)
    assert read(storage, "s").trials[trial.id].result().details == details


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", "line 2 is not a record of a journal"),
        ('{"event":"of a later version"}', "line 2 is not a record of a journal"),
        ('{"event":"reported","time_ms":1,"trial":"x","report":{"step":1,"examples":1,"seconds":1,"metrics":{}}}',
         "trial 'x' never started"),
    ],
)  # fmt: skip
def test_a_broken_line_is_named(storage, line, message):
    with Journal(storage, "s") as journal:
        journal.started(make_trial())
    storage.append_lines(sweep_file("s", "journal.jsonl"), [line if line == "{}" else sealed_line(line)])
    with pytest.raises(JournalError, match=message):
        read(storage, "s")
    with pytest.raises(JournalError, match=r"journal\.jsonl"):
        Journal(storage, "s")
    storage.write(sweep_file("s", "journal.jsonl"), b"")
    Journal(storage, "s").close()  # the failure did not keep the lock


SPOILED = [b"\xff\xfe\x00\n", b"\x00\n\x00torn", b"\x00\x00\x00\n", b'{"event":"ended\n', b'{"event":"ended"\xff}\n']


@pytest.mark.parametrize("spoiled", SPOILED)
def test_a_last_line_that_a_crash_spoiled_is_left_out_and_cut_off(storage, spoiled):
    trial, other = make_trial(0), make_trial(1)
    with Journal(storage, "s") as journal:
        journal.started(trial)
    path = Path(storage.path(sweep_file("s", "journal.jsonl")))
    path.write_bytes(path.read_bytes() + spoiled)
    assert list(read(storage, "s").trials) == [trial.id]
    with Journal(storage, "s") as journal:
        assert list(journal.trials) == [trial.id]
        journal.started(other)
    assert list(read(storage, "s").trials) == [trial.id, other.id]


@pytest.mark.parametrize("spoiled", SPOILED)
def test_a_spoiled_line_before_others_is_named_with_the_way_out(storage, spoiled):
    trial = make_trial()
    with Journal(storage, "s") as journal:
        journal.started(trial)
        journal.ended(make_result(trial, []))
    path = Path(storage.path(sweep_file("s", "journal.jsonl")))
    path.write_bytes(spoiled + path.read_bytes())
    with pytest.raises(JournalError, match=r"journal\.jsonl: line 1 is not .* Delete this line"):
        Journal(storage, "s")
    path.write_bytes(path.read_bytes().removeprefix(spoiled))
    assert read(storage, "s").trials[trial.id].result() is not None


def test_listeners_hear_of_every_telling_after_it_was_written(storage):
    trial = make_trial()
    heard = []
    with Journal(storage, "s") as journal:
        journal.subscribe(lambda name: heard.append((name, len(lines(storage)))))
        journal.started(trial)
        journal.report(trial.id, make_report(1))
        journal.report(trial.id, make_report(1))
    assert heard == [(trial.id, 1), (trial.id, 2), (trial.id, 2)]


def test_a_sweep_can_be_opened_again_in_the_same_process(storage):
    with Journal(storage, "s"), pytest.raises(SweepIsRunningError):
        Journal(storage, "s")
    Journal(storage, "s").close()


def refuse_locks(monkeypatch, number):
    def refuse(*_):
        raise OSError(number, "not here")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_where_files_cannot_be_locked_a_sweep_runs_and_it_is_said(storage, monkeypatch, capsys, number):
    refuse_locks(monkeypatch, number)
    for _ in range(2):
        with Journal(storage, "s") as journal:
            journal.started(make_trial())
    assert capsys.readouterr().err.count("cannot lock files (not here)") == 2


@pytest.mark.parametrize(("number", "raised"), [(errno.EACCES, SweepIsRunningError), (errno.EIO, OSError)])
def test_only_a_lock_that_is_held_means_that_the_sweep_is_running(storage, monkeypatch, number, raised):
    refuse_locks(monkeypatch, number)
    with pytest.raises(raised):
        Journal(storage, "s")


def test_a_trial_that_another_driver_goes_on_with_is_seen_to_run(storage):
    trial = make_trial()
    with Journal(storage, "s") as journal:
        journal.started(trial)
        journal.started(trial)
        journal.report(trial.id, make_report(1))
    first = read(storage, "s").trials[trial.id]
    assert first.last_started_ms == first.started.time_ms
    assert first.last_ms == first.reports[0].time_ms
    time.sleep(0.002)
    with Journal(storage, "s") as journal:
        journal.started(trial)
    again = read(storage, "s").trials[trial.id]
    assert again.started == first.started
    assert again.last_ms == again.last_started_ms > first.last_ms
    assert len(lines(storage)) == 3
