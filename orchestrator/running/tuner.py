"""Executes a sweep's trials on Ray: the one file that builds a Tuner.

Tune places gangs, manages their trials, and asks which of them can stop early. Tune's own files are discarded: results
are on the sweep's storage, and running the same sweep again resumes from there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.execution import class_cache

from orchestrator.running.early_stopping import Stopping
from orchestrator.running.executor import RUN_TRIAL, Interrupted
from orchestrator.running.gang import Gang
from orchestrator.running.hand_over import handed_over
from orchestrator.running.ledger import Ledger
from orchestrator.running.patience import Patience
from orchestrator.running.ray_connection import RaySettings, connected, node_to_start, starts_its_own
from orchestrator.running.resources import (
    ClusterNode,
    check_fits,
    check_precision,
    cluster_nodes,
    eligible,
    need_of,
    remove_reservation,
    reservations,
)
from orchestrator.running.searcher import Admission
from orchestrator.running.watch import AtWork, HeadLostError, RayLostError, Watch, breaking_off, check_own_daemons
from trainables.results import Status
from trainables.storage import Storage, sweep_file
from trainables.worker.handover import AWS_CREDENTIALS
from trainables.worker.messages import EndedTrial, Finished, Message, NoWorkersYet, Paused, Reading, decode
from trainables.worker.ray_worker import WorkerGroupConfig

RAY_RESTARTS = 3  # restarts of a local Ray that ends during the sweep
GANG_RETRIES = 2  # retries of one trial whose gang was lost


@dataclass(frozen=True)
class RayExecutor:
    """Gangs of workers on Ray; see orchestrator.running.executor.Executor.

    If Ray is connected already, that connection is used and left open.
    """

    settings: RaySettings = field(default_factory=RaySettings)
    runner: str = RUN_TRIAL

    @property
    def is_here(self) -> bool:
        return self.settings.address is None

    def run(self, ledger: Ledger, storage: Storage) -> None:
        """Raises NobodyAtWorkError if Ray, or every node with room for the trials, is lost."""
        restarts = 0
        while not ledger.is_complete:
            is_own = starts_its_own(self.settings)
            try:
                _run(ledger, storage, self.settings, self.runner)
            except RayLostError as error:
                restarts += 1
                if not is_own or restarts > RAY_RESTARTS:
                    raise RayLostError(f"{error}. Nothing is lost: run the same command again to resume") from None
                ledger.tell(f"{error}. Ray restarts, and trials resume from their checkpoints")


def _run(ledger: Ledger, storage: Storage, settings: RaySettings, runner: str) -> None:
    """Run the sweep with one Ray, from its start to the sweep's end."""
    sweep = ledger.plan.sweep
    if (here := node_to_start(settings)) is not None:
        _with_room(ledger, (here,))  # before seconds are spent on starting Ray
    with (
        connected(settings, sweep.facts.search_path),
        handed_over(storage) as handover,
        tempfile.TemporaryDirectory(prefix="paretune-") as scratch,
    ):
        resources, nodes = sweep.resources, _with_room(ledger, cluster_nodes())
        template = WorkerGroupConfig(
            num_workers=1,
            cpus_per_worker=resources.cpus_per_worker,
            gpus_per_worker=0,
            accelerator_type=resources.accelerator_type,
            node_labels=resources.node_labels,
            no_progress_s=60 * resources.no_progress_minutes,
            storage=storage.uri if storage.is_local else storage.label,
            handover=handover,
            runner=runner,
            scratch=scratch if storage.is_local else sweep_file(sweep.name, "ray"),
        )
        _tune(ledger, Admission(ledger, nodes, template, resources.max_concurrent_trials), scratch)


def _with_room(ledger: Ledger, nodes: Sequence[ClusterNode]) -> tuple[ClusterNode, ...]:
    """The nodes that the sweep may use. Raises NeverFitsError if one of its trials does not fit there, even alone."""
    resources, trials = ledger.plan.sweep.resources, ledger.open_trials()
    found = eligible(nodes, resources)
    check_precision(((trial.id, trial.config) for trial in trials), found)
    check_fits(((trial.id, need_of(trial.config, found, resources.cpus_per_worker).claim) for trial in trials), found)
    return found


