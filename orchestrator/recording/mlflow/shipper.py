"""Sends a sweep's journal to MLflow, one trial after the other.

Every request can be repeated: a run is searched by its tags before it is created again, MLflow drops a metric that it
already has with the same time and step, and parameters, tags and artifacts are identical.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orchestrator.recording.journal import Journal
from orchestrator.recording.journal_view import TrialLog
from orchestrator.recording.mlflow import run_record as flat_run
from orchestrator.recording.mlflow.client import experiment_with, log_params, log_readings, open_client, search
from orchestrator.recording.mlflow.cursor import Cursor, Page, Sent, records_unsent
from orchestrator.recording.mlflow.run_record import RECOMMENDED_TAG, YES
from orchestrator.remote.tracking import sqlite_file
from trainables.results import TrialResult
from trainables.storage import trial_file

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run
    from mlflow.tracking import MlflowClient


class Shipper:
    """Any call may raise any error of the network, the server or the disk. Completed requests remain valid."""

    def __init__(self, journal: Journal, tracking_uri: str, settings: Sequence[str] = ()) -> None:
        """`settings`: the settings that the sweep varies, for the names of its runs."""
        self._journal, self.tracking_uri, self._settings = journal, tracking_uri, settings
        self._cursor = Cursor(journal.storage, journal.sweep)
        self._client: MlflowClient | None = None
        self._runs: dict[str, str] = {}  # runs that were found by their tags: trial -> run
        self._status: dict[str, str] = {}  # run -> MLflow's status, of runs whose status may have to change
        self._unsure: set[str] = set()  # trials whose run was requested without receiving an answer
        self._surplus: list[str] = []  # surplus runs of trials that have another one
        self._deleted_by_hand: set[str] = set()  # trials whose run a user has deleted
        self.is_uploading = False
        self.uploaded: set[str] = set()  # trials whose model went through: it may take long without a sign of progress
        file = sqlite_file(tracking_uri)
        if not self._cursor.is_aimed_at(tracking_uri) or (file and not file.exists()):
            self._cursor.forget_all()

    @property
    def _mlflow(self) -> MlflowClient:
        assert self._client, "connect() comes first"  # noqa: S101
        return self._client

    @property
    def _experiment(self) -> str:
        assert self._cursor.target, "connect() comes first"  # noqa: S101
        return self._cursor.target.experiment

    def unsent(self, trial: str) -> int:
        """The number of the trial's records that MLflow lacks."""
        if trial in self._deleted_by_hand:
            return 0
        return records_unsent(self._journal.trials[trial], self._cursor.sent.get(trial))

    def look_again(self) -> None:
        """Forget everything sent if MLflow no longer has it, for example after a new database. Changes nothing
        there.
        """
        if self._cursor.sent and self._known_experiment(open_client(self.tracking_uri)) is None:
            self._cursor.forget_all()

    def connect(self) -> None:
        """Open the sweep's experiment, or create it, and find its existing runs."""
        if self._client is not None:
            return
        client = open_client(self.tracking_uri)
        experiment = self._known_experiment(client)
        if experiment is None:
            self._cursor.forget_all()
            experiment = client.get_experiment_by_name(self._journal.sweep)
        if experiment is None:
            experiment_id: str = client.create_experiment(self._journal.sweep, self._artifact_location())
        else:
            experiment_id = experiment.experiment_id
            if experiment.lifecycle_stage == "deleted":
                client.restore_experiment(experiment_id)
        self._cursor.aim(self.tracking_uri, experiment_id)
        for run in search(client, self._experiment, self._is_ours()):
            self._meet(run)
        for run_id in self._surplus:
            client.delete_run(run_id)
        for sent in list(self._cursor.sent.values()):
            if sent.run not in self._status:
                self._cursor.forget(sent.trial)
        self._client = client

    def ship(self, trial: str) -> None:
        """Send the records of one trial that MLflow lacks, and end its run if the trial has ended."""
        self._unless_deleted(trial, self._ship)

    def _ship(self, trial: str) -> None:
        log = self._journal.trials[trial]
        result, ended = log.result(), log.ended  # before the reports: those of an ended trial are complete
        sent = self._cursor.sent.get(trial)
        if sent and sent.is_superseded(log):
            self._mlflow.delete_run(sent.run)  # otherwise its old figures would mix with the new ones
            self._runs.pop(trial, None)
            self._cursor.forget(trial)
            sent = None
        if sent is None:
            sent = self._cursor.move(Sent(trial=trial, run=self._find_or_create(log), started_ms=log.started.time_ms))
        if sent.ended_ms is None:
            self._set_running(sent.run)
        if not sent.configured:
            log_params(self._mlflow, sent.run, flat_run.params(log))
            log_readings(self._mlflow, sent.run, flat_run.first_readings(log))
            sent = self._cursor.move(sent.model_copy(update={"configured": True}))
        reports = log.reports[sent.reports :]
        if reports:
            readings = [flat_run.report_readings(reported.report, reported.time_ms) for reported in reports]
            log_readings(self._mlflow, sent.run, list(chain.from_iterable(readings)))
            sent = self._cursor.move(sent.model_copy(update={"reports": sent.reports + len(reports)}))
        if result and ended and sent.ended_ms is None:
            self._end(sent.run, log, result, ended.time_ms)
            self._cursor.move(sent.model_copy(update={"ended_ms": ended.time_ms}))

    def interrupt(self, *, in_a_hurry: bool = False) -> None:
        """Mark runs of trials without an end as KILLED, until the trial continues.

        `in_a_hurry`: also runs whose end is known and will be sent by the next run of the sweep.
        """
        for trial, sent in list(self._cursor.sent.items()):
            has_ended = self._journal.trials[trial].ended is not None
            if self._status.get(sent.run) == "RUNNING" and (in_a_hurry or not has_ended):
                self._unless_deleted(trial, self._kill)

    def _kill(self, trial: str) -> None:
        run = self._cursor.sent[trial].run
        self._mlflow.set_tag(run, flat_run.STATUS_TAG, flat_run.OPEN_STATES)
        self._mlflow.set_terminated(run, "KILLED")
        self._status[run] = "KILLED"

    def _unless_deleted(self, trial: str, change: Callable[[str], None]) -> None:
        """Change a trial's run, unless a user has deleted it, before or during the sweep; then it stays deleted."""
        from mlflow.exceptions import MlflowException

        if trial in self._deleted_by_hand:
            return
        try:
            change(trial)
        except MlflowException as error:
            sent = self._cursor.sent.get(trial)
            if sent is None or error.error_code != "INVALID_PARAMETER_VALUE":  # what MLflow says of a deleted run
                raise
            if self._mlflow.get_run(sent.run).info.lifecycle_stage == "active":
                raise
            self._deleted_by_hand.add(trial)

    def recommend(self, trial: str | None) -> None:
        """Tag this trial's run, and no other one, as recommended; no run at all without a trial."""
        for run in search(self._mlflow, self._experiment, f"tags.`{RECOMMENDED_TAG}` = '{YES}' and {self._is_ours()}"):
            if run.data.tags[flat_run.TRIAL_TAG] != trial and run.info.lifecycle_stage == "active":
                self._mlflow.delete_tag(run.info.run_id, RECOMMENDED_TAG)
        if trial is not None and trial in self._cursor.sent:
            self._unless_deleted(trial, self._recommend)

    def _recommend(self, trial: str) -> None:
        self._mlflow.set_tag(self._cursor.sent[trial].run, RECOMMENDED_TAG, YES)

    def tag_experiment(self, tags: dict[str, str]) -> None:
        for key, value in tags.items():
            self._mlflow.set_experiment_tag(self._experiment, key, value)

    def conclude(self, page: Page) -> None:
        """Remember the content of the experiment's page, so that an unchanged sweep does not send it again."""
        self._cursor.conclude(page)

    def has_concluded(self, page: Page) -> bool:
        return self._cursor.has_concluded(page)

    def tidy(self) -> None:
        """Let SQLite analyse its tables, which makes ordering thousands of runs by a metric far faster."""
        file = sqlite_file(self.tracking_uri)
        if file and file.exists():
            connection = sqlite3.connect(file, timeout=20)
            try:
                connection.execute("PRAGMA analysis_limit = 1000")
                connection.execute("ANALYZE")
                connection.commit()
            finally:
                connection.close()

    # -- one request each -----------------------------------------------------------------------------------------

    def _known_experiment(self, client: MlflowClient) -> Experiment | None:
        """The experiment that the cursor names, even if it was renamed, if it has runs of this sweep."""
        target = self._cursor.target
        return experiment_with(client, target.experiment, self._is_ours()) if target else None

    def _artifact_location(self) -> str | None:
        """The place for artifacts: a server has its own; otherwise MLflow would use the current folder."""
        if urlsplit(self.tracking_uri).scheme in ("http", "https"):
            return None
        file = sqlite_file(self.tracking_uri) or sqlite_file(f"sqlite:///{self._journal.storage.root}/mlflow.db")
        assert file  # noqa: S101
        file.parent.mkdir(parents=True, exist_ok=True)
        return (file.parent.absolute() / "mlflow-artifacts" / self._journal.sweep).as_uri()

    def _meet(self, run: Run) -> None:
        """Register an existing run."""
        trial, run_id = run.data.tags[flat_run.TRIAL_TAG], run.info.run_id
        self._status[run_id] = run.info.status
        sent = self._cursor.sent.get(trial)
        if run.info.lifecycle_stage == "active":
            kept = sent.run if sent else self._runs.setdefault(trial, run_id)
            if run_id != kept:  # the result of a request that timed out here, but that the server completed
                self._surplus.append(run_id)
        elif sent and sent.run == run_id:
            if sent.is_superseded(self._journal.trials[trial]):
                self._cursor.forget(trial)
            else:
                self._deleted_by_hand.add(trial)

    def _find_or_create(self, log: TrialLog) -> str:
        trial = log.started.trial
        if trial in self._unsure:
            condition = f"tags.`{flat_run.TRIAL_TAG}` = '{trial}' and {self._is_ours()}"
            for run in search(self._mlflow, self._experiment, condition):
                if run.info.lifecycle_stage == "active":
                    self._runs[trial], self._status[run.info.run_id] = run.info.run_id, run.info.status
        if trial not in self._runs:
            self._unsure.add(trial)
            tags = flat_run.tags(self._journal.sweep, self._cursor.recording, log)
            name = flat_run.run_name(log.started.config, self._settings)
            run = self._mlflow.create_run(self._experiment, log.start_ms, tags, name)
            self._runs[trial], self._status[run.info.run_id] = run.info.run_id, "RUNNING"
        self._unsure.discard(trial)
        return self._runs[trial]

    def _is_ours(self) -> str:
        return flat_run.of_recording(self._cursor.recording)

    def _set_running(self, run: str) -> None:
        if self._status[run] != "RUNNING":
            self._mlflow.set_tag(run, flat_run.STATUS_TAG, flat_run.RUNNING)
            self._mlflow.update_run(run, status="RUNNING")
            self._status[run] = "RUNNING"

    def _end(self, run: str, log: TrialLog, result: TrialResult, time_ms: int) -> None:
        """Send the end last, so that a run which MLflow shows as ended is complete."""
        from mlflow.entities import RunTag

        log_readings(self._mlflow, run, flat_run.end_readings(result, time_ms))
        self._mlflow.log_text(run, log.started.config.model_dump_json(indent=2), "config.json")
        self._mlflow.log_text(run, result.model_dump_json(indent=2), "result.json")
        self._log_model(run, result)
        tags = [RunTag(key, value) for key, value in flat_run.end_tags(result).items()]
        self._mlflow.log_batch(run, tags=tags)
        status = flat_run.mlflow_status(result.status)
        self._mlflow.set_terminated(run, status, time_ms)
        self._status[run] = status

    def _log_model(self, run: str, result: TrialResult) -> None:
        storage, name = self._journal.storage, trial_file(result.id, result.files.get("model", ""))
        if "model" not in result.files or not storage.exists(name):
            return
        self.is_uploading = True
        try:
            with tempfile.TemporaryDirectory() as folder:
                self._mlflow.log_artifact(run, str(storage.fetch(name, Path(folder) / Path(name).name)))
            self.uploaded.add(result.id)
        finally:
            self.is_uploading = False
