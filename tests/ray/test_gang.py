"""Gangs of real workers, in a real Ray of two CPUs: what goes wrong in one trial stays with that trial."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest
import torch

from orchestrator.running.executor import SweepOutcome, run_sweep
from orchestrator.running.patience import PatientStorage, StorageFailsError
from orchestrator.running.resources import NeverFitsError
from orchestrator.running.tuner import RayExecutor
from orchestrator.sweep.plan import Plan, Trial
from orchestrator.sweep.spec import EarlyStopping
from tests.support.one_ray import nothing_left
from tests.support.scripted import RUNNER, Told, attempts, pending, scripted, sweep_of
from tests.support.shared_ray import SharedRay
from trainables.config.optimizers import Sgd
from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, TaskConfig, trial_id
from trainables.results import Report, Status, TrialResult
from trainables.storage import Storage, checkpoint_file, trial_file

pytestmark = [
    pytest.mark.timeout(1800),  # starting a group of workers takes a minute on a machine that is busy with other tests
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]


@pytest.fixture(autouse=True)
def cluster(shared_ray: SharedRay) -> None:
    shared_ray.start()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "storage"))


def run(plan: Plan, storage: Storage, told: Told | None = None) -> SweepOutcome:
    return run_sweep(plan, storage, told or Told(), RayExecutor(runner=RUNNER))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte, full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.nightly
def test_a_full_disk_fails_no_trial_and_with_room_again_the_sweep_goes_on(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, plan = PatientStorage(str(small_disk)), sweep_of(scripted(0), scripted(1))
    monkeypatch.setattr("orchestrator.running.patience.PATIENCE_S", 0.0)
    said: list[str] = []
    with pytest.raises(StorageFailsError, match=r"No space left on device.* Nothing is lost: .* the same command"):
        run_sweep(plan, storage, Told(), RayExecutor(runner=RUNNER), tell=said.append)
    assert not storage.exists(trial_file(plan.trials[0].id, "result.json"))
    monkeypatch.undo()

    def make_room(sentence: str) -> None:
        said.append(sentence)
        if sentence.startswith("paused"):
            (small_disk / "filler").unlink()

    said.clear()
    storage.be_patient(make_room)
    outcome = run_sweep(plan, storage, Told(), RayExecutor(runner=RUNNER), tell=make_room)
    assert {result.status for result in outcome.results.values()} == {Status.COMPLETED}
    assert [sentence.split(":")[0] for sentence in said] == ["paused", "the storage works again"]


def pids(storage: Storage, trial: Trial, rank: int = 0) -> list[int]:
    return [attempt["pid"] for attempt in attempts(storage, trial.id, rank)]


def test_each_failure_of_one_worker_ends_or_retries_its_own_trial(storage: Storage) -> None:
    good = [scripted(seed) for seed in range(3)]
    raised = scripted(1, fail="raise", at=2)
    left = scripted(1, fail="system_exit", at=1)
    gpu_memory = scripted(1, fail="out_of_memory", at=2)
    memory = scripted(1, fail="memory_error", at=3)
    died_once = scripted(1, fail="die", at=2, times=1)
    died = scripted(1, fail="die", at=3)
    plan = sweep_of(good[0], raised, gpu_memory, good[1], died_once, left, memory, died, good[2])
    told = Told()
    results = run(plan, storage, told).results
    expected = {
        **dict.fromkeys([trial.id for trial in (*good, died_once)], Status.COMPLETED),
        **dict.fromkeys([trial.id for trial in (raised, left, died)], Status.FAILED),
        **dict.fromkeys([trial.id for trial in (gpu_memory, memory)], Status.OUT_OF_MEMORY),
    }
    assert {trial: result.status for trial, result in results.items()} == expected
    # Readings that came before the end are kept, with the reason.
    assert [len(results[trial.id].history) for trial in (raised, gpu_memory, memory, died)] == [1, 1, 2, 2]
    assert (results[raised.id].reason or "").startswith("ValueError: as the script says (scripted.py, line ")
    assert "scripted.py" in (results[raised.id].details or "")
    # A death is retried from the checkpoint, not from the start; what was raised is not retried.
    assert [attempt["resumed_at"] for attempt in attempts(storage, died_once.id)] == [0, 1]
    assert [attempt["resumed_at"] for attempt in attempts(storage, died.id)] == [0, 2, 2]
    assert [report.step for report in results[died_once.id].history] == [1, 2, 3]
    assert all(len(attempts(storage, trial.id)) == 1 for trial in (*good, raised, left, gpu_memory, memory))
    # Everyone was told of everything once, in order, and the results are on the storage.
    for trial in plan.trials:
        events = [event[0] for event in told.events if event[1] == trial.id]
        reports = ["report"] * len(results[trial.id].history)
        assert events == ["started", *reports, "ended"]
        stored = TrialResult.model_validate_json(storage.read_sealed(trial_file(trial.id, "result.json")))
        assert stored == results[trial.id]
    assert not nothing_left()


def test_a_failing_rank_hangs_neither_its_peer_nor_the_driver(storage: Storage) -> None:
    def pair(seed: int, **script: int | str) -> Trial:
        return scripted(seed, num_workers=2, collective=True, **script)

    good = [pair(seed) for seed in range(3)]
    raised = pair(1, fail="raise", at=2, rank=1)
    memory = pair(1, fail="out_of_memory", at=2, rank=0)
    died_once = pair(1, fail="die", at=2, rank=1, times=1)
    plan = sweep_of(good[0], good[1], raised, memory, died_once, good[2])
    results = run(plan, storage).results
    assert [results[trial.id].status for trial in plan.trials] == [
        Status.COMPLETED,
        Status.COMPLETED,
        Status.FAILED,
        Status.OUT_OF_MEMORY,
        Status.COMPLETED,
        Status.COMPLETED,
    ], [(results[trial.id].reason, results[trial.id].details) for trial in plan.trials]
    reason = results[raised.id].reason or ""
    assert reason.startswith("ValueError: as the script says (scripted.py, line ")
    assert reason.endswith(" (on worker 1)")
    for rank in (0, 1):
        assert [attempt["resumed_at"] for attempt in attempts(storage, died_once.id, rank)] == [0, 1]
        # The same processes serve one trial after another, until one of them is lost.
        assert pids(storage, good[0], rank) == pids(storage, good[1], rank) == pids(storage, raised, rank)
        assert pids(storage, raised, rank) != pids(storage, memory, rank)
    assert not nothing_left()


@pytest.mark.nightly
def test_a_trial_that_hangs_is_ended_with_the_place_where_it_hung(storage: Storage) -> None:
    hangs = scripted(0, num_workers=2, collective=True, fail="hang", at=2, rank=1)
    good = scripted(1, num_workers=2, collective=True)
    results = run(sweep_of(hangs, good, no_progress_minutes=0.1), storage).results
    assert results[good.id].status is Status.COMPLETED
    ended = results[hangs.id]
    assert (ended.status, len(ended.history)) == (Status.FAILED, 1)
    assert (ended.reason or "").startswith("no step for 6 s, so it was ended; it was at File ")
    assert "resources.no_progress_minutes" in (ended.reason or "")
    assert "scripted.py" in (ended.details or "")
    assert len(attempts(storage, hangs.id)) == 1  # it would hang again
    assert not nothing_left()


@pytest.mark.nightly
def test_workers_that_have_grown_are_renewed_between_two_trials_which_is_no_failure(storage: Storage) -> None:
    first, after, last = (scripted(seed, num_workers=2) for seed in (0, 2, 3))  # both CPUs: one gang runs them all
    worn = scripted(1, num_workers=2, worn=True)
    results = run(sweep_of(first, worn, after, last), storage).results
    assert {result.status for result in results.values()} == {Status.COMPLETED}
    assert pids(storage, first) == pids(storage, worn)
    assert len(set(pids(storage, worn) + pids(storage, after))) == 2
    assert pids(storage, after) == pids(storage, last)  # of one attempt each
    assert not nothing_left()


@pytest.mark.parametrize(
    "victim",
    [
        ("ray::TrainController",),
        pytest.param(("ray::Gang", "ray::ResourceTrainable"), marks=pytest.mark.nightly),
    ],
)
def test_a_lost_gang_gives_its_workers_room_back(storage: Storage, victim: tuple[str, ...]) -> None:
    """Both workers fill the machine: what a dead owner keeps reserved, nobody else can have."""
    trial = scripted(0, num_workers=2, collective=True, sleep_s=0.5)

    class Murderer(Told):
        def report(self, trial_id: str, report: Report) -> None:
            if report.step == 1:
                (process,) = (child for child in children() if name_of(child).startswith(victim))  # busy or idle
                process.kill()
            super().report(trial_id, report)

    told = Murderer()
    results = run(sweep_of(trial), storage, told).results
    assert results[trial.id].status is Status.COMPLETED
    assert len(attempts(storage, trial.id)) == 2
    assert [event[2] for event in told.events if event[0] == "report"] == [1, 2, 3]
    assert not nothing_left()


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def name_of(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:  # it has just ended
        return ""


@pytest.mark.nightly
def test_gangs_of_different_sizes_make_room_for_one_another(storage: Storage) -> None:
    small = [scripted(seed, sleep_s=0.5) for seed in range(4)]
    large = [scripted(seed, num_workers=2, collective=True) for seed in range(2)]
    results = run(sweep_of(small[0], large[0], *small[1:], large[1]), storage).results
    assert {result.status for result in results.values()} == {Status.COMPLETED}
    assert [results[trial.id].environment["num_workers"] for trial in large] == ["2", "2"]
    # Two CPUs: two gangs of one worker side by side, then one gang of two.
    assert len({pids(storage, trial)[0] for trial in small}) == 2
    assert max(attempts(storage, trial.id)[0]["time"] for trial in small) < min(
        attempts(storage, trial.id)[0]["time"] for trial in large
    )
    assert not nothing_left()


@pytest.mark.nightly
def test_fifty_trials_stopped_early_leave_nothing_behind(storage: Storage) -> None:
    trials = [
        scripted(0, readings=4, quality=1.0),
        *(scripted(n, readings=4, quality=1 / (n + 1)) for n in range(1, 56)),
    ]
    stopping = EarlyStopping(grace_fraction=0.25, reduction_factor=4)
    # Each is worse than those before it: of equals, none is behind the others.
    run(sweep_of(trials[0], early_stopping=stopping), storage)
    told = Told()
    outcome = run(sweep_of(*trials, early_stopping=stopping), storage, told)
    assert not nothing_left()
    assert outcome.found == (trials[0].id,)
    stopped = [result for result in outcome.results.values() if result.status is Status.STOPPED_EARLY]
    assert len(stopped) >= 50
    for result in stopped:
        assert result.history[-1].examples < 4000
        assert not storage.exists(checkpoint_file(result.id))
    assert sum(event[0] == "ended" for event in told.events) == len(trials)


def test_variants_follow_their_parent_and_have_the_machine_to_themselves(storage: Storage) -> None:
    parents = [scripted(seed, quality=0.1 * seed, sleep_s=0.1) for seed in range(3)]
    late = scripted(3, sleep_s=0.3)
    plan = sweep_of(*parents, late, pending=[pending(parents, chain_length=length) for length in range(3)])
    results = run(plan, storage).results
    variants = [result for result in results.values() if result.kind == "variant"]
    assert len(variants) == 3
    assert {result.parent for result in variants} == {parents[2].id}
    assert {result.status for result in results.values()} == {Status.COMPLETED}
    spans = {}
    for trial in results:
        first = attempts(storage, trial)[0]["time"]
        spans[trial] = first, first + 3 * float(results[trial].config.task.options.get("sleep_s", 0.0))
    for variant in variants:
        begin, end = spans[variant.id]
        assert all(other[1] <= begin or end <= other[0] for name, other in spans.items() if name != variant.id)


def earnest(num_workers: int) -> Trial:
    """A real baseline, small."""
    training = Training(
        batch_size=64,
        micro_batch_size=64 // num_workers,
        num_workers=num_workers,
        learning_rate=0.05,
        optimizer=Sgd(momentum=0.9),
        budget=Budget(unit="steps", amount=20),
        evaluations=2,
    )
    config = BaselineConfig(task=TaskConfig(name="digits_cnn", data="data", code="code"), training=training)
    return Trial(trial_id(config), config, "as written")


def test_a_trial_is_the_same_to_the_bit_after_one_that_turned_every_setting(tmp_path: Path) -> None:
    trial = earnest(num_workers=2)  # of two CPUs: there is one gang only
    before = scripted(0, num_workers=2, tamper=True)
    after = scripted(1, num_workers=2)
    results, weights = [], []
    for name, plan in (("alone", sweep_of(trial)), ("between", sweep_of(before, trial, after))):
        storage = Storage(str(tmp_path / name))
        ended = run(plan, storage).results
        assert [(one.status, one.reason, one.details) for one in ended.values() if one.status != "completed"] == []
        results.append(ended[trial.id])
        content = io.BytesIO(storage.read(trial_file(trial.id, "weights.pt")))
        weights.append(torch.load(content, weights_only=True))
    for rank in (0, 1):
        assert pids(storage, before, rank) == pids(storage, after, rank)  # the same processes did all three
    alone, between = (figures(result) for result in results)
    assert alone == between
    assert len(alone) > 10
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.nightly
def test_memory_that_runs_out_in_the_midst_is_met_by_a_new_group_with_smaller_pieces(storage: Storage) -> None:
    """On one of two workers, in the tenth of its steps; with local SGD, where nobody looks beforehand, in the first."""
    trials = []
    for after_steps, sync_every_steps in ((10, None), (0, 5)):
        options = {"most_rows": 16, "rank": 1, "after_steps": after_steps}
        task = TaskConfig(name="tests.support.hungry:Hungry", options=options, data="data", code="code")
        settings = earnest(num_workers=2).config.training.model_copy(update={"sync_every_steps": sync_every_steps})
        config = BaselineConfig(task=task, training=settings)
        trials.append(Trial(trial_id(config), config, "as written"))
    results = run(sweep_of(*trials), storage).results
    for trial in trials:
        result = results[trial.id]
        assert result.status is Status.COMPLETED, result.details
        assert result.metrics["micro_batch_size"].value == 16  # of 32
        assert "divided into 2 micro-batches of 16 on each worker instead of 1 of 32" in result.warnings[0]
        assert [report.step for report in result.history] == [2, 3, 5, 10, 20]
        left = storage.names(f"trials/{trial.id}")
        assert not [name for name in left if name.startswith("checkpoint")]
    assert not nothing_left()


def figures(result: TrialResult) -> dict[str, float]:
    """All of a result's figures that are not times."""
    assert result.status is Status.COMPLETED
    readings = {f"{name} at {r.step}": value for r in result.history for name, value in r.metrics.items()}
    last = {name: estimate.value for name, estimate in result.metrics.items()}
    return {name: value for name, value in (readings | last).items() if "second" not in name}


