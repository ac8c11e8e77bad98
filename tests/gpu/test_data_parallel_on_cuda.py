"""Workers on CUDA: two that share one device equal one alone, and what goes through NCCL as far as one device shows."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tests.support.training_samples import Regression, bits, build, differing, tables, training, worker
from trainables.config.optimizers import Adam
from trainables.training.data_parallel import data_parallel
from trainables.training.loop import train
from trainables.training.optimizer import build_optimizer

CASES = ["plain", "ragged", "limits", "partly used", "synced"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Any]:
    """{(num_workers, rank): what that process found}; the same as in tests/process, where it runs on a CPU."""
    folder = tmp_path_factory.mktemp("pair")
    workers = [(1, 0), (2, 0), (2, 1)]
    command = [sys.executable, "-m", "tests.support.pair"]
    processes = [
        subprocess.Popen([*command, str(rank), str(number), str(folder), "cuda"], stderr=subprocess.PIPE, text=True)
        for number, rank in workers
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], "\n".join(errors)
    return {pair: torch.load(folder / f"{pair[0]}-{pair[1]}.pt", weights_only=True) for pair in workers}


@pytest.mark.parametrize("case", CASES)
def test_two_workers_equal_one_after_twenty_steps(cuda: torch.device, results: Any, case: str) -> None:
    alone = results[1, 0][case]["weights"]
    for rank in (0, 1):
        for name, value in alone.items():
            assert value.is_cuda
            torch.testing.assert_close(results[2, rank][case]["weights"][name], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["", "local "])
def test_resumed_two_workers_end_with_the_same_bits(cuda: torch.device, results: Any, kind: str) -> None:
    for rank in (0, 1):
        whole, resumed = results[2, rank][f"{kind}whole"], results[2, rank][f"{kind}resumed"]
        assert differing(whole["weights"], resumed["weights"]) == []


def test_a_loss_that_is_not_finite_on_one_worker_ends_both(cuda: torch.device, results: Any) -> None:
    for rank in (0, 1):
        assert results[2, rank]["diverged"] == [{"step": 3, "is_nan": True}] * 2


def test_a_whole_trial_of_two_workers(cuda: torch.device, results: Any) -> None:
    first, second = results[2, 0]["trial"], results[2, 1]["trial"]
    assert first["status"] == second["status"] == "completed"
    assert first["steps"] == second["steps"]
    assert first["metrics"]["val_accuracy"] == second["metrics"]["val_accuracy"]
    assert "model.pt2" in first["left"]


# -- through NCCL, in a group of one: it wants a device for each worker ------------------------------------------------


@pytest.fixture
def nccl(cuda: torch.device) -> Iterator[None]:
    """A group of one."""
    torch.cuda.set_device(cuda)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    dist.init_process_group("nccl", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Recurrent(Regression):
    """The three features of a row as a sequence: cuDNN goes back through a recurrent network in training mode alone."""

    def build_model(self, width: float = 1.0) -> nn.Module:
        return LastOfSequence()


class LastOfSequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.read, self.predict = nn.LSTM(1, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, features: Tensor) -> Tensor:
        prediction: Tensor = self.predict(self.read(features.unsqueeze(2))[0][:, -1])
        return prediction


@pytest.mark.parametrize("task", [Regression(dropout=0.0), Recurrent()], ids=["batch norm", "recurrent"])
def test_gradients_that_travel_through_nccl_are_those_of_the_model(
    nccl: None, tmp_path: Path, cuda: torch.device, task: Regression
) -> None:
    plain, model = build(task).to(cuda), build(task).to(cuda)
    batch = {name: column.to(cuda) for name, column in tables().train.gather(torch.arange(24).numpy()).items()}
    objective = lambda model, batch: task.losses(task.forward(model, batch), batch)  # noqa: E731 - as the loop has it
    optimizer = build_optimizer(Adam(), model, 0.1)
    parallel = data_parallel(model, objective, batch, worker(tmp_path, device=cuda), "float32", optimizer)
    objective(plain, batch).mean().backward()
    parallel(batch).mean().backward()
    for one, other in zip(plain.parameters(), model.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad)


def test_one_worker_in_a_group_of_nccl_trains_as_without(nccl: None, tmp_path: Path, cuda: torch.device) -> None:
    ends = []
    for folder in ("one", "two"):
        model = build(Regression())
        list(train(model, Regression(), tables(), training(8, 20), worker(tmp_path / folder, device=cuda)))
        ends.append(bits(model))
    assert differing(*ends) == []
