"""Training within a chain, distillation, quantisation, on models small enough to know the answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.support.compressed import context, drained, of, size
from tests.support.training_samples import Regression, bits, differing, tables, training, worker
from trainables.compression.compress import CompressedModel, apply, compress, load_parent
from trainables.compression.fine_tune import Context, derive
from trainables.compression.quantize import quantize
from trainables.config.batching import steps_for
from trainables.config.compression import Distill, FineTune, Int8, Prune
from trainables.config.training import Budget
from trainables.config.trial import MeasureSettings, TaskConfig, VariantConfig
from trainables.data.table import Table
from trainables.measure.artifact import load_model, save_program
from trainables.results import Status, TrialResult
from trainables.storage import step_checkpoint_file, trial_file
from trainables.tasks.task_data import TaskData
from trainables.training.checkpoint import to_bytes
from trainables.training.loop import train


@pytest.mark.parametrize("stop_after", [1, 7, 8, 11])
def test_chain_that_was_stopped_goes_on_from_its_last_reading(tmp_path: Path, stop_after: int) -> None:
    """Stopped in the first or second method, or between them; the end has the bits of a chain that was not."""
    chain = (Prune(ratio=0.5, fine_tune=FineTune(budget_fraction=1.0)), Distill(width=1.0))
    here = context(tmp_path, evaluations=4)
    config = VariantConfig(task=TaskConfig(name="x", data="", code=""), parent="p", training=here.training, chain=chain)

    def start(trial: str):
        torch.manual_seed(0)
        made = CompressedModel(here.task.build_model())
        return made, apply(trial, config, here, made)

    whole, readings = start("whole")
    expected, _ = drained(readings)
    _, readings = start("parts")
    seen = [next(readings) for _ in range(stop_after)]
    readings.close()
    resumed, readings = start("parts")
    seen += drained(readings)[0]
    assert [report.step for report in seen] == [report.step for report in expected]
    assert [report.metrics["val_loss"] for report in seen] == [report.metrics["val_loss"] for report in expected]
    assert differing(bits(whole.model), bits(resumed.model)) == []
    assert [report.step for report in resumed.history] == [report.step for report in expected]
    assert here.worker.storage.exists(step_checkpoint_file("parts", 1))


# -- quantisation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["dynamic", "static"])
def test_share_of_converted_bytes_is_counted(mode: str, tmp_path: Path) -> None:
    """2,048 + 256 weights of 2,568 parameters with their biases; the outputs stay close."""

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 2)).eval()
    table = Table({"features": torch.randn(300, 16)})

    def forbidden() -> Table:
        raise AssertionError("test data must not be opened")

    data = TaskData(table, None, forbidden)  # type: ignore[arg-type]  # neither validation nor test data is needed
    quantized = quantize(model, Int8(mode=mode), of(model, data, ("features",), tmp_path))  # type: ignore[arg-type]
    assert quantized.mode == mode
    assert quantized.converted_fraction == pytest.approx((2048 + 256) / size(model))
    loaded = load_model(save_program(quantized.program, tmp_path / "model.pt2"))
    assert not [value for value in loaded.state_dict().values() if value.dtype.is_floating_point and value.ndim == 4]
    given_rows = torch.randn(64, 16)
    with torch.no_grad():
        expected, got = model(given_rows), loaded(given_rows)
    assert float((got - expected).norm() / expected.norm()) < 0.05
    assert all(isinstance(module.weight, nn.Parameter) for module in model if isinstance(module, nn.Linear))


# -- a measuring process that fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", Status.OUT_OF_MEMORY),
        ("torch.empty(1 << 60)", Status.OUT_OF_MEMORY),
        ("raise ValueError('memory of an old song')", Status.FAILED),
    ],
    ids=["killed", "refused", "another"],
)
def test_memory_that_runs_out_while_measuring_is_a_status_of_its_own(
    ending: str, status: Status, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's module, imported by the measuring process, ends it in one way or another."""
    (tmp_path / "ending.py").write_text(f"import os, signal, torch\n{ending}\n")
    monkeypatch.syspath_prepend(tmp_path)
    given = context(tmp_path)
    task = TaskConfig(name="ending:Task", data="none", code="none")
    config = VariantConfig(
        task=task, parent="p", training=given.training, chain=(), measure=MeasureSettings(device="cpu")
    )
    given.worker.storage.write(trial_file("p", "weights.pt"), to_bytes(given.task.build_model().state_dict()))
    (result,) = compress("trial", config, given.task, given.data, given.worker)
    assert isinstance(result, TrialResult)
    assert result.status is status, result.details
    assert result.reason
    assert result.files == {}


def test_int8_on_a_gpu_is_refused_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    given = context(tmp_path)
    config = VariantConfig(
        task=TaskConfig(name="none", data="none", code="none"),
        parent="none",
        training=given.training,
        chain=(FineTune(), Int8()),
        measure=MeasureSettings(device="cuda"),
    )
    (result,) = compress("trial", config, given.task, given.data, given.worker)
    assert isinstance(result, TrialResult)
    assert result.status is Status.FAILED
    assert "int8 runs on a CPU: `measure: {device: cpu}`" in (result.reason or "")


class Gridded(nn.Module):
    """One buffer was expanded, the other comes with the first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 1)
        self.register_buffer("grid", torch.meshgrid(torch.arange(3.0), torch.arange(2.0), indexing="ij")[0])

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "late"):
            self.register_buffer("late", torch.arange(float(x.shape[1])))
        outputs: Tensor = self.inner(x + self.late) + self.grid.mean()
        return outputs


def test_a_parent_is_loaded_whose_buffers_were_expanded_or_came_with_its_first_batch(tmp_path: Path) -> None:
    class Own(Regression):
        def build_model(self, width: float = 1.0) -> nn.Module:
            return Gridded()

    here = Context(Own(), tables(), training(16, 4), worker(tmp_path))
    trained = here.task.build_model()
    list(train(trained, here.task, here.data, here.training, here.worker))
    here.worker.storage.write(trial_file("p", "weights.pt"), to_bytes(trained.state_dict()))
    config = VariantConfig(
        task=TaskConfig(name="x", data="", code=""),
        parent="p",
        training=here.training,
        chain=(),
        measure=MeasureSettings(),
    )
    assert differing(bits(load_parent(config, here)), bits(trained)) == []


@given(
    st.sampled_from(["examples", "steps", "epochs"]),
    st.floats(0.5, 1e5),
    st.floats(1e-3, 10),
    st.integers(1, 64),
    st.integers(1, 4),
)
def test_part_of_a_budget_is_at_least_one_step_and_not_more_than_its_share(
    unit: str, amount: float, fraction: float, rows: int, workers: int
) -> None:
    parent = training(rows * workers, 1).model_copy(
        update={
            "budget": Budget(unit=unit, amount=amount),  # type: ignore[arg-type]
            "micro_batch_size": rows,
            "num_workers": workers,
        }
    )
    derived = derive(Context(Regression(), tables(64), parent, worker(Path("/nowhere"))), fraction, 0.1)
    steps = steps_for(derived.budget, derived.batch_size, 64)
    share = {"examples": amount / (rows * workers), "steps": amount, "epochs": amount * 64 / (rows * workers)}[unit]
    assert steps is not None
    assert 1 <= steps <= max(1.0, share * fraction + 1e-6)
    assert derived.batch_size == parent.batch_size == derived.micro_batch_size * derived.accumulation_steps
    assert derived.num_workers == 1
    assert derived.learning_rate == pytest.approx(0.1 * parent.learning_rate)