def _tune(ledger: Ledger, admission: Admission, scratch: str) -> None:
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(AWS_CREDENTIALS)  # Ray's agent would log them
    stopping = Stopping(ledger)
    driver = Driver(ledger, admission, stopping)
    # A gang reserves a tiny part of the resource of the driver's own node: so it runs here and takes no CPU.
    own_node: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    here = tune.PlacementGroupFactory([{f"node:{own_node}": 0.001}])
    tuner = tune.Tuner(
        tune.with_resources(Gang, here),
        tune_config=tune.TuneConfig(
            search_alg=admission,
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=scratch,
            verbose=0,
            callbacks=[driver],
            failure_config=tune.FailureConfig(max_failures=GANG_RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            stop=Stopper(stopping),
        ),
    )
    kept = set(reservations())
    try:
        with breaking_off():
            tuner.fit()
    except BaseException as error:
        if isinstance(lost := driver.error or error, HeadLostError):
            raise lost from None  # the head does not answer, so its trials cannot be ended
        if not isinstance(error, KeyboardInterrupt):
            check_own_daemons()  # Tune may be the first to notice that Ray has ended; then no trial can be ended
        driver.kill_gangs()
        _free(kept)
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(len(ledger.results), len(ledger.trials)) from None
        raise driver.error or error from None
    _free(kept)


def _free(kept: set[str]) -> None:
    """The reservations of this sweep."""
    for name in set(reservations()) - kept:
        remove_reservation(name)


def _name(trial: Any) -> str:
    return str(trial.trial_id)


class Stopper(tune.Stopper):
    """Ends a trial that does not need to continue."""

    def __init__(self, stopping: Stopping) -> None:
        self._stopping = stopping

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        message = decode(result["message"])
        report = message.report if isinstance(message, Reading) else None
        return self._stopping.is_over(result["config"]["trial"], report)

    def stop_all(self) -> bool:
        return False

    def __getstate__(self) -> dict[str, object]:
        return {}


class Driver(tune.Callback):
    """Passes the gangs' reports to Tune on to the ledger. Tune hides errors raised here, so the first one is kept."""

    def __init__(self, ledger: Ledger, admission: Admission, stopping: Stopping) -> None:
        self.error: BaseException | None = None
        self._ledger = ledger
        self._stopping = stopping
        self._gangs: dict[Any, None] = {}
        self._at_work = AtWork()
        self._watch = Watch(self._at_work, admission, ledger.tell)
        self._patience = Patience(ledger.tell)

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune calls this many times a second, even without reports from gangs."""
        self._do(self._watch.look)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._gangs[trial.temporary_state.ray_actor] = None
        self._at_work.running[trial.config["trial"]] = None
        self._do(lambda: self._ledger.started(trial.config["trial"]))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._do(lambda: self._take(trial.config["trial"], decode(result["message"])))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when a trial has ended, by its last result or by the scheduler."""
        name = trial.config["trial"]
        self._at_work.running.pop(name, None)
        if name not in self._ledger.results:
            self._do(lambda: self._ledger.ended_as(name, Status.STOPPED_EARLY, self._stopping.reason(name)))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when a trial's gang was lost, and was lost again in the retries."""
        self._at_work.running.pop(trial.config["trial"], None)
        reason = "the process that drives the trial's workers was lost"
        details = Path(trial.error_file).read_text(errors="replace")  # not yet where Tune's `get_error` looks for it
        self._do(lambda: self._ledger.ended_as(trial.config["trial"], Status.FAILED, reason, details))

    def kill_gangs(self) -> None:
        """Kill the gangs at once; their workers and reservations end with them."""
        for gang in self._gangs:
            ray.kill(gang)

    def _take(self, trial: str, message: Message) -> None:
        ledger, running = self._ledger, self._at_work.running
        running[trial] = None
        if not isinstance(message, Paused):
            self._patience.works(trial)
        match message:
            case NoWorkersYet(reason=reason):
                running[trial] = reason
                ledger.waits(trial, reason)
            case Paused(reason=reason):
                ledger.waits(trial, "for the storage")
                self._patience.failed(trial, reason)
            case Reading(report=report):
                ledger.report(trial, report)
            case Finished(result=result):
                ledger.ended(result)
            case EndedTrial(status=status, reason=reason, details=details):
                ledger.ended_as(trial, status, reason, details)

    def _do(self, action: Any) -> None:
        try:
            action()
        except BaseException as error:
            self.error = self.error or error
            raise

    def __getstate__(self) -> dict[str, object]:
        return {}
