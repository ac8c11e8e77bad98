"""What becomes of MLflow's runs when the process ends between any two requests, or people change things meanwhile."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow.tracking
import pytest
from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient

from orchestrator.recording.journal import Journal
from orchestrator.recording.mlflow.recorder import Recorder
from orchestrator.recording.mlflow.shipper import Shipper
from orchestrator.sweep.plan import Trial
from tests.support import made_up
from tests.support.recorded import MLFLOW_WARNINGS, check_complete, runs
from trainables.results import Status, TrialResult
from trainables.storage import Storage, sweep_file, trial_file

pytestmark = pytest.mark.filterwarnings(*MLFLOW_WARNINGS)

BASELINE = made_up.baseline(32)
VARIANT = made_up.variant(BASELINE)


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


class MortalClient:
    """MLflow's client, that dies at its n-th request: before it is made, or after, with the answer unread."""

    def __init__(self, client: MlflowClient, lives: Iterator[bool], after: bool) -> None:
        self._client, self._lives, self._after = client, lives, after

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def request(*args: Any, **kwargs: Any) -> Any:
            lives = next(self._lives)
            if not lives and not self._after:
                raise Killed
            answer = getattr(self._client, name)(*args, **kwargs)
            if not lives:
                raise Killed
            return answer

        return request


def mortal_client(requests: int, after: bool) -> Callable[[str], MortalClient]:
    """The class to stand in for MLflow's client: good for so many requests, then dead at one, then well again."""
    lives = itertools.chain(itertools.repeat(True, requests), [False], itertools.repeat(True))
    return lambda uri: MortalClient(MlflowClient(uri), lives, after)


