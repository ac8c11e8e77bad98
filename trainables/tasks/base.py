"""The one interface a user writes: a task is a model, three sets of data, a loss and metrics.

    class Wine(Task):
        train, validation, test = "wine/train.parquet", "wine/validation.parquet", "wine/test.parquet"
        inputs = ("features",)
        metrics = {"accuracy": "max"}

        def build_model(self, width: float = 1.0) -> nn.Module: ...
        def losses(self, outputs, batch): return F.cross_entropy(outputs, batch["label"], reduction="none")
        def scores(self, outputs, batch): return {"accuracy": (outputs.argmax(1) == batch["label"]).float()}

Training uses `train` alone; every choice is made on `validation`; `test` is read once, for the recommendation.

Training and evaluation use separate methods:

    training_batch, training_losses    every optimiser step: baselines, `fine_tune`, and the labels' part of `distill`
    losses, scores                     every evaluation: train_<metric>, val_<metric> and test figures, early stopping,
                                       targets, goals, variants and students, and what kind of outputs is distilled
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from trainables.data.columns import Column
from trainables.data.preparation import Fitted
from trainables.tasks.output_kind import OVERRIDE, Outputs, OutputsError, what_outputs_are
from trainables.tasks.parameter_group import ParameterGroup

Batch = Mapping[str, Tensor]  # column name -> tensor of shape [rows, ...]
SingleSource = str | Path  # Parquet, Arrow IPC or CSV: a file, a folder, a pattern (`part-*`), or a pyarrow.fs URI
Source = SingleSource | Sequence[SingleSource]


class Task(ABC):
    """A user's subclass sets the class attributes as literals, so that a plan can read them without importing torch."""

    train: Source
    validation: Source
    test: Source
    """The places of the data. A relative path starts at the folder of the module that defines the class."""
    inputs: ClassVar[tuple[str, ...]] = ("features",)
    """The columns given to the model, in order, as positional arguments."""
    columns: ClassVar[Sequence[str] | Mapping[str, Column]] = ()
    """The other columns that the task reads, such as `("label",)`; a table holds no column that is not read.

    Needed only where the code does not tell: `batch["label"]` in `losses`, `scores` or `forward` is found there. A task
    that does something else with its batch, as `batch.items()` or `helper(batch)`, and names no columns, is given all
    that a tensor can hold. As a dict, such as `{"weight": Stored()}`, it says how a column becomes numbers for a model.
    """
    fitted: Mapping[str, Fitted] = {}
    """What the columns of which `columns` says it were fitted to, once the data is open: in `build_model`, for one."""
    files: Sequence[SingleSource] = ()
    """Other files that the task reads, such as `("backbone.safetensors",)`; a relative path starts where the data's do.

    Their content is part of a trial's identity as that of the data is: another backbone is another trial. A folder
    stands for all files in it and below it.
    """
    metrics: ClassVar[Mapping[str, Literal["min", "max"]]] = {}
    """The metrics that `scores` returns, each with its better direction. `loss` (min) always exists."""
    skips_parameters: ClassVar[bool] = False
    """True if a step may leave out some parameters that another uses, as with LayerDrop or a mixture of experts.

    Data-parallel workers then look for them in every step; without it they wait for gradients that never come. It
    excludes `sync_every_steps`.
    """

    @abstractmethod
    def build_model(self, width: float = 1.0) -> nn.Module:
        """A new model with random weights. `width` scales its layers; distillation requests narrower students.

        Checkpoints hold its `state_dict`: all state that steps change must be in it, as a persistent buffer or extra
        state; a counter in a plain attribute starts again when a trial resumes.
        """

    @abstractmethod
    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The loss of every item, not reduced: shape [items]. Items are rows, or tokens for a language model.

        Training minimises the mean over all items of the effective batch, however the batch is divided.
        """

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """For every name in `metrics`, one value per item, shape [items]; their mean over the data is the metric."""
        return {}

    def training_losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The loss of every item as steps minimise it, shape [items], the items of `losses`; by default it is `losses`.

        For label smoothing, class weights and auxiliary losses. Nothing is judged by it but the reading
        `step_loss_mean`, so that trials with another training loss can be compared. As with `losses`, the mean over all
        items of the effective batch is minimised, however micro-batches and workers divide it. Class weights are
        factors of the items: `F.cross_entropy(..., weight=w, reduction="none")` is divided by the number of items, not
        by the sum of their weights, which each micro-batch would have its own of.
        """
        return self.losses(outputs, batch)

    def training_batch(self, batch: Batch) -> Batch:
        """A micro-batch as a step takes it, on its device: for mixup and what else mixes rows. By default, as it is.

        `forward` and `training_losses` get the result, which may have further columns, such as the labels of the rows
        that were mixed in; as many rows as before. Draw with torch's own generators: they are seeded by trial, step and
        worker, so a resumed run draws the same. The gradient is the exact mean over the items; but the rows that can be
        mixed are those of one micro-batch on one worker, so dividing the batch otherwise mixes others, as dropout then
        draws other masks.
        """
        return batch

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """The model's outputs for a batch: [rows, ...], or [rows x items, ...] with the items of a row together."""
        outputs: Tensor = model(*(batch[name] for name in self.inputs))
        return outputs

    def parameter_groups(self, model: nn.Module) -> Sequence[ParameterGroup] | None:
        """Groups with learning rates or weight decays of their own, or frozen; by default None: all are trained alike.

        Every parameter that is trained is in exactly one group. `model` is the trial's, or a variant's that is trained
        on: find parameters by their modules or names.

            head = ParameterGroup(model.head.parameters(), learning_rate_factor=10)
            body = ParameterGroup(model.body.parameters(), is_frozen=True)
        """
        return None

    def distillation_losses(self, student: Tensor, teacher: Tensor, batch: Batch, temperature: float) -> Tensor:
        """How far a student's outputs are from its teacher's, for every item: shape [items], the items of `losses`.

        Class scores: T^2 KL(softmax(teacher / T) || softmax(student / T)) over the classes with T = `temperature`
        (Hinton et al. 2015, arXiv:1503.02531; T^2 keeps the gradient's size). Numbers: the squared difference. The mean
        over what belongs to an item. Which of the two, and where the classes are ([rows, classes],
        [rows, classes, height, width], [rows, tokens, classes]), is told by `losses` and the labels that it reads: see
        `tasks/outputs.py`. Raises TypeError where it cannot be told, and for outputs of several tensors: override it.
        """
        if not isinstance(student, Tensor):
            raise OutputsError(f"the outputs are a {type(student).__name__}: {OVERRIDE}")
        if self._outputs is None:
            self._outputs = what_outputs_are(self.losses, student, batch)
        if (classes := self._outputs.classes) is None:
            return self._outputs.per_item((student.float() - teacher.float()).square())
        student_log, teacher_log = (
            F.log_softmax(outputs.float() / temperature, dim=classes) for outputs in (student, teacher)
        )
        divergence = F.kl_div(student_log, teacher_log, reduction="none", log_target=True).sum(dim=classes)
        return self._outputs.per_item(divergence) * temperature**2

    _outputs: Outputs | None = None  # what they are, once it was found
