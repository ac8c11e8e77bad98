"""What is shown while a sweep runs: the counting, the live picture, the plain lines."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress

import pytest
from rich.console import Console

from orchestrator.adaptive.resolve import Outlook, outlook
from orchestrator.commands.live_display import LiveDisplay, PlainDisplay, display, outliving_its_readers, patient
from orchestrator.commands.progress_text import closing_words, duration
from orchestrator.planning.expand import expand
from orchestrator.running.progress import Progress
from orchestrator.sweep.labels import describe
from orchestrator.sweep.plan import Plan, Trial
from orchestrator.sweep.spec import (
    CompressionPlan,
    Objective,
    Parameters,
    ScaledLearningRate,
    Sweep,
    TaskChoice,
    TaskFacts,
)
from tests.support.sample_sweep import baseline_result, variant_result
from trainables.config.compression import Int8
from trainables.config.optimizers import Sgd
from trainables.config.schedules import Constant
from trainables.config.training import Budget
from trainables.results import Report, Status, TrialResult


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Two batch sizes x two rates, and int8 of the best of each batch size: four baselines, four variants."""
    return expand(
        Sweep(
            name="digits",
            task=TaskChoice(name="digits_cnn"),
            facts=TaskFacts(metrics={"accuracy": "max", "loss": "min"}, train_rows=1437, data=("d",), code="c"),
            objective=Objective(metric="val_accuracy", mode="max"),
            budget=Budget(unit="examples", amount=40_000),
            parameters=Parameters(
                batch_size=(8, 32),
                learning_rate=ScaledLearningRate(base=0.05, at_batch_size=64, rule="linear", multipliers=(0.5, 1.0)),
                optimizer=(Sgd(),),
                schedule=(Constant(),),
            ),
            compression=CompressionPlan(parents="best_per_batch_size", variants=((Int8(),),)),
        )
    )


def result_of(trial: Trial) -> TrialResult:
    return (baseline_result if trial.config.kind == "baseline" else variant_result)(trial)  # type: ignore[arg-type]


def reading(examples: int, rate: float = 1000.0) -> Report:
    return Report(
        step=examples // 8,
        examples=examples,
        seconds=examples / rate,
        metrics={"val_accuracy": 0.9, "examples_per_second": rate},
    )


def feed(observer: PlainDisplay | LiveDisplay | Progress, plan: Plan) -> Iterator[Trial]:
    """A whole sweep, one trial at a time; yields each trial while it runs."""
    ahead, waiting, asked = Outlook(plan), list(plan.trials), 0
    while waiting:
        trial = waiting.pop(0)
        observer.started(trial)
        result = result_of(trial)
        for report in result.history:
            observer.report(trial.id, report)
        yield trial
        ahead.learn([result])
        observer.planned(ahead)
        observer.ended(result)
        waiting += ahead.asked[asked:]
        asked = len(ahead.asked)


# -- nobody at work ---------------------------------------------------------------------------------------------------


def test_no_time_left_is_told_from_a_rate_that_has_stopped(plan: Plan, clock: Clock) -> None:
    output = io.StringIO()
    shown = PlainDisplay(plan, Console(file=output), clock, heartbeat_seconds=30)
    first, second, *_ = plan.trials
    shown.started(first)
    for examples in (10_000, 20_000):
        clock.now += 10
        shown.report(first.id, reading(examples))
    clock.now += 30
    shown.beat()
    assert "left" in output.getvalue().splitlines()[-1]
    clock.now += 60
    shown.beat()
    said = output.getvalue().splitlines()[-1]
    assert "no evaluation for 1 min 30 s (a trial without any progress for 1 h 00 min is ended)" in said
    assert "left" not in said
    assert "examples/s" not in said
    shown.waits(first.id, "for 2 x (1 CPU): a node is gone")
    shown.waits(first.id, "for 2 x (1 CPU): a node is gone")
    assert output.getvalue().count(f"waits    {first.id}  for 2 x (1 CPU): a node is gone") == 1
    clock.now += 30
    shown.beat()
    said = output.getvalue().splitlines()[-1]
    assert "0 of 8 done, 0 running, 8 waiting for 2 x (1 CPU): a node is gone; no evaluation for 2 min 00 s" in said
    shown.started(second)
    shown.report(first.id, reading(30_000))  # it has workers again
    clock.now += 30
    shown.beat()
    assert "2 running, 6 waiting; at least" in output.getvalue().splitlines()[-1]
    shown.close()


# -- counting ---------------------------------------------------------------------------------------------------------


def test_done_running_and_waiting_always_add_up(plan: Plan) -> None:
    progress = Progress(plan)
    assert (progress.total, progress.waiting) == (8, 8)
    for count, _ in enumerate(feed(progress, plan)):
        assert (len(progress.results), len(progress.running), progress.waiting) == (count, 1, 7 - count)
        assert progress.total == 8
    assert (len(progress.results), progress.waiting) == (8, 0)
    assert progress.best is not None
    values = [progress.objective_of(result) for result in progress.results.values()]
    assert progress.objective_of(progress.best) == max(value for value in values if value is not None)


