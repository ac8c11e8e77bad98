"""Which trial is admitted when, played without Ray: a clockwork ends trials in any order."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.search import Searcher

from orchestrator.running import searcher
from orchestrator.running.gang import Assignment
from orchestrator.running.ledger import Ledger
from orchestrator.running.resources import ClusterNode, Need, fits, need_of
from orchestrator.running.searcher import Admission, next_to_admit
from orchestrator.sweep.plan import Plan, Stage
from tests.support.scripted import Told, pending, result_of, scripted, sweep_of
from trainables.config.trial import BaselineConfig, trial_id
from trainables.results import Status
from trainables.storage import Storage
from trainables.worker.ray_worker import WorkerGroupConfig

LAPTOP = (ClusterNode(2, 0),)


class Play:
    """Stands in for Tune: asks for trials, and ends them as it is told."""

    def __init__(
        self, plan: Plan, folder: Path, nodes: tuple[ClusterNode, ...] = LAPTOP, at_a_time: int | None = None
    ) -> None:
        self.ledger = Ledger(plan, Storage(str(folder)), Told())
        self.ledger.load()
        cpus = plan.sweep.resources.cpus_per_worker
        template = WorkerGroupConfig(
            num_workers=1, cpus_per_worker=cpus, gpus_per_worker=0, storage=str(folder), scratch=""
        )
        self.admission = Admission(self.ledger, nodes, template, at_a_time)
        self.nodes = nodes
        self.running: dict[str, Assignment] = {}  # Tune's id -> what was assigned
        self.order: list[str] = []

    def admit(self) -> bool:
        """Ask once; whether there was a trial."""
        name = f"tune-{len(self.order)}"
        suggested = self.admission.suggest(name)
        if suggested is None or suggested == Searcher.FINISHED:
            return False
        self.running[name] = Assignment.model_validate_json(suggested["assignment"])
        self.order.append(self.running[name].trial)
        return True

    def end(self, name: str, status: Status = Status.COMPLETED) -> None:
        trial = self.ledger.trials[self.running.pop(name).trial]
        if status is Status.COMPLETED:
            self.ledger.ended(result_of(trial, 0.5))
        else:
            self.ledger.ended_as(trial.id, status, "as played")
        self.admission.on_trial_complete(name)

    @property
    def is_finished(self) -> bool:
        return self.ledger.is_complete and self.admission.suggest("one more") == Searcher.FINISHED


def test_as_many_trials_run_as_the_cluster_has_room_for(tmp_path: Path) -> None:
    play = Play(sweep_of(*(scripted(seed) for seed in range(5))), tmp_path)
    assert [play.admit() for _ in range(3)] == [True, True, False]
    play.end("tune-0")
    assert [play.admit() for _ in range(2)] == [True, False]


def test_no_more_trials_run_at_a_time_than_the_sweep_allows(tmp_path: Path) -> None:
    play = Play(sweep_of(*(scripted(seed) for seed in range(4))), tmp_path, (ClusterNode(8, 0),), at_a_time=2)
    assert [play.admit() for _ in range(3)] == [True, True, False]
    play.end("tune-1")
    assert [play.admit() for _ in range(2)] == [True, False]


def test_trials_of_one_shape_come_together(tmp_path: Path) -> None:
    trials = [scripted(seed, num_workers=1 + seed % 2) for seed in range(6)]
    play = Play(sweep_of(*trials), tmp_path, (ClusterNode(1, 0), ClusterNode(1, 0)))
    while play.admit() or play.running:
        if play.running:
            play.end(next(iter(play.running)))
    workers = [play.ledger.trials[trial].config.training.num_workers for trial in play.order]
    assert workers == [1, 1, 1, 2, 2, 2]
    assert play.order == [trial.id for trial in sorted(trials, key=lambda trial: trial.config.training.num_workers)]


def test_the_gang_is_told_how_many_workers_the_trial_wants(tmp_path: Path) -> None:
    play = Play(sweep_of(scripted(num_workers=2), cpus_per_worker=3), tmp_path, (ClusterNode(8, 2),))
    assert play.admit()
    group = play.running["tune-0"].group
    assert (group.num_workers, group.cpus_per_worker, group.gpus_per_worker) == (2, 3, 1)


def test_a_variant_waits_for_its_parent_and_for_the_node_to_be_free(tmp_path: Path) -> None:
    trials = [scripted(seed) for seed in range(3)]
    play = Play(sweep_of(*trials, pending=[pending(trials[:2], chain_length=n) for n in (0, 1)]), tmp_path)
    assert [play.admit() for _ in range(3)] == [True, True, False]
    play.end("tune-0")
    play.end("tune-1")
    assert play.admit()
    assert play.order[-1] == trials[2].id
    assert not play.admit()  # the variants exist now, but something runs
    play.end("tune-2")
    assert play.admit()
    assert play.ledger.trials[play.order[-1]].config.kind == "variant"
    assert not play.admit()  # one has the node to itself
    play.end("tune-3")
    assert play.admit()
    assert not play.is_finished
    play.end("tune-4")
    assert play.is_finished


def test_the_end_comes_at_once_when_everything_was_there(tmp_path: Path) -> None:
    plan = sweep_of(scripted(0))
    play = Play(plan, tmp_path)
    play.admit()
    play.end("tune-0")
    assert Play(plan, tmp_path).is_finished


def test_a_confirmation_has_the_one_node_to_itself(tmp_path: Path) -> None:
    """What is timed there is the verdict."""
    trials = [replace(scripted(seed), stage=Stage.CONFIRMATION) for seed in range(2)]
    play = Play(sweep_of(*trials), tmp_path, (ClusterNode(4, 0),))
    assert play.admit()
    assert not play.admit()
    several = Play(sweep_of(*trials), tmp_path, (ClusterNode(4, 0), ClusterNode(4, 0)))
    assert several.admit()
    assert several.admit()


@given(st.integers(0, 10_000))
def test_every_trial_runs_once_and_never_more_at_a_time_than_fit(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - not for secrets
    trials = [scripted(i, num_workers=draw.choice([1, 1, 2])) for i in range(draw.randrange(1, 7))]
    waiting = [pending(draw.sample(trials, draw.randrange(1, len(trials) + 1)), chain_length=n) for n in range(2)]
    nodes = tuple(ClusterNode(draw.randrange(2, 5), 0) for _ in range(draw.randrange(1, 3)))
    endings = [Status.COMPLETED, Status.COMPLETED, Status.FAILED, Status.STOPPED_EARLY]
    with tempfile.TemporaryDirectory() as folder:
        play = Play(sweep_of(*trials, pending=waiting), Path(folder), nodes)
        while not play.is_finished:
            while play.admit():
                running = [play.ledger.trials[one.trial].config for one in play.running.values()]
                assert fits([need_of(config, nodes, 1).claim for config in running], nodes)
            assert play.running, "nothing runs, nothing is admitted, and it is not the end"
            play.end(draw.choice(sorted(play.running)), draw.choice(endings))
        results = play.ledger.results
        assert set(results) == set(play.ledger.trials)
        assert sorted(play.order) == sorted(t for t in results if results[t].status is not Status.PARENT_FAILED)


@pytest.mark.parametrize("count", [2000])
def test_asking_stays_cheap_in_a_large_sweep(tmp_path: Path, count: int) -> None:
    play = Play(sweep_of(*(scripted(seed) for seed in range(count))), tmp_path)
    assert [play.admit(), play.admit()] == [True, True]
    start = time.process_time()
    for _ in range(10):
        assert not play.admit()
    assert (time.process_time() - start) / 10 < 0.1  # Tune asks at every turn of its loop


def test_what_a_trial_wants_is_worked_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And asking looks at one trial of each kind of need: a sweep of thousands is admitted in linear time."""
    worked_out, looked_at = Counter[str](), []

    def counted(config: BaselineConfig, *rest: object) -> Need:
        worked_out[trial_id(config)] += 1
        return need_of(config, *rest)  # type: ignore[arg-type]

    def watched(waiting: Sequence[Need], *rest: object) -> int:
        looked_at.append(len(waiting))
        return next_to_admit(waiting, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(searcher, "need_of", counted)
    monkeypatch.setattr(searcher, "next_to_admit", watched)
    trials = [scripted(seed, num_workers=1 + seed % 2) for seed in range(60)]
    play = Play(sweep_of(*trials), tmp_path, (ClusterNode(4, 0),))
    while not play.is_finished:
        while play.admit():
            pass
        play.end(next(iter(play.running)))
    assert set(worked_out.values()) == {1}
    assert max(looked_at) == 2


# -- nodes that go ----------------------------------------------------------------------------------------------------


def test_what_waits_for_a_node_that_is_gone_keeps_nothing_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Play(
        sweep_of(scripted(0, num_workers=4), *map(scripted, range(1, 4))),
        tmp_path,
        (ClusterNode(2, 0), ClusterNode(2, 0)),
    )
    assert play.admit()  # it has all of both nodes
    assert not play.admit()
    monkeypatch.setattr(searcher, "cluster_nodes", lambda: (ClusterNode(2, 0),))
    play.admission.refresh()  # and waits, now that one is gone
    assert play.admit()
    assert play.admit()
    assert not play.admit()
    assert play.admission.has_room()
    for name in list(play.running)[1:]:
        play.end(name)
    assert play.admit()
    play.end(list(play.running)[1])
    assert not play.admission.has_room()  # for the first, which alone is left
    monkeypatch.setattr(searcher, "cluster_nodes", lambda: (ClusterNode(2, 0), ClusterNode(2, 0)))
    play.admission.refresh()
    assert play.admission.has_room()


def test_a_sweep_that_began_on_gpus_does_not_go_on_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Play(sweep_of(scripted(0)), tmp_path, (ClusterNode(2, 0), ClusterNode(2, 1)))
    monkeypatch.setattr(searcher, "cluster_nodes", lambda: (ClusterNode(2, 0),))
    play.admission.refresh()
    assert not play.admit()
    assert not play.admission.has_room()