@pytest.fixture(scope="module")
def uri(database: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database of this module's own: what is shared stays empty."""
    return f"sqlite:///{shutil.copy(database, tmp_path_factory.mktemp('crashes'))}"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    storage = Storage(str(tmp_path))
    for trial in (BASELINE, VARIANT):
        storage.write(trial_file(trial.id, "model.pt2"), b"model")
    return storage


def tell(journal: Journal, trial: Trial, status: Status = Status.COMPLETED) -> None:
    journal.started(trial)
    for report in made_up.reports(trial):
        journal.report(trial.id, report)
    journal.ended(made_up.result(trial, status))


def ship_all(journal: Journal, uri: str) -> None:
    """One driver's life: a new shipper that has only what is on the disk."""
    shipper = Shipper(journal, uri)
    shipper.connect()
    for trial in journal.trials:
        shipper.ship(trial)
    shipper.interrupt()
    assert sum(map(shipper.unsent, journal.trials)) == 0


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_death_at_any_request_is_mended_by_the_next_driver(storage, uri, monkeypatch, request, after):
    """All of them, one after the other: create_experiment, create_run, log_batch, set_terminated, ..."""
    for requests in itertools.count():
        sweep = f"{request.node.name} {requests}"
        with Journal(storage, sweep) as journal:
            tell(journal, BASELINE)
            tell(journal, VARIANT, Status.DIVERGED)
            with monkeypatch.context() as patch:
                patch.setattr(mlflow.tracking, "MlflowClient", mortal_client(requests, after))
                try:
                    ship_all(journal, uri)
                except Killed:
                    survived = False
                else:
                    survived = True
            if not survived:
                ship_all(journal, uri)
            check_complete(storage, sweep, uri)
        if survived:
            break
    assert requests > 20


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_failed_request_is_made_again_by_the_same_driver(storage, uri, monkeypatch, request, after):
    """As when the network breaks: the shipper lives on, and may not know whether its run was created."""
    for failing in range(3, 9):
        sweep = f"{request.node.name} {failing}"
        with Journal(storage, sweep) as journal, monkeypatch.context() as patch:
            tell(journal, BASELINE)
            patch.setattr(mlflow.tracking, "MlflowClient", mortal_client(failing, after))
            shipper = Shipper(journal, uri)
            shipper.connect()
            with pytest.raises(Killed):
                shipper.ship(BASELINE.id)
            shipper.ship(BASELINE.id)
            check_complete(storage, sweep, uri)


def test_a_trial_that_did_not_end_is_killed_in_mlflow_and_runs_again_when_it_goes_on(storage, uri, request):
    sweep, client = request.node.name, MlflowClient(uri)
    reports = made_up.reports(BASELINE)
    with Journal(storage, sweep) as journal:
        journal.started(BASELINE)
        journal.report(BASELINE.id, reports[0])
        ship_all(journal, uri)
    run = runs(client, sweep)[BASELINE.id]
    assert (run.info.status, run.data.tags["paretune.status"]) == ("KILLED", "interrupted")
    with Journal(storage, sweep) as journal:
        shipper = Shipper(journal, uri)
        shipper.connect()
        journal.report(BASELINE.id, reports[1])
        shipper.ship(BASELINE.id)
        run = runs(client, sweep)[BASELINE.id]
        assert (run.info.status, run.data.tags["paretune.status"]) == ("RUNNING", "running")
        tell(journal, BASELINE)
        shipper.ship(BASELINE.id)
    assert check_complete(storage, sweep, uri)[BASELINE.id].info.run_id == run.info.run_id


def test_a_trial_that_is_run_again_and_ends_otherwise_gets_a_new_run(storage, uri, request):
    sweep = request.node.name
    with Journal(storage, sweep) as journal:
        tell(journal, BASELINE, Status.FAILED)
        ship_all(journal, uri)
        first = runs(MlflowClient(uri), sweep)[BASELINE.id]
        tell(journal, BASELINE)
        ship_all(journal, uri)
    second = check_complete(storage, sweep, uri)[BASELINE.id]
    assert first.data.tags["paretune.status"] == "failed"
    assert second.data.tags["paretune.status"] == "completed"
    assert second.info.run_id != first.info.run_id


def test_a_variant_whose_parent_failed_has_a_run_of_its_own_when_it_runs_after_all(storage, uri, request):
    sweep, client = request.node.name, MlflowClient(uri)
    with Journal(storage, sweep) as journal:
        journal.started(VARIANT)
        lost = TrialResult(id=VARIANT.id, config=VARIANT.config, status=Status.PARENT_FAILED, reason="it diverged")
        journal.ended(lost)
        ship_all(journal, uri)
        first = runs(client, sweep)[VARIANT.id]
        assert (first.info.status, first.data.tags["paretune.status"]) == ("FAILED", "parent_failed")
        journal.started(VARIANT)
        shipper = Shipper(journal, uri)
        assert shipper.unsent(VARIANT.id) > 0
        shipper.connect()
        shipper.ship(VARIANT.id)
        again = runs(client, sweep)[VARIANT.id]
        assert (again.info.status, again.data.tags["paretune.status"]) == ("RUNNING", "running")
        shipper.interrupt()
        assert runs(client, sweep)[VARIANT.id].info.status == "KILLED"
        tell(journal, VARIANT)
        ship_all(journal, uri)
    last = check_complete(storage, sweep, uri)[VARIANT.id]
    assert (last.info.run_id, last.data.tags["paretune.status"]) == (again.info.run_id, "completed")


def test_a_run_that_a_person_deleted_stays_deleted(storage, uri, request):
    sweep, client = request.node.name, MlflowClient(uri)
    with Journal(storage, sweep) as journal:
        tell(journal, BASELINE)
        ship_all(journal, uri)
        client.delete_run(runs(client, sweep)[BASELINE.id].info.run_id)
        tell(journal, VARIANT)
        ship_all(journal, uri)
    assert set(runs(client, sweep)) == {VARIANT.id}
    experiment = client.get_experiment_by_name(sweep)
    assert len(client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)) == 2


def test_an_experiment_that_a_person_deleted_comes_back_when_its_sweep_is_run_on(storage, uri, request):
    sweep, client = request.node.name, MlflowClient(uri)
    with Journal(storage, sweep) as journal:
        tell(journal, BASELINE)
        ship_all(journal, uri)
        client.delete_experiment(client.get_experiment_by_name(sweep).experiment_id)
        tell(journal, VARIANT)
        ship_all(journal, uri)
    assert set(runs(client, sweep)) == {BASELINE.id, VARIANT.id}


def test_two_storages_with_a_sweep_of_one_name_share_an_experiment_but_no_run(storage, uri, request, tmp_path_factory):
    sweep, client = request.node.name, MlflowClient(uri)
    other = Storage(str(tmp_path_factory.mktemp("other")))
    for each in (storage, other):
        with Journal(each, sweep) as journal:
            tell(journal, BASELINE)
            ship_all(journal, uri)
    experiment = client.get_experiment_by_name(sweep)
    found = client.search_runs([experiment.experiment_id])
    assert len({run.data.tags["paretune.recording"] for run in found}) == len(found) == 2


