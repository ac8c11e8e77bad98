"""Two workers with unequal memory come to one answer together, and divide a batch anew together."""

import json
import subprocess
import sys

import pytest

MIB, GIB = 2**20, 2**30


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """The findings of the first worker and those of the second, in what takes seconds."""
    return found_by_two(tmp_path_factory.mktemp("probing"), "by_day")


@pytest.fixture(scope="module")
def probing_workers(tmp_path_factory):
    """Theirs in whole probes: each size is tried in a fresh process of each worker."""
    return found_by_two(tmp_path_factory.mktemp("probing"), "at_night")


def found_by_two(folder, part):
    command = [sys.executable, "-W", "error", "-m", "tests.support.probing"]
    processes = [
        subprocess.Popen([*command, str(rank), str(folder), part], stderr=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    try:
        errors = [process.communicate(timeout=500)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize(("case", "true"), [("unequal", 3 * GIB // MIB), ("unequal rows", 15 * GIB // (3 * MIB))])
def test_the_smallest_device_decides_for_all(workers, case, true):
    first, second = (worker[case] for worker in workers)
    assert first == second  # the same sizes were asked for, in the same order
    assert 0.95 * true <= first["found"] <= true


def test_a_failure_of_one_worker_is_everybodys(workers):
    assert [worker["failing"] for worker in workers] == ["probing failed: no such file (on worker 1)"] * 2


@pytest.mark.nightly
def test_real_processes_agree_on_memory_and_on_time(probing_workers):
    first, second = (worker["real"] for worker in probing_workers)
    assert first["status"] == "completed", (first["reason"], first["details"])
    assert first == second
    figures = first["metrics"]
    assert figures["memory_capacity_bytes"]["value"] == GIB
    assert figures["largest_micro_batch_size"]["value"] == 64
    assert "max_micro_batch_size 64" in figures["largest_micro_batch_size"]["note"]
    assert "step_seconds_micro_batch_128" not in figures
    for size in (8, 64):
        step, rate = figures[f"step_seconds_micro_batch_{size}"], figures[f"examples_per_second_micro_batch_{size}"]
        assert step["low"] <= step["value"] <= step["high"]
        assert rate["value"] == pytest.approx(2 * size / step["value"])


@pytest.mark.nightly
def test_real_processes_on_two_machines_meet_too(probing_workers):
    first, second = (worker["apart"] for worker in probing_workers)
    assert first == second
    assert first["status"] == "completed", first["reason"]
    assert "step_seconds_micro_batch_2" in first["figures"]


@pytest.mark.nightly
def test_memory_that_runs_out_in_a_probe_of_several_workers_is_no_failure(probing_workers):
    first, second = (worker["hungry"] for worker in probing_workers)
    assert first == second
    assert first["status"] == "completed", first["reason"]
    assert first["metrics"]["largest_micro_batch_size"] == 2
    assert first["metrics"]["probe_out_of_memory_errors"] == 1


@pytest.mark.parametrize("case", range(3))
def test_a_batch_that_does_not_fit_one_worker_is_divided_anew_on_both(workers, case):
    first, second = (worker["resplit"][case] for worker in workers)
    assert first == second
    assert first["status"] == "completed"
    assert (first["micro"], first["accumulation"]) == (6, 4)
    assert first["examples"] == [48, 96, 144, 240, 480]
    assert "divided into 4 micro-batches of 6 on each worker" in first["warnings"][0]