def test_variants_that_lose_their_parent_end_with_it(plan: Plan) -> None:
    progress = Progress(plan)
    for trial in plan.trials:
        progress.started(trial)
        progress.ended(result_of(trial).model_copy(update={"status": Status.DIVERGED, "metrics": {}}))
    assert (progress.total, progress.waiting) == (8, 4)
    ahead = outlook(plan, progress.results)
    progress.planned(ahead)
    assert (progress.total, progress.waiting) == (8, 4)
    for lost in ahead.dropped:
        assert lost.trial is not None
        progress.ended(TrialResult(id=lost.trial.id, config=lost.trial.config, status=Status.PARENT_FAILED))
    assert (progress.total, progress.waiting) == (8, 0)
    assert closing_words(progress) == "8 trials in 0 s: 0 completed, 4 diverged, 4 parent failed"


def test_results_of_an_earlier_run_count_as_done_and_not_as_timed(plan: Plan, clock: Clock) -> None:
    progress = Progress(plan, clock)
    progress.ended(result_of(plan.trials[0]))
    assert (progress.found, len(progress.results), progress.waiting) == (1, 1, 7)
    assert progress.time_left() is None


def test_throughput_is_the_sum_over_trials_that_train_now(plan: Plan) -> None:
    progress = Progress(plan)
    assert progress.examples_per_second is None
    for trial, rate in zip(plan.trials[:2], (1000.0, 500.0), strict=True):
        progress.started(trial)
        progress.report(trial.id, reading(4000, rate))
    assert progress.examples_per_second == 1500
    progress.ended(result_of(plan.trials[0]))
    assert progress.examples_per_second == 500


def test_time_left_follows_the_work_that_is_left(plan: Plan, clock: Clock) -> None:
    progress = Progress(plan, clock)
    first, second, *_ = plan.trials
    progress.started(first)
    clock.now += 10
    progress.report(first.id, reading(10_000))  # a quarter of the budget: 40 s in all, 30 s to go
    left = progress.time_left()
    assert left is not None
    assert left.is_least  # the others are not timed yet
    assert left.seconds == pytest.approx(30)
    clock.now += 30
    progress.ended(result_of(first))  # 40 s
    progress.started(second)
    clock.now += 20
    left = progress.time_left()
    assert left is not None
    assert left.seconds == pytest.approx(20 + 2 * 40)  # this one, and the two baselines of the other batch size
    assert left.is_least  # no variant was timed


def test_at_the_end_nothing_is_left(plan: Plan) -> None:
    progress = Progress(plan)
    for _ in feed(progress, plan):
        pass
    left = progress.time_left()
    assert left is not None
    assert (left.seconds, left.is_least) == (0, False)


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")])
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# -- plain lines ------------------------------------------------------------------------------------------------------


def test_plain_output_has_a_line_for_every_start_and_end(plan: Plan) -> None:
    text = io.StringIO()
    with display(plan, console=Console(file=text)) as shown:
        assert isinstance(shown, PlainDisplay)
        for _ in feed(shown, plan):
            pass
    lines = text.getvalue().splitlines()
    assert len(lines) == 17
    assert lines[0].endswith(f"started  {plan.trials[0].id}  batch 8, rate 0.003125, seed 0")
    assert "completed, val_accuracy 0.9" in lines[1]
    assert lines[1].endswith("(1 of 8 done)")
    assert lines[-1].endswith("8 trials in 0 s: 8 completed")
    assert "\x1b" not in text.getvalue()


def test_trials_that_were_done_before_are_counted_in_one_line(plan: Plan) -> None:
    text = io.StringIO()
    with display(plan, plain=True, console=Console(file=text, force_terminal=True)) as shown:
        for trial in plan.trials[:3]:
            shown.ended(result_of(trial))
        shown.started(plan.trials[3])
    lines = text.getvalue().splitlines()
    assert len(lines) == 3
    assert "3 of 8 trials had a result already" in lines[0]
    assert lines[-1].endswith("3 completed, 5 not done")


@pytest.mark.parametrize("is_terminal", [False, True])
def test_why_nothing_was_done_before_is_said_once(plan: Plan, is_terminal: bool) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=is_terminal, width=120)
    with display(
        plan, console=console, earlier="earlier trials of this sweep do not count: 12 had other data"
    ) as shown:
        for _ in feed(shown, plan):
            pass
    words = "0 of 8 trials had a result already; earlier trials of this sweep do not count: 12 had other data"
    assert text.getvalue().count(words) == 1


def test_silence_is_broken_by_a_heartbeat(plan: Plan) -> None:
    text = io.StringIO()
    shown = PlainDisplay(plan, Console(file=text), heartbeat_seconds=0.2)
    shown.started(plan.trials[0])
    shown.report(plan.trials[0].id, reading(10_000))
    deadline = time.monotonic() + 20
    while text.getvalue().count("1 running") < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    shown.close()
    assert f"0 of 8 done, 1 running, 7 waiting; for 0 s now: {describe(plan.trials[0].config)}; " in text.getvalue()
    assert "1,000 examples/s" in text.getvalue()


