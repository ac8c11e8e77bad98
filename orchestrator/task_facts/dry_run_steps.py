"""The steps of the dry run: the operations of a trial and its variants with a user's task, on a few rows.

baseline    build; a training step in each precision that the sweep asks for; judging of a full batch, of one that is
            not, and of rows that are likely to be odd; its state saved, loaded into a model built anew, and compared;
            data-parallel workers
file        the model copied, exported and judged as it will be measured

What each variant adds to them is in `dry_run_variants`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from orchestrator.diagnostics.task_needs import Requirements
from orchestrator.task_facts.data_preview import PREVIEW_ROWS
from orchestrator.task_facts.dry_run_errors import problem_of
from orchestrator.task_facts.sample_rows import OddRow
from trainables.compat import OptimizedModule
from trainables.config.optimizers import Sgd
from trainables.config.schedules import CustomSchedule
from trainables.config.training import Precision
from trainables.data.table import Table, unlike
from trainables.distributed.process_group import join_process_group, leave_process_group
from trainables.distributed.worker_context import CPU, WorkerContext
from trainables.error_text import first_line
from trainables.errors import ParetuneError
from trainables.measure.artifact import export_program, save_program
from trainables.measure.measure import of_first_rows
from trainables.measure.model_inputs import free_dims, model_inputs
from trainables.measure.plain_outputs import WithNames
from trainables.measure.read_back import ExportedFile
from trainables.process.isolation import seed_everything
from trainables.storage import Storage
from trainables.tasks.base import Batch, Task
from trainables.tasks.load import TaskError
from trainables.tasks.task_data import TaskData
from trainables.training.checkpoint import TrainingState, from_bytes
from trainables.training.data_parallel import data_parallel, task_objective
from trainables.training.evaluate import (
    ItemsError,
    autocast,
    in_eval_mode,
    item_losses,
    item_values,
    training_item_losses,
)
from trainables.training.model_building import complete
from trainables.training.optimizer import build_optimizer
from trainables.training.parameter_groups import rate_groups
from trainables.training.schedule import learning_rate_factor

DRY_RUN_LEARNING_RATE = 0.001  # of the one step: small, so that what it changes stays finite
CLOSE = {"rtol": 1e-3, "atol": 1e-5}
NO_WAY_BACK = (
    "'s model cannot be loaded again after its state was saved, so no training could go on after a kill and nothing "
    "be compressed; all that it computes with must be in its state_dict(), as parameters and buffers of one shape"
)


class NotTriedError(ParetuneError):
    """What went wrong may be this machine's or process's alone, so nothing is said of the task."""


class Attempt:
    """One task, with one combination of its options."""

    def __init__(
        self,
        task: Task,
        data: TaskData,
        odd: Callable[[str], tuple[OddRow, ...]],
        asked: Requirements,
        folder: Path,
    ) -> None:
        """`data`: the first rows of each set. `odd`: a set's other rows, by its name. `folder`: to write to."""
        self.task, self.data, self.odd, self.asked, self.folder = task, data, odd, asked, folder
        self.name = type(task).__name__
        self.model: nn.Module = nn.Identity()

    def baseline(self) -> None:
        """Raises TaskError for what would end a training, and NotTriedError."""
        with self.doing(".build_model() failed"):
            built = self._built()
        with self.doing(" failed on the first rows of its train data"):
            complete(built, self.task, self.data.train, CPU, self.asked.precisions[0])
            self.model = built
            optimizer = build_optimizer(Sgd(), built, DRY_RUN_LEARNING_RATE)
            for precision in self.asked.precisions:
                self._step(precision, optimizer)
        with self.doing("'s parameters cannot be trained as the sweep asks"):
            self._train_in_groups()
        for precision in self.asked.precisions:
            with self.doing(" failed on the first rows of its validation data"):
                self._judge(precision)
        for split, table in self._tables().items():
            self._judge_odd_rows(split, table)
        with self.doing(NO_WAY_BACK):
            self._load_again(TrainingState(self.model, optimizer, torch.amp.GradScaler("cpu", enabled=False)))
        if self.asked.num_workers > 1 and dist.is_gloo_available():
            with self.doing("'s model cannot be trained by several workers"), group_of_one():
                self._exchange_gradients(optimizer)

    def file(self) -> ExportedFile:
        """The exported model. Raises TaskError for what keeps it from being measured, and NotTriedError."""
        with self.doing(" cannot be compressed: its exported model failed on the first rows of its validation data"):
            batch = self.rows(self.data.validation, PREVIEW_ROWS)
            inputs = model_inputs(self.task, self.model.eval(), batch)
            program = export_program(self.model, inputs, free_dims(self.task, self.model, self.data.validation))
            exported = WithNames(program.module())
            with torch.no_grad():
                item_values(self.task, of_first_rows(self.task.forward(exported, batch), *[PREVIEW_ROWS] * 2), batch)
                self._judge_part_of_a_batch(exported, batch)
            stem = self.folder / str(len(list(self.folder.iterdir())))
            file = ExportedFile(model=f"{stem}.pt2", inputs=f"{stem}.inputs")
            torch.save([value.clone() for value in inputs], file.inputs)
            save_program(program, Path(file.model))
        return file

    # -- the steps ----------------------------------------------------------------------------------------------------

    def _built(self) -> nn.Module:
        seed_everything(0, 0, 0)
        model = self.task.build_model()
        if isinstance(model, OptimizedModule):
            said = f"{self.name}.build_model() returns torch.compile(model): call model.compile(), return model"
            raise ItemsError(said)
        return model.cpu()

    def _step(self, precision: Precision, optimizer: torch.optim.Optimizer) -> None:
        batch = self.rows(self.data.train, PREVIEW_ROWS)
        with autocast(precision, CPU):
            losses = training_item_losses(self.task, self.model.train(), batch)
        if not losses.requires_grad:
            method = "losses" if type(self.task).training_losses is Task.training_losses else "training_losses"
            raise ItemsError(f"{self.name}.{method}() does not depend on any parameter of the model")
        torch.autograd.backward(losses.sum())
        if any(one.grad is not None and one.grad.is_sparse for one in self.model.parameters()):
            raise ItemsError(f"{self.name}.build_model() gives sparse gradients: leave out sparse=True")
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _train_in_groups(self) -> None:
        """A step of every optimiser that is not like the one before, with every grouping of the parameters."""
        asked = self.asked
        for config, no_decay, layer_decay in product(asked.optimizers, asked.no_decay, asked.layer_decay):
            groups = rate_groups(self.model, self.task, no_decay, layer_decay)
            optimizer = build_optimizer(config, self.model, DRY_RUN_LEARNING_RATE, groups)
            if config.name not in ("sgd", "adam", "adamw"):
                self._step(asked.precisions[0], optimizer)
        for schedule in asked.schedules:
            if isinstance(schedule, CustomSchedule):
                for progress in (0.0, 0.5, 1.0):
                    learning_rate_factor(schedule, progress)

    def _judge(self, precision: Precision) -> None:
        for rows in (PREVIEW_ROWS, PREVIEW_ROWS - 1, 1):  # of the last one that is not full there may be one
            batch = self.rows(self.data.validation, rows)
            with torch.no_grad(), autocast(precision, CPU):
                item_values(self.task, self.task.forward(self.model.eval(), batch), batch)

    def _judge_odd_rows(self, split: str, first: Table) -> None:
        rows = self.odd(split)
        for row in rows:
            if row.table.columns != first.columns:
                here, there = unlike(row.table, first)
                raise TaskError(
                    f"row {row.number:,} of {self.name}'s {split} data (counted from 0) has other shapes than the "
                    f"first: {here} and not {there}; pad or cut all rows to one shape"
                )
        for row in rows:
            where = f"row {row.number:,} of its {split} data (counted from 0), {row.why}"
            with self.doing(f" failed on {where}"), torch.no_grad(), autocast(self.asked.precisions[0], CPU):
                batch = row.table.gather(np.arange(1))
                item_values(self.task, self.task.forward(self.model.eval(), batch), batch)

    def _load_again(self, state: TrainingState) -> None:
        before = self._losses_of(self.model)  # of several rows, so that a buffer of their number is seen
        saved = from_bytes(state.content(), CPU)
        model = self._built()
        complete(model, self.task, self.data.train, CPU, self.asked.precisions[0])
        model.load_state_dict(saved["model"])
        build_optimizer(Sgd(), model, DRY_RUN_LEARNING_RATE).load_state_dict(saved["optimizer"])
        again, loaded = self._losses_of(self.model), self._losses_of(model)
        if not torch.allclose(before, again, equal_nan=True, **CLOSE):
            return  # it draws numbers of its own, so nothing can be compared
        if not torch.allclose(before, loaded, equal_nan=True, **CLOSE):
            raise ItemsError(f"{self.name}{NO_WAY_BACK}: loaded into a model built anew, it gives other losses")

    def _losses_of(self, model: nn.Module) -> Tensor:
        batch = self.rows(self.data.validation, PREVIEW_ROWS)
        seed_everything(0, 0, 0)
        with torch.no_grad(), in_eval_mode(model), autocast(self.asked.precisions[0], CPU):
            return item_losses(self.task, self.task.forward(model, batch), batch).double()

    def _exchange_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        """As one of several workers does; the group is of one, which DistributedDataParallel does not know."""
        batch = self.rows(self.data.train, PREVIEW_ROWS)
        worker = WorkerContext(Storage(str(self.folder)), self.folder)
        look = (batch, worker, self.asked.precisions[0], optimizer)
        losses = data_parallel(
            self.model.train(), task_objective(self.task), *look, skips_parameters=self.task.skips_parameters
        )
        with autocast(self.asked.precisions[0], CPU):
            outputs = losses(batch)
        outputs.sum().backward()
        optimizer.zero_grad(set_to_none=True)

    def _judge_part_of_a_batch(self, exported: nn.Module, batch: Batch) -> None:
        """The last batch that is measured is filled up with other rows, whose outputs are cut away."""
        rows = PREVIEW_ROWS - 1
        part = {name: column[:rows] for name, column in batch.items()}
        alone = item_losses(self.task, self.task.forward(self.model.eval(), part), part)
        said = (
            f"{self.name} cannot be compressed: what it computes for a row depends on the other rows of its batch, and "
            "the last batch that a variant is measured on is filled up with rows that do not count: let the model give "
            "outputs of shape [rows, ...], each row's from that row alone, and relate rows in losses() and scores()"
        )
        try:
            cut = item_values(self.task, of_first_rows(self.task.forward(exported, batch), rows, PREVIEW_ROWS), part)
        except (RuntimeError, ValueError, IndexError) as error:
            raise ItemsError(f"{said} ({first_line(error)})") from error
        if cut["loss"].shape != alone.shape or not torch.allclose(cut["loss"], alone, equal_nan=True, **CLOSE):
            raise ItemsError(f"{said} (beside another row, its loss is another one)")

    # -- what they share ----------------------------------------------------------------------------------------------

    def _tables(self) -> Mapping[str, Table]:
        return {"train": self.data.train, "validation": self.data.validation, "test": self.data.test}

    def rows(self, table: Table, rows: int) -> Batch:
        """The first rows of a table, from the beginning again if it has fewer."""
        return table.gather(np.arange(rows) % table.n_rows)

    @contextmanager
    def doing(self, doing: str) -> Iterator[None]:
        """Raises what goes wrong meanwhile as TaskError, and NotTriedError where this machine may be to blame."""
        try:
            yield
        except TaskError:
            raise
        except Exception as error:
            problem = problem_of(self.name, doing, error, self.data.train.columns, self.data.train.left_out)
            if problem is None:
                raise NotTriedError from error
            raise TaskError(problem) from error


@contextmanager
def group_of_one() -> Iterator[None]:
    """A process group of this process alone, through which all that workers exchange goes all the same."""
    store = dist.HashStore()  # type: ignore[attr-defined] # public, and exported without its name
    join_process_group(CPU, 0, 1, store=store)
    try:
        yield
    finally:
        leave_process_group()
