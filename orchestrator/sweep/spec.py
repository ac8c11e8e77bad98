"""The sweep: the content of one YAML file, with all defaults filled in. It is immutable, and valid once it exists.

`load_sweep` creates one; `orchestrator.sweepfile` describes how a file is read.
"""

from __future__ import annotations

import itertools
import re
from types import GenericAlias
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, Field, PositiveFloat, PositiveInt, create_model

from orchestrator.sweep.axes import AXES
from trainables.config.base import FrozenConfig
from trainables.config.compression import Compression
from trainables.config.optimizers import Optimizer
from trainables.config.schedules import Schedule
from trainables.config.training import Budget, NoiseScale, Precision
from trainables.config.trial import MeasureSettings, Scalar

Model = TypeVar("Model", bound=BaseModel)
Mode = Literal["min", "max"]
Rule = Literal["linear", "sqrt", "none"]
Carried = Literal["beta1", "beta2", "weight_decay", "warmup", "ema"]
GoalType = Literal[
    "threshold", "min-improvement", "percent-min-improvement", "max-degradation", "percent-max-degradation"
]


class TaskChoice(FrozenConfig):
    """The task as the file names it: a built-in name, or `package.module:Class`."""

    name: str
    options: dict[str, Scalar] = Field(default_factory=dict)  # for a swept option, the first value
    swept: dict[str, tuple[Scalar, ...]] = Field(default_factory=dict)  # the options that are axes of the sweep

    def combinations(self) -> tuple[dict[str, Scalar], ...]:
        """All options of every model that the sweep trains; the last swept option changes fastest."""
        values = itertools.product(*self.swept.values())
        return tuple(self.options | dict(zip(self.swept, chosen, strict=True)) for chosen in values)


class TaskFacts(FrozenConfig):
    """The facts about the task that are known without training."""

    metrics: dict[str, Mode]  # every metric of the task, including `loss`, and its better direction
    train_rows: int | None  # the fewest of all combinations; None: unknown without importing the user's module
    data: tuple[str, ...]  # fingerprints of all its data: one, or one per combination of swept options, in their order
    code: str  # revision of the code that determines a result
    search_path: tuple[str, ...] = ()  # folders searched for a user's module before sys.path
    complete: bool = True  # False: the rest is known only after importing the user's module, so ids may still change
    notes: tuple[str, ...] = ()  # findings of the dry run that do not prevent a run


class Objective(FrozenConfig):
    """The optimised metric, on validation data. The first time at which a run reaches `target` is recorded."""

    metric: str
    mode: Mode
    target: float | None = None


class ScaledLearningRate(FrozenConfig):
    """A learning rate that is good at one batch size, transferred to the others by a rule, times each multiplier.

    `carry` names the optimizer and schedule settings that are transferred with it (orchestrator.planning.scaling).
    `extend`: how many learning rates may be added at a batch size whose best one is the lowest or highest tried.
    """

    base: PositiveFloat
    at_batch_size: PositiveInt | None = None
    rule: Rule
    multipliers: tuple[PositiveFloat, ...] = Field((1.0,), min_length=1)
    carry: tuple[Carried, ...] = ()
    extend: int = Field(0, ge=0)


class AutoBatchSize(FrozenConfig):
    """The batch size is searched, by trials whose results lead to further ones (see orchestrator.adaptive)."""

    smallest: PositiveInt = 8
    largest: PositiveInt | None = None  # None: as large as the training rows and the budget allow
    fit_sizes: int = Field(3, ge=3)  # batch sizes, spread over the range, at which the learning rate is tuned
    confirm_seeds: int = Field(4, ge=2)  # fresh seeds for every batch size that is still a candidate then


def with_axis_fields(cls: type[Model]) -> type[Model]:
    """Add to `cls` a field for each row of `AXES` that it does not define: a tuple, by default of the one default."""
    fields: dict[str, Any] = {
        axis.name: (GenericAlias(tuple, (axis.type, ...)), (axis.default,))
        for axis in AXES
        if axis.name not in cls.model_fields
    }
    return create_model(cls.__name__, __base__=cls, __doc__=cls.__doc__, __module__=cls.__module__, **fields)


