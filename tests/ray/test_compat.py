"""Names that are private to Ray: each does what it is used for. Where one fails, the compat module says who uses it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import ray
import ray._private.worker
from ray._private import ray_constants, services, utils

from orchestrator import compat
from tests.support.one_ray import local_ray
from trainables.worker import compat as of_workers


@pytest.fixture(scope="module")
def connected() -> Iterator[None]:
    with local_ray():
        yield


def test_ray_leaves_signals_alone_in_the_block_only() -> None:
    before = (ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER, utils.set_sigterm_handler)
    with compat.signals_left_alone():
        assert ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER is True
        assert utils.set_sigterm_handler is not before[1]
    assert (ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER, utils.set_sigterm_handler) == before


def test_daemons_are_started_in_a_group_of_their_own_in_the_block_only() -> None:
    before = (services.ConsolePopen, ray_constants.ENABLE_RAY_CLUSTER)
    with compat.daemons_in_their_own_group():
        assert ray_constants.ENABLE_RAY_CLUSTER is False
        process = services.ConsolePopen(["sleep", "60"])
        try:
            assert os.getpgid(process.pid) == process.pid
        finally:
            process.kill()
            process.wait()
    assert (services.ConsolePopen, ray_constants.ENABLE_RAY_CLUSTER) == before


def test_what_a_ray_here_would_have_is_known_before_it_is_started() -> None:
    found = compat.resources_of_this_machine(3, "127.0.0.1")
    assert found.num_cpus == 3
    assert found.num_gpus >= 0
    assert isinstance(found.labels or {}, dict)
    assert compat.cpus_of_the_container() > 0


def test_a_token_that_is_there_since_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    compat.forget_token()
    assert AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    compat.forget_token()


def test_the_last_cluster_is_an_address_or_nothing() -> None:
    assert isinstance(compat.last_cluster_address(), str)


def test_a_worker_reads_what_the_driver_has_put(connected: None) -> None:
    compat.put_value("compat", "handed over", "tests")
    assert of_workers.value_of("compat", "tests") == b"handed over"
    compat.delete_value("compat", "tests")
    assert of_workers.value_of("compat", "tests") is None


def test_own_daemons_are_known_while_ray_is_connected(connected: None) -> None:
    node = compat.own_node()
    assert node is not None
    assert node.dead_processes() == []
    assert isinstance(node.is_head(), bool)


def test_placement_groups_say_who_created_them(connected: None) -> None:
    group = ray.util.placement_group([{"CPU": 1}])
    (found,) = [each for each in compat.placement_groups() if each.placement_group_id.hex() == group.id.hex()]
    assert not compat.is_removed(found)
    assert ray.ActorID(found.creator_actor_id).is_nil()  # it was no actor, but this driver
    assert isinstance(found.creator_actor_dead, bool)
    ray.util.remove_placement_group(group)


def test_worker_logs_are_shown_or_not() -> None:
    before = ray._private.worker._worker_logs_enabled
    try:
        compat.show_worker_logs(not before)
        assert ray._private.worker._worker_logs_enabled is not before
    finally:
        compat.show_worker_logs(before)


def test_a_gang_hears_of_its_workers_through_the_callbacks_of_ray_train() -> None:
    hooks = {"before_worker_group_start", "on_worker_group_start", "after_worker_group_poll_status"}
    assert hooks <= set(dir(of_workers.WorkerGroupCallback))
    assert of_workers.WorkerGroupPollStatus(worker_statuses={}).errors == {}
    assert issubclass(of_workers.WorkerGroupStartupFailedError, Exception)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray's own settings
def test_ray_train_starts_the_helpers_that_a_gang_leaves_out() -> None:
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    started = {type(each) for each in DataParallelTrainer(lambda: None)._create_default_callbacks()}
    assert {of_workers.DatasetsCallback, of_workers.PlacementGroupCleanerCallback} <= started