def test_a_surplus_run_is_removed(storage, uri, request):
    """A server that answered too late: the run was created twice."""
    sweep, client = request.node.name, MlflowClient(uri)
    with Journal(storage, sweep) as journal:
        tell(journal, BASELINE)
        ship_all(journal, uri)
        run = runs(client, sweep)[BASELINE.id]
        client.create_run(run.info.experiment_id, tags=run.data.tags)
        tell(journal, VARIANT)
        ship_all(journal, uri)
    assert check_complete(storage, sweep, uri)[BASELINE.id].info.run_id == run.info.run_id


def drive(storage: Storage, sweep: str, uri: str, *new: Trial) -> None:
    """A run of the sweep, as a user starts it, that tells of these trials."""
    with Journal(storage, sweep) as journal:
        recorder = Recorder(journal, uri)
        for trial in new:
            tell(journal, trial)
        assert recorder.close() is None
        assert sum(map(recorder._shipper.unsent, journal.trials)) == 0


def test_a_renamed_experiment_is_gone_on_with(storage, uri, request):
    sweep, client = request.node.name, MlflowClient(uri)
    drive(storage, sweep, uri, BASELINE)
    experiment = client.get_experiment_by_name(sweep).experiment_id
    client.rename_experiment(experiment, f"{sweep} of may")
    drive(storage, sweep, uri)
    drive(storage, sweep, uri, VARIANT)
    assert client.get_experiment_by_name(sweep) is None
    client.rename_experiment(experiment, sweep)
    check_complete(storage, sweep, uri)


@pytest.mark.parametrize("grows", [False, True], ids=["finished", "growing"])
def test_after_the_database_was_replaced_all_is_sent_again(storage, database, tmp_path, grows):
    uri = f"sqlite:///{shutil.copy(database, tmp_path)}"
    drive(storage, "s", uri, BASELINE)
    shutil.copy(database, tmp_path)
    other = MlflowClient(uri).create_experiment("another sweep's, with the id that this one's had", str(tmp_path))
    with Journal(storage, "s") as journal:
        assert Shipper(journal, uri)._cursor.target.experiment == other
    drive(storage, "s", uri, *([VARIANT] if grows else []))
    check_complete(storage, "s", uri)
    assert MlflowClient(uri).search_runs([other]) == []


def test_what_was_not_sent_again_by_a_driver_that_died_is_sent_by_the_next(storage, database, tmp_path):
    uri = f"sqlite:///{shutil.copy(database, tmp_path)}"
    drive(storage, "s", uri, BASELINE, VARIANT)
    shutil.copy(database, tmp_path)
    with Journal(storage, "s") as journal:
        shipper = Shipper(journal, uri)
        shipper.connect()
        shipper.ship(BASELINE.id)
    drive(storage, "s", uri)
    check_complete(storage, "s", uri)


def test_a_run_that_a_person_deletes_while_its_trial_goes_on_is_left_alone(storage, uri, request):
    sweep, client, reports = request.node.name, MlflowClient(uri), made_up.reports(BASELINE)
    with Journal(storage, sweep) as journal:
        journal.started(BASELINE)
        journal.started(VARIANT)
        journal.report(BASELINE.id, reports[0])
        shipper = Shipper(journal, uri)
        shipper.connect()
        for trial in journal.trials:
            shipper.ship(trial)
        for run in runs(client, sweep).values():
            client.delete_run(run.info.run_id)
        journal.report(BASELINE.id, reports[1])
        assert shipper.unsent(BASELINE.id) == 1
        shipper.ship(BASELINE.id)
        assert shipper.unsent(BASELINE.id) == 0
        shipper.interrupt()  # of the other, too
    assert runs(client, sweep) == {}


def test_lines_of_the_cursor_that_cannot_be_read_are_sent_again_to_the_same_runs(storage, uri, request):
    """Even the first, which alone says where the runs are."""
    sweep, client = request.node.name, MlflowClient(uri)
    drive(storage, sweep, uri, BASELINE)
    before = runs(client, sweep)
    file = Path(storage.path(sweep_file(sweep, "mlflow.jsonl")))
    _, *lines, last = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([b"\x00\xff\x00", *lines, last[: len(last) // 2], b""]))
    drive(storage, sweep, uri, VARIANT)
    after = check_complete(storage, sweep, uri)
    assert after[BASELINE.id].info.run_id == before[BASELINE.id].info.run_id