def test_a_trial_that_never_fits_is_refused_before_anything_runs(storage: Storage) -> None:
    told = Told()
    with pytest.raises(NeverFitsError, match="num_workers to at most 2"):
        run(sweep_of(scripted(0), scripted(1, num_workers=4)), storage, told)
    assert told.events == []


def test_an_error_of_an_observer_ends_the_sweep_and_leaves_nothing(storage: Storage) -> None:
    class FullDisk(Told):
        def report(self, trial_id: str, report: Report) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run(sweep_of(scripted(0), scripted(1)), storage, FullDisk())
    assert not nothing_left()


class Listening(Told):
    """Notes, at each reading, where processes of this machine's Ray and their workers listen for others."""

    def __init__(self) -> None:
        super().__init__()
        self.open: set[tuple[str, str]] = set()

    def report(self, trial_id: str, report: Report) -> None:
        super().report(trial_id, report)
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                for connection in process.net_connections("inet"):
                    address = connection.laddr.ip.removeprefix("::ffff:")
                    if connection.status == psutil.CONN_LISTEN and not ip_address(address).is_loopback:
                        self.open.add((" ".join(process.cmdline())[:60], address))


def test_workers_that_meet_do_not_listen_to_the_network(storage: Storage) -> None:
    told = Listening()
    run(sweep_of(scripted(0, num_workers=2, collective=True, sleep_s=0.5)), storage, told)
    assert told.open == set()
