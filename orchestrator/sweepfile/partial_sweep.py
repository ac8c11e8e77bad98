"""A partly read sweep file: the valid sections with their places in the file, for rules that span several sections."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, TypeVar

from orchestrator.diagnostics.node import Node, Placed
from orchestrator.diagnostics.task_needs import Requirements, structural
from orchestrator.sweep.axes import AXES, Axis
from orchestrator.sweep.spec import (
    AutoBatchSize,
    CompressionPlan,
    EarlyStopping,
    GoalType,
    Mode,
    Resources,
    ScaledLearningRate,
    TaskChoice,
    TaskFacts,
)
from trainables.config.compression import Int8
from trainables.config.optimizers import Optimizer, Sgd
from trainables.config.schedules import Constant, Schedule
from trainables.config.training import BatchSchedule, Budget, DataOrder, NoiseScale, Precision, Sampling
from trainables.config.trial import MeasureSettings

T = TypeVar("T")


@dataclass
class ObjectiveDraft:
    """The objective as written; the task knows the direction if the file leaves it out."""

    node: Node
    metric: str | None = None
    mode: Mode | None = None
    target: float | None = None


@dataclass
class GoalDraft:
    """A goal as written; an invalid field is None, and the others are still checked."""

    node: Node
    metric: str | None = None
    type: GoalType | None = None
    value: float | None = None


def with_axis_lists(cls: type[T]) -> type[T]:
    """Add to `cls` an empty list for each row of `AXES` that it does not define itself."""
    for axis in AXES:
        if axis.name not in cls.__annotations__:
            cls.__annotations__[axis.name] = list[Placed[Any]]
            setattr(cls, axis.name, field(default_factory=list))
    return cls


@dataclass
@with_axis_lists
class Axes:
    """The valid values of `parameters`; an axis without any valid value is empty.

    Only axes with rules of their own are defined here; the others come from `AXES`.
    """

    batch_size: list[Placed[int]] = field(default_factory=list)
    auto_batch_size: Placed[AutoBatchSize] | None = None
    micro_batch_size: int | None = None
    learning_rate: list[Placed[float]] = field(default_factory=list)
    scaled_learning_rate: Placed[ScaledLearningRate] | None = None
    optimizer: list[Placed[Optimizer]] = field(default_factory=list)
    schedule: list[Placed[Schedule]] = field(default_factory=list)
    precision: list[Placed[Precision]] = field(default_factory=list)
    num_workers: list[Placed[int]] = field(default_factory=list)
    batch_schedule: list[Placed[BatchSchedule]] = field(default_factory=list)
    no_decay: list[Placed[tuple[str, ...]]] = field(default_factory=list)
    layer_decay: list[Placed[float | None]] = field(default_factory=list)
    data_order: list[Placed[DataOrder]] = field(default_factory=list)
    sampling: list[Placed[Sampling]] = field(default_factory=list)
    ema: list[Placed[float | None]] = field(default_factory=list)
    sync_every_steps: list[Placed[int | None]] = field(default_factory=list)
    seed: list[Placed[int]] = field(default_factory=list)

    def of(self, axis: Axis) -> list[Placed[Any]]:
        values: list[Placed[Any]] = getattr(self, axis.name)
        return values

    def number_of_configurations(self) -> int:
        """The number of baselines without counting seeds; an unreadable axis counts as one value."""
        scaled = self.scaled_learning_rate
        rates = len(scaled.value.multipliers) if scaled else len(self.learning_rate)
        counts = (rates, len(self.batch_size), *(len(self.of(axis)) for axis in AXES))
        return math.prod(max(1, count) for count in counts)


@dataclass
class Draft:
    """One field per section of the file; None, or the default, where it is absent or wrong."""

    root: Node
    name: str | None = None
    task: TaskChoice | None = None
    facts: TaskFacts | None = None
    objective: ObjectiveDraft | None = None
    budget: Placed[Budget] | None = None
    axes: Axes = field(default_factory=Axes)
    evaluations: int = 10
    noise_scale: NoiseScale | None = field(default_factory=NoiseScale)
    early_stopping: Placed[EarlyStopping] | None = None
    compression: Placed[CompressionPlan] | None = None
    measure: Placed[MeasureSettings] | None = None
    goals: list[GoalDraft] = field(default_factory=list)
    resources: Resources = field(default_factory=Resources)

    @property
    def has_int8(self) -> bool:
        """Whether any variant is quantised."""
        chains = self.compression.value.variants if self.compression else ()
        return any(isinstance(step, Int8) for chain in chains for step in chain)

    @property
    def requirements(self) -> Requirements:
        """The requirements that the sweep has for its task."""
        chains = self.compression.value.variants if self.compression else ()
        return Requirements(
            precisions=tuple(given.value for given in self.axes.precision) or ("float32",),
            num_workers=max((given.value for given in self.axes.num_workers), default=1),
            compresses=self.compression is not None,
            chains=tuple(dict.fromkeys(map(structural, chains))),
            optimizers=tuple(given.value for given in self.axes.optimizer) or (Sgd(),),
            schedules=tuple(given.value for given in self.axes.schedule) or (Constant(),),
            no_decay=tuple(given.value for given in self.axes.no_decay) or ((),),
            layer_decay=tuple(given.value for given in self.axes.layer_decay) or (None,),
        )
