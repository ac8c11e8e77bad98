"""Two workers train the model that one would: real processes, gloo, compared in float64."""

import subprocess
import sys

import pytest
import torch

from tests.support.training_samples import differing
from trainables.training.gradient_noise import HALF_LIFE
from trainables.training.noise_scale import NoiseScaleMeter

CASES = [
    "plain",
    "ragged",
    "padded",
    "weighted",
    "averaged",
    "limits",
    "partly used",
    "routed",
    "routed, accumulated",
    "synced",
    "lazy",
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """{(num_workers, rank): what that process found}, of one process alone, of two together and of three."""
    folder = tmp_path_factory.mktemp("pair")
    workers = [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.support.pair", str(rank), str(number), str(folder)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, rank in workers
    ]
    errors = [process.communicate(timeout=500)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(workers), "\n".join(errors)
    return {pair: torch.load(folder / f"{pair[0]}-{pair[1]}.pt", weights_only=True) for pair in workers}


@pytest.mark.parametrize("case", CASES)
def test_two_workers_equal_one_after_twenty_steps(results, case):
    """`ragged`: rows with different numbers of items; `padded`: lists of unequal length, padded; `weighted`: these,
    with a training loss of their own; `limits`: with micro-batches and clipping; `partly used`: some parameters
    take no part in the loss; `routed`: some only in some steps; `synced`: batch norm over all workers, with its
    running statistics.
    """
    alone = results[1, 0][case]["weights"]
    for rank in (0, 1):
        together = results[2, rank][case]["weights"]
        for name, value in alone.items():
            assert value.dtype == (torch.int64 if name.endswith("num_batches_tracked") else torch.float64)
            torch.testing.assert_close(together[name], value, rtol=0, atol=1e-6)
            torch.testing.assert_close(together[name], value, rtol=0, atol=1e-12)  # in truth


@pytest.mark.parametrize("case", CASES)
def test_readings_are_those_of_all_workers(results, case):
    alone = results[1, 0][case]["history"]
    for rank in (0, 1):
        for one, other in zip(alone, results[2, rank][case]["history"], strict=True):
            assert (one["step"], one["examples"]) == (other["step"], other["examples"])
            del one["metrics"]["examples_per_second"], other["metrics"]["examples_per_second"]
            assert other["metrics"] == pytest.approx(one["metrics"], rel=1e-9)
            one["metrics"]["examples_per_second"] = other["metrics"]["examples_per_second"] = 0.0


def test_evaluation_sees_every_row_once_also_with_more_workers_than_rows(results):
    alone = results[1, 0]["evaluated"]
    for rank in (0, 1):
        for case, figures in results[2, rank]["evaluated"].items():
            for name, estimate in figures.items():
                assert estimate["n"] == alone[case][name]["n"]
                assert estimate["value"] == pytest.approx(alone[case][name]["value"], rel=1e-6)


@pytest.mark.parametrize("case", ["whole", "resumed", "flagged"])
def test_all_workers_end_with_the_same_bits(results, case):
    """Weights, and also batch norm's running statistics, which each worker moves by its own rows in a step."""
    assert differing(results[2, 0][case]["weights"], results[2, 1][case]["weights"]) == []


def test_a_group_that_was_killed_and_resumed_ends_with_the_same_bits(results):
    for rank in (0, 1):
        assert results[2, rank]["whole"]["steps"] == [1, 2, 3, 5, 10, 15, 20]
        assert results[2, rank]["resumed"]["steps"] == [20]
        assert differing(results[2, rank]["whole"]["weights"], results[2, rank]["resumed"]["weights"]) == []


def test_three_workers_add_up_in_the_same_order_after_a_kill(results):
    for rank in range(3):
        assert differing(results[3, rank]["whole"]["weights"], results[3, rank]["resumed"]["weights"]) == []


@pytest.mark.parametrize("bad_rank", [0, 1])
def test_a_bad_loss_on_one_worker_ends_all_alike(results, bad_rank):
    for rank in (0, 1):
        assert results[2, rank]["diverged"][bad_rank] == {"step": 3, "is_nan": True}


def test_workers_agree_when_the_seconds_are_over(results):
    assert results[2, 0]["seconds"] == results[2, 1]["seconds"]
    assert len(results[2, 0]["seconds"]) == 4


def test_of_a_whole_trial_the_first_worker_keeps_the_model_and_all_have_its_figures(results):
    first, second = (results[2, rank]["trial"] for rank in (0, 1))
    assert first["steps"] == second["steps"] == [1, 2, 3, 5, 10]
    assert first["status"] == second["status"] == "completed"
    assert first["files"] == {"weights": "weights.pt", "model": "model.pt2"}
    assert second["files"] == {}
    judged = [name for name in second["metrics"] if name.startswith(("val_", "train_", "best_")) and "sec" not in name]
    assert len(judged) == 8
    assert {name: first["metrics"][name] for name in judged} == {name: second["metrics"][name] for name in judged}
    assert set(first["left"]) == {"weights.pt", "model.pt2"}


def test_the_noise_scale_is_that_of_local_and_reduced_gradients(results):
    """In closed form from each worker's own gradient; and measuring it changes no bit of the training."""
    one, other = (results[2, rank]["noise"]["gradient"] for rank in (0, 1))
    part = (one.square().sum() + other.square().sum()).item() / 2
    whole = ((one + other) / 2).square().sum().item()
    expected = NoiseScaleMeter(half_life=HALF_LIFE, dataset_rows=24)
    for _ in range(4):
        expected.add(part, whole, parts=2, batch_size=24)
    for rank in (0, 1):
        assert results[2, rank]["noise"]["state"] == pytest.approx(expected.state(), rel=1e-9)
        assert differing(results[2, rank]["noise"]["weights"], results[2, rank]["no noise"]["weights"]) == []
    assert results[2, 0]["noise"]["state"] == results[2, 1]["noise"]["state"]


def test_meeting_at_every_step_with_sgd_is_data_parallel_training(results):
    """With momentum too, whose buffers are averaged with the parameters."""
    for rank in (0, 1):
        together, apart = (results[2, rank]["local"][every]["weights"] for every in ("none", "1"))
        for name, value in together.items():
            torch.testing.assert_close(apart[name], value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", ["1", "plain 4", "4", "adam"])
def test_after_a_meeting_all_workers_hold_the_same_and_only_that_is_evaluated(results, case):
    one, other = (results[2, rank]["local"][case] for rank in (0, 1))
    assert differing(one["weights"], other["weights"]) == []
    assert torch.equal(one["evaluated"], other["evaluated"])
    assert one["norms"] == other["norms"]


def test_meeting_less_often_is_another_training(results):
    """All else being equal: plain SGD, whose workers met at every step or at every fourth."""
    every, fourth = (results[2, 0]["local"][name]["weights"]["0.weight"] for name in ("1", "plain 4"))
    assert not torch.allclose(every, fourth)


def test_local_sgd_resumes_with_the_same_bits(results):
    whole, resumed = results[2, 0]["local whole"], results[2, 0]["local resumed"]
    assert differing(whole["weights"], resumed["weights"]) == []