def test_a_reason_is_said_with_the_ending(plan: Plan) -> None:
    text = io.StringIO()
    with display(plan, console=Console(file=text)) as shown:
        trial = plan.trials[0]
        shown.started(trial)
        update = {"status": Status.OUT_OF_MEMORY, "reason": "9 GiB were wanted", "metrics": {}}
        shown.ended(result_of(trial).model_copy(update=update))
    assert "out of memory, 9 GiB were wanted (1 of 8 done)" in text.getvalue()


@pytest.mark.parametrize("is_terminal", [False, True])
@pytest.mark.parametrize("error", [BrokenPipeError, ValueError("I/O operation on closed file")])
def test_a_reader_that_went_away_does_not_stop_a_sweep(plan: Plan, error: Exception, is_terminal: bool) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise error

    with display(plan, console=Console(file=Gone(), force_terminal=is_terminal)) as shown:
        shown.started(plan.trials[0])


@pytest.mark.parametrize("kind", [PlainDisplay, LiveDisplay])
def test_a_terminal_that_is_closed_does_not_stop_a_sweep(
    plan: Plan, kind: type[PlainDisplay | LiveDisplay], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, terminal = os.openpty()
    with os.fdopen(terminal, "w", buffering=1) as file:
        monkeypatch.setattr("sys.stdout", file)
        with outliving_its_readers():
            shown = kind(plan, Console(file=file, force_terminal=True, width=80))
            trial = plan.trials[0]
            shown.started(trial)
            os.close(screen)
            time.sleep(0.6)  # the picture is drawn again, by its thread
            print("of a library", flush=True)
            shown.ended(result_of(trial).model_copy(update={"status": Status.STOPPED_EARLY}))
            shown.close()
            print("the comparison", flush=True)


def test_what_nobody_reads_does_not_fail_at_the_end_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as file:
        monkeypatch.setattr("sys.stdout", file)
        os.close(reader)
        with outliving_its_readers():
            print("still in the buffer")
        file.write("after it")


# -- the live picture -------------------------------------------------------------------------------------------------


def picture(plan: Plan, width: int, running: int, readings: bool = True) -> list[str]:
    """The lines of the live picture, as they stand in a terminal of a width."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=24, color_system=None)
    shown = LiveDisplay(plan, console)
    try:
        for trial in plan.trials[:running]:
            shown.started(trial)
            if readings:
                shown.report(trial.id, reading(10_000))
        paper = Console(file=io.StringIO(), width=width)
        with paper.capture() as captured:
            paper.print(shown.picture())
    finally:
        shown.close()
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("readings", [False, True])
def test_the_picture_fits_and_says_it_all(plan: Plan, width: int, readings: bool) -> None:
    lines = picture(plan, width, 3, readings)
    assert len(lines) == 5
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("digits")
    assert "0 of 8 done, 3 running, 5 waiting" in lines[0]
    if readings:
        assert "3,000 examples/s" in lines[1]
        assert "25 %" in lines[2]
        assert "val_accuracy 0.9000" in lines[2]
    assert plan.trials[0].id in lines[2]


def test_the_live_display_leaves_one_line_behind(plan: Plan) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80, height=24, color_system=None)
    trial = plan.trials[0]

    def interrupted() -> None:
        with display(plan, console=console) as shown:
            assert isinstance(shown, LiveDisplay)
            shown.started(trial)
            update = {"status": Status.DIVERGED, "reason": "the loss was nan at step 3", "metrics": {}}
            shown.ended(result_of(trial).model_copy(update=update))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert f"{trial.id}  batch 8, rate 0.003125, seed 0: diverged, the loss was nan at" in text.getvalue()
    assert text.getvalue().rstrip().splitlines()[-1].endswith("8 trials in 0 s: 0 completed, 1 diverged, 7 not done")
    assert "\x1b[?25h" in text.getvalue()  # the cursor is shown again


def test_the_picture_is_safe_to_draw_while_trials_come_and_go(plan: Plan) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    with display(plan, console=console) as shown:
        for _ in range(50):
            for _ in feed(shown, plan):  # type: ignore[arg-type]
                pass


def test_a_full_disk_stops_no_sweep_and_is_no_success_of_what_it_found() -> None:
    full = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115 - its closing fails too
    try:
        print("on the way", file=patient(full), flush=True)
        with pytest.raises(OSError, match="No space left"), redirect_stdout(full), outliving_its_readers():
            print("the comparison", flush=True)
    finally:
        with suppress(OSError):
            full.close()


@pytest.mark.parametrize("plain", [True, False])
def test_what_was_left_undone_has_its_reason(plan: Plan, plain: bool) -> None:
    text = io.StringIO()

    def no_sockets() -> None:
        with display(plan, plain=plain, console=Console(file=text, force_terminal=True, width=200)):
            raise OSError("Ray's sockets do not fit into any of /tmp\nand more")

    with pytest.raises(OSError, match="Ray's sockets"):
        no_sockets()
    assert text.getvalue().rstrip().splitlines()[-1].endswith("8 not done: Ray's sockets do not fit into any of /tmp")
