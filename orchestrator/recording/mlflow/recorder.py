"""Keeps MLflow up to date with a sweep's journal, from a thread of the driver, so that the sweep never waits for it.

The journal has all records. So if MLflow is unreachable, the thread retries until it succeeds or the recorder is
closed; the next run of the same sweep sends the rest. One line reports the beginning of an outage, and one its end; the
full text of the last failure is stored beside the journal.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from orchestrator.machine.signals import Interrupts
from orchestrator.recording.journal import Journal
from orchestrator.recording.mlflow.cursor import Page
from orchestrator.recording.mlflow.shipper import Shipper
from orchestrator.recording.mlflow.views import experiment_note, experiment_tags
from orchestrator.remote.tracking import MLFLOW_ENVIRONMENT, Trouble, default_tracking_uri, reason, trouble_with
from orchestrator.sweep.labels import swept_settings
from orchestrator.sweep.plan import Plan
from trainables.redact import without_credentials
from trainables.storage import sweep_file, within

GATHER_SECONDS = 0.5  # reports within this time go into one request
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 15.0  # pauses between attempts
LONGEST_UPLOAD_SECONDS = 3600.0  # limit for one model at the end: at 1 Mbit/s, 450 MB
QUIET_SECONDS = 5.0  # waiting time at the end after which a line says what is missing
HURRIED_SECONDS = 3.0  # time at the end to send the rest, if this process is about to be killed
LAST_WORD_SECONDS = 3.0  # time to mark open runs as no longer running
FAILURES_IN_A_ROW = 3  # after these the server counts as unreachable; fewer may be the fault of single trials
ROUNDS_UNTIL_TOLD = 2  # rounds without success until an outage is reported; the next round repairs a single failure
LAST_FAILURE = "mlflow-failure.txt"  # file beside the journal


@dataclass(frozen=True)
class Unsent:
    """The records that MLflow still lacks when the recorder is closed."""

    records: int
    tracking_uri: str
    problem: str | None  # None if there was not enough time
    trouble: Trouble | None = None  # the diagnosed problem, if it is known
    details: str | None = None  # the file with the full text of the failure

    def __str__(self) -> str:
        why = f"it {self.trouble.what}" if self.trouble else self.problem or "there was not enough time"
        more = f"; details in {self.details}" if self.details else ""
        what, them = (f"{self.records} records have", "them") if self.records else ("the experiment's page has", "it")
        missing = f"{what} not reached MLflow at {self.tracking_uri} ({why}{more})."
        if self.trouble and not self.trouble.passes:  # waiting does not help
            return f"{missing} The journal keeps {them}: {self.trouble.way_out}; then the same command sends {them}."
        does = "tries again" if self.problem and not self.trouble else f"sends {them} when it is run again"
        return f"{missing} Nothing is lost: the same command {does}."


class Recorder:
    """A recorder; its thread starts at once. With a plan, the sweep's experiment gets a prepared view and a note."""

    def __init__(self, journal: Journal, tracking_uri: str | None = None, plan: Plan | None = None) -> None:
        os.environ.update(MLFLOW_ENVIRONMENT)  # read when MLflow is imported
        # Here and not in the thread: Ray Tune imports MLflow as well, and two threads that do it at one time fail.
        importlib.import_module("mlflow.tracking")
        self._journal, self._plan = journal, plan
        self.tracking_uri = tracking_uri or default_tracking_uri(journal.storage)
        self._shipper = Shipper(journal, self.tracking_uri, swept_settings(plan.sweep) if plan else ())
        self._waiting: dict[str, None] = {}  # queue of trials
        self._wake = threading.Condition()
        self._queue_unsent()
        self._looked = bool(self._waiting)  # otherwise all was sent before, and must be confirmed
        self._closing, self._halted = threading.Event(), threading.Event()
        self._problem: str | None = None
        self._failure = ""  # the full text of the problem
        self._is_outage_told = False
        self._note = ""
        self._recommended: str | None = None
        self._opened = False
        self._thread = threading.Thread(target=self._run, name="paretune-recorder", daemon=True)
        journal.subscribe(self._notice)
        self._thread.start()

    @property
    def problem(self) -> str | None:
        """Why the last attempt failed; None if it succeeded."""
        return self._problem

    def close(
        self,
        timeout: float = 60.0,
        note: str = "",
        recommended: str | None = None,
        interrupts: Interrupts | None = None,
    ) -> Unsent | None:
        """Send the remaining records while MLflow accepts them. None if MLflow has everything. Called once, at the end.

        Gives up after `timeout` seconds without progress. During the upload of a model, which is one request that would
        start again from its beginning, the limit is `LONGEST_UPLOAD_SECONDS`; the upload fails by itself if its server
        ends. `note`: Markdown for the top of the experiment's page, such as the reasons for the trial `recommended`.
        `interrupts`: in a hurried shutdown, this takes a few seconds only, and then marks open runs as not running.
        """
        interrupts = interrupts or Interrupts()
        self._note, self._recommended = note, recommended
        with self._wake:
            self._closing.set()
            self._wake.notify()
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C skips the wait; the results are still printed
            self._wait(timeout, interrupts)
        self._halted.set()
        if interrupts.is_hurried and self._thread.is_alive():
            self._say_the_last_word()
        unsent = self._unsent()
        if not unsent and (self._is_only_looking() or not self._thread.is_alive()):
            return None
        trouble = trouble_with(self.tracking_uri) if self._problem else None
        details = self._keep_failure() if self._problem and not trouble else None
        return Unsent(unsent, without_credentials(self.tracking_uri), self._problem, trouble, details)

    def _wait(self, timeout: float, interrupts: Interrupts) -> None:
        """Wait until everything is sent, or nothing has arrived for too long."""
        started = last_progress = time.monotonic()
        arrived: tuple[int, int] | None = None  # (records left, models uploaded)
        is_told = False
        while self._thread.is_alive():
            patience = max(timeout, LONGEST_UPLOAD_SECONDS) if self._shipper.is_uploading else timeout
            patience = min(timeout, QUIET_SECONDS) if self._is_only_looking() else patience
            before, arrived, now = arrived, (self._unsent(), len(self._shipper.uploaded)), time.monotonic()
            if arrived != before:
                last_progress = now
            elif now - last_progress > patience:
                return
            if interrupts.is_hurried and now - started > HURRIED_SECONDS:
                return
            if not is_told and now - started > QUIET_SECONDS:
                is_told = True
                _say(f"{self._doing()}; Ctrl-C postpones this to the next run")
            self._thread.join(0.1)

    def _say_the_last_word(self) -> None:
        """Mark open runs as no longer running, even if other records are missing; in a thread, as MLflow may hang."""

        def say() -> None:
            self._thread.join(LAST_WORD_SECONDS / 2)  # the thread ends after its current request, if that ends at all
            self._attempt(partial(self._shipper.interrupt, in_a_hurry=True))

        last = threading.Thread(target=say, name="paretune-last-word", daemon=True)
        last.start()
        last.join(LAST_WORD_SECONDS)

    def _doing(self) -> str:
        what = f"{unsent} records" if (unsent := self._unsent()) else "the experiment's page"
        verb = f"trying ({self._problem}) to send" if self._problem else "sending"
        return f"{verb} {what} to MLflow at {without_credentials(self.tracking_uri)}"

    def _unsent(self) -> int:
        return sum(self._shipper.unsent(trial) for trial in self._journal.trials)

    def _is_only_looking(self) -> bool:
        """Whether everything was sent earlier, but MLflow has not yet confirmed that it still has it."""
        return not self._looked and not self._unsent()

    def _queue_unsent(self) -> None:
        with self._wake:
            self._waiting |= dict.fromkeys(trial for trial in list(self._journal.trials) if self._shipper.unsent(trial))

    def _notice(self, trial: str) -> None:
        with self._wake:
            self._waiting[trial] = None
            self._wake.notify()

    def _run(self) -> None:
        if not self._looked:
            self._attempt(self._shipper.look_again)  # a server that does not answer may still have everything
            self._queue_unsent()
            self._looked = True
        pause, failed_rounds = FIRST_PAUSE_SECONDS, 0
        while not self._halted.is_set():
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._closing.is_set())
                trials = list(self._waiting)
            if not trials and (self._has_nothing_to_mend() or self._attempt(self._finish)) and not self._waiting:
                return
            self._closing.wait(GATHER_SECONDS)
            if trials and self._ship_all(trials):
                pause, failed_rounds = FIRST_PAUSE_SECONDS, 0
                self._tell_end_of_outage()
            else:
                failed_rounds += 1
                if failed_rounds == ROUNDS_UNTIL_TOLD and not self._closing.is_set():  # later, `Unsent` does
                    self._tell_outage()
                (self._halted if self._closing.is_set() else self._closing).wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _tell_outage(self) -> None:
        trouble = trouble_with(self.tracking_uri)
        if trouble:
            why, then = trouble.finding, "missing records are sent later" if trouble.passes else trouble.way_out
        else:
            kept, then = self._keep_failure(), "missing records are sent again"
            details = f" (details in {kept})" if kept else ""
            why = f"MLflow at {without_credentials(self.tracking_uri)} fails with {self._problem}{details}"
        self._is_outage_told = True
        _say(f"{why}; the sweep continues; {then}")

    def _tell_end_of_outage(self) -> None:
        if self._is_outage_told:
            self._is_outage_told = False
            _say(f"MLflow at {without_credentials(self.tracking_uri)} records again; it has all missing records now")

    def _keep_failure(self) -> str | None:
        """Write the full text of the last failure to a file; None if the storage has no room for it."""
        storage, name = self._journal.storage, sweep_file(self._journal.sweep, LAST_FAILURE)
        try:
            storage.write(name, self._failure.encode())
        except OSError:
            return None
        return within(storage.label, name)

    def _ship_all(self, trials: list[str]) -> bool:
        """Whether MLflow now has all records of these trials. Trials with missing records go to the end of the
        queue.
        """
        failures = failures_in_a_row = 0
        if not self._attempt(self._open):
            return False
        for trial in trials:
            if self._halted.is_set() or failures_in_a_row == FAILURES_IN_A_ROW:
                return False
            with self._wake:
                self._waiting.pop(trial, None)
            if self._attempt(partial(self._shipper.ship, trial)):
                failures_in_a_row = 0
                continue
            failures, failures_in_a_row = failures + 1, failures_in_a_row + 1
            with self._wake:
                self._waiting[trial] = None
        if not failures:
            self._problem = None
        return not failures

    def _open(self) -> None:
        self._shipper.connect()
        if not self._opened:
            self._opened = True
            self._queue_unsent()  # MLflow may have lost runs that the cursor lists
            self._write_view()

    def _has_nothing_to_mend(self) -> bool:
        """Whether everything was sent before this process began: no run is left open, and the page is up to date."""
        if self._opened or not all(log.ended for log in self._journal.trials.values()):
            return False
        return self._plan is None or self._shipper.has_concluded(self._page(self._plan))

    def _finish(self) -> None:
        self._open()
        self._shipper.interrupt()
        self._shipper.tidy()
        self._write_view()
        if self._plan:
            self._shipper.recommend(self._recommended)
            self._shipper.conclude(self._page(self._plan))

    def _write_view(self) -> None:
        if self._plan:
            self._shipper.tag_experiment(experiment_tags(self._plan, self._journal.trials, self._note))

    def _page(self, plan: Plan) -> Page:
        note = experiment_note(plan, self._journal.trials, self._note)
        return Page(note=note, recommended=self._recommended)

    def _attempt(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except Exception as error:  # failures of recording must not stop a sweep
            self._problem = reason(error)
            self._failure = without_credentials("".join(traceback.format_exception(error)))
            return False
        return True


def _say(text: str) -> None:
    print(f"paretune: {text}", file=sys.stderr)
