"""The display of a running sweep: a live display in a terminal, plain lines everywhere else.

with display(plan) as observer:
    run_sweep(plan, storage, observer)
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import IO, Any, Protocol, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.adaptive.resolve import Outlook
from orchestrator.commands.progress_text import (
    closing_words,
    counts_words,
    duration,
    ended_words,
    pace_words,
    running_words,
)
from orchestrator.running.observer import Observer
from orchestrator.running.progress import Clock, Progress, Running
from orchestrator.sweep.plan import Plan, Trial
from trainables.error_text import first_line
from trainables.redact import without_credentials
from trainables.results import Report, Status, TrialResult

HEARTBEAT_SECONDS = 30.0  # longest time between two plain lines
MAX_RUNNING_LINES = 8
REFRESH_PER_SECOND = 4
GONE = (errno.EPIPE, errno.EIO)  # the errors of a pipe and of a terminal without a reader


class Display(Observer, Protocol):
    def tell(self, sentence: str) -> None:
        """Show a note that does not belong to a single trial."""


@contextmanager
def display(plan: Plan, *, plain: bool = False, console: Console | None = None, earlier: str = "") -> Iterator[Display]:
    """An observer that shows the sweep. The terminal is restored, however the block ends."""
    console = console or Console()
    live = console.is_terminal and not console.is_dumb_terminal and not plain
    shown = LiveDisplay(plan, console, earlier=earlier) if live else PlainDisplay(plan, console, earlier=earlier)
    why = ""
    try:
        yield shown
    except (OSError, RuntimeError, ValueError) as error:  # not KeyboardInterrupt, which needs no explanation
        why = without_credentials(first_line(error))
        raise
    finally:
        shown.close(why)


@contextmanager
def outliving_its_readers() -> Iterator[None]:
    """In the block, output is discarded when standard output or standard error lose their reader."""
    output, errors = (cast("IO[str]", _Patient(file, forgiving=False)) for file in (sys.stdout, sys.stderr))
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            yield
        finally:
            output.flush()
            errors.flush()


def patient(file: IO[str]) -> IO[str]:
    """The file, wrapped so that neither a missing reader nor a full disk stops the sweep that writes progress to it."""
    return cast("IO[str]", _Patient(file, forgiving=True))


class _Patient:
    """A file whose reader may disappear (a closed terminal, `| head`) without stopping the sweep.

    `forgiving`: other write errors, such as a full disk, are ignored too.
    """

    def __init__(self, file: IO[str], *, forgiving: bool) -> None:
        self._file = file
        self._forgiving = forgiving

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        self._try(lambda: self._file.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._file.flush)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            if error.errno in GONE:
                self._let_go()
            elif not self._forgiving:
                raise
        except ValueError:
            pass  # the file is closed, or cannot encode a character

    def _let_go(self) -> None:
        """Discard the buffer and all later output; otherwise flushing would fail when Python exits."""
        with suppress(OSError, ValueError), open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), self._file.fileno())


class LiveDisplay:
    """A bar, the totals, and one line per running trial. Trials that do not complete are named above the bar."""

    def __init__(self, plan: Plan, console: Console, clock: Clock = time.monotonic, earlier: str = "") -> None:
        self._progress = Progress(plan, clock, earlier)
        self._lock = threading.RLock()  # another thread draws the display
        console.file = patient(console.file)
        self._live = Live(
            console=console,
            get_renderable=self.picture,
            refresh_per_second=REFRESH_PER_SECOND,
            transient=True,
        )
        self._live.start()

    def started(self, trial: Trial) -> None:
        with self._lock:
            opening = "" if self._progress.has_started else self._progress.opening_words
            self._progress.started(trial)
        if opening:
            self._live.console.print(opening, highlight=False)

    def report(self, trial_id: str, report: Report) -> None:
        with self._lock:
            self._progress.report(trial_id, report)

    def waits(self, trial_id: str, reason: str) -> None:
        with self._lock:
            self._progress.waits(trial_id, reason)

    def planned(self, outlook: Outlook) -> None:
        with self._lock:
            self._progress.planned(outlook)

    def ended(self, result: TrialResult) -> None:
        with self._lock:
            was_running = result.id in self._progress.running
            self._progress.ended(result)
        if was_running and result.status is not Status.COMPLETED:
            self._live.console.print(Text(ended_words(self._progress, result), "yellow"), highlight=False)

    def tell(self, sentence: str) -> None:
        self._live.console.print(Text(sentence, "yellow"), highlight=False)

    def close(self, why: str = "") -> None:
        """Remove the live display and leave one line of totals."""
        self._live.stop()
        self._live.console.print(closing_words(self._progress, why), highlight=False, markup=False)

    def picture(self) -> RenderableType:
        with self._lock:
            progress = self._progress
            head = Table.grid(expand=True, padding=(0, 2, 0, 0))
            head.add_column(no_wrap=True)
            head.add_column(ratio=1)
            head.add_column(no_wrap=True, justify="right")
            bar = ProgressBar(total=max(1, progress.total), completed=len(progress.results))
            head.add_row(Text(progress.plan.sweep.name, "bold"), bar, counts_words(progress))
            running = list(progress.running.values())
            lines: list[RenderableType] = [_running_line(progress, trial) for trial in running[:MAX_RUNNING_LINES]]
            if len(running) > MAX_RUNNING_LINES:
                lines.append(Text(f"  and {len(running) - MAX_RUNNING_LINES} more", "dim"))
            return Group(head, Text(pace_words(progress), overflow="ellipsis", no_wrap=True), *lines)


class PlainDisplay:
    """One line when a trial starts or ends, and one line of progress after half a minute without any."""

    def __init__(
        self,
        plan: Plan,
        console: Console,
        clock: Clock = time.monotonic,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        earlier: str = "",
    ) -> None:
        self._progress = Progress(plan, clock, earlier)
        self._file = patient(console.file)
        self._clock = clock
        self._heartbeat_seconds = heartbeat_seconds
        self._spoke = clock()
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._heart.start()

    def started(self, trial: Trial) -> None:
        with self._lock:
            if not self._progress.has_started and (opening := self._progress.opening_words):
                self._say(opening)
            self._progress.started(trial)
            self._say(f"started  {trial.id}  {self._progress.describe(trial)}")

    def report(self, trial_id: str, report: Report) -> None:
        with self._lock:
            self._progress.report(trial_id, report)

    def waits(self, trial_id: str, reason: str) -> None:
        with self._lock:
            running = self._progress.running.get(trial_id)
            is_news = running is not None and running.waits != reason
            self._progress.waits(trial_id, reason)
            if is_news:
                self._say(f"waits    {trial_id}  {reason}")

    def planned(self, outlook: Outlook) -> None:
        with self._lock:
            self._progress.planned(outlook)

    def ended(self, result: TrialResult) -> None:
        with self._lock:
            was_running = result.id in self._progress.running
            self._progress.ended(result)
            if was_running:
                progress = self._progress
                self._say(
                    f"ended    {ended_words(progress, result)} ({len(progress.results)} of {progress.total} done)"
                )

    def tell(self, sentence: str) -> None:
        with self._lock:
            self._say(sentence)

    def close(self, why: str = "") -> None:
        self._closed.set()
        self._heart.join()
        with self._lock:
            self._say(closing_words(self._progress, why))

    def beat(self) -> None:
        """Print the progress if nothing was printed for a while."""
        with self._lock:
            if self._clock() - self._spoke >= self._heartbeat_seconds:
                progress = self._progress
                self._say(f"{counts_words(progress)}{running_words(progress)}; {pace_words(progress)}")

    def _beat(self) -> None:
        while not self._closed.wait(min(1.0, self._heartbeat_seconds / 4)):
            self.beat()

    def _say(self, text: str) -> None:
        self._spoke = self._clock()
        print(f"[{duration(self._progress.elapsed):>9}] {text}", file=self._file, flush=True)


def _running_line(progress: Progress, running: Running) -> Table:
    metric = progress.plan.sweep.objective.metric
    last = running.last
    value = None if last is None else last.metrics.get(metric)
    fraction = running.fraction
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    grid.add_column(width=6, justify="right", no_wrap=True)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_row(
        Text(f"  {running.trial.id}", "dim"),
        Text(progress.describe(running.trial)),
        "waits" if running.waits is not None else "" if fraction is None else f"{100 * fraction:.0f} %",
        running.waits if running.waits is not None else "" if value is None else f"{metric} {value:.4f}",
    )
    return grid