@with_axis_fields
class Parameters(FrozenConfig):
    """The grid. Every tuple is one axis; the sweep runs their product.

    Only settings with rules of their own, or that planning uses by name, are defined here.
    """

    batch_size: tuple[PositiveInt, ...] | AutoBatchSize
    micro_batch_size: PositiveInt | None = None  # upper limit of one forward pass on one worker, not an axis
    learning_rate: ScaledLearningRate | tuple[PositiveFloat, ...]
    optimizer: tuple[Optimizer, ...]
    schedule: tuple[Schedule, ...]
    precision: tuple[Precision, ...] = ("float32",)
    num_workers: tuple[PositiveInt, ...] = (1,)
    patience: tuple[PositiveInt | None, ...] = (None,)  # see `Training`
    seed: tuple[int, ...] = (0,)  # seeds the weights, the order of the rows, and everything else that is random


class EarlyStopping(FrozenConfig):
    """ASHA on examples seen, within one batch size: at each rung, the best 1/`reduction_factor` of trials continue."""

    grace_fraction: float = Field(0.2, gt=0, lt=1)  # share of the budget before a trial can be stopped
    reduction_factor: float = Field(3, gt=1, le=100)


class TopParents(FrozenConfig):
    """The `top` best configurations of the whole sweep are compressed."""

    top: PositiveInt


class CompressionPlan(FrozenConfig):
    """Which baselines are compressed, and how. Every parent also gets the empty chain (`uncompressed`)."""

    parents: Literal["best_per_batch_size", "all"] | TopParents = "best_per_batch_size"
    seeds: Literal["first", "all"] = "first"
    variants: tuple[tuple[Compression, ...], ...] = ()


class Goal(FrozenConfig):
    """A limit on a metric. All types but `threshold` compare a variant with its uncompressed parent."""

    metric: str
    type: GoalType
    value: float


def _label(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,251}[A-Za-z0-9])?", text):
        raise ValueError("must be letters and digits, with '.', '_', '-' and '/' between them")
    return text


Label = Annotated[str, AfterValidator(_label)]


class Resources(FrozenConfig):
    """The resources of one worker, the nodes to use, and the number of concurrent trials.

    They affect only seconds, not other results, so they are not part of a trial's id.
    """

    cpus_per_worker: PositiveInt = 1
    accelerator_type: Label | None = None  # Ray's name: L4, A100, H100; None: any GPU, or CPUs if there is none
    node_labels: dict[Label, Label] = Field(default_factory=dict)  # labels a node must have: `ray start --labels`
    max_concurrent_trials: PositiveInt | None = None  # None: as many as fit
    no_progress_minutes: PositiveFloat = 60  # a trial that makes no step, batch or file for this long is ended


class Sweep(FrozenConfig):
    """One sweep file, read and valid."""

    name: str  # up to 64 letters, digits, `.`, `_` and `-`: a folder, and an experiment in MLflow
    task: TaskChoice  # a built-in name, `module:Class`, or `{name: ..., options: {...}}`
    facts: TaskFacts
    objective: Objective  # the optimised metric
    budget: Budget  # one of `{examples: 40000}`, `{steps: 1000}`, `{epochs: 10}`, `{seconds: 60}`
    parameters: Parameters  # each one value or `{values: [...]}`; the sweep is the product of them
    evaluations: PositiveInt = 10  # how often a trial is evaluated, evenly over its budget
    noise_scale: NoiseScale | None = NoiseScale()  # how often the noise scale is measured; `false`: never
    early_stopping: EarlyStopping | None = None  # ends trials that fall behind; by default no trial is ended
    compression: CompressionPlan | None = None  # by default nothing is compressed
    measure: MeasureSettings = MeasureSettings()  # how latency and size are measured
    goals: tuple[Goal, ...] = ()  # limits on metrics
    resources: Resources = Resources()  # a worker's resources, and where trials run
