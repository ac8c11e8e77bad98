"""The configuration of a training: optimiser, schedules, order of the data, budget. A part of the trial's identity.

Imports no torch, so a plan is made in milliseconds. Illegal combinations cannot be written: every choice that carries
its own settings is a tagged union, dispatched with `match` where it is executed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from trainables.config.base import FrozenConfig, is_none
from trainables.config.optimizers import Optimizer, Sgd
from trainables.config.schedules import Constant, Schedule
from trainables.config.setting import Setting

Precision = Literal["float32", "bfloat16", "float16"]
Sharding = Literal["block", "stripe"]


# -- batch-size schedules ---------------------------------------------------------------------------------------------

RateAfterGrowth = Literal["unchanged", "linear", "sqrt"]


def _is_empty(value: object) -> bool:
    return value == ()


class FixedBatch(FrozenConfig):
    name: Literal["fixed"] = "fixed"


class GrowAt(FrozenConfig):
    """The batch becomes `factor` times as large after each of these fractions of the budget, or numbers of examples.

    One of the two; what is not given is None, and no part of a trial's identity.
    """

    name: Literal["grow_at"] = "grow_at"
    fractions: tuple[Annotated[float, Field(gt=0, lt=1)], ...] | None = Field((0.5,), exclude_if=is_none)
    examples: tuple[PositiveInt, ...] | None = Field(None, exclude_if=is_none)
    factor: int = Field(2, ge=2, le=64)
    learning_rate: RateAfterGrowth = "unchanged"

    @model_validator(mode="after")
    def _one_ascending_list(self) -> GrowAt:
        if self.examples is not None and "fractions" not in self.model_fields_set:
            object.__setattr__(self, "fractions", None)  # examples take the place of the default
        given = {"fractions": self.fractions, "examples": self.examples}
        points = {name: values for name, values in given.items() if values is not None}
        if len(points) != 1:
            raise ValueError("needs either fractions or examples, not both")
        for name, values in points.items():
            if not 1 <= len(values) <= 16 or list(values) != sorted(set(values)):
                raise ValueError(f"{name} must ascend, each once, and be 1 to 16")
        return self


class GrowWithNoise(FrozenConfig):
    """After a reading, the batch becomes `factor` times as large if it is then still no larger than the noise scale."""

    name: Literal["grow_with_noise"] = "grow_with_noise"
    factor: int = Field(2, ge=2, le=64)
    at_most: int = Field(16, ge=2, le=4096)  # times the batch size at the beginning
    learning_rate: RateAfterGrowth = "unchanged"


BatchSchedule = Annotated[FixedBatch | GrowAt | GrowWithNoise, Field(discriminator="name")]


# -- the order of the data --------------------------------------------------------------------------------------------


class StoredOrder(FrozenConfig):
    name: Literal["stored"] = "stored"


class SortedBy(FrozenConfig):
    """Rows ascend by a column of single numbers, such as the label."""

    name: Literal["sorted"] = "sorted"
    column: str = "label"


class ShuffledOnce(FrozenConfig):
    """One order, the same for every trial."""

    name: Literal["shuffled"] = "shuffled"


DataOrder = Annotated[StoredOrder | SortedBy | ShuffledOnce, Field(discriminator="name")]


# -- which rows come how often ----------------------------------------------------------------------------------------


class UniformSampling(FrozenConfig):
    name: Literal["uniform"] = "uniform"


class ClassBalanced(FrozenConfig):
    """Rows of small classes come more often: the share of a class of n rows is proportional to n^(1 - `power`).

    Each row of a class comes as often as the others of it. The share of the class over that of its rows is their
    weight, which a trial states. Training data alone is drawn so; every evaluation takes all rows once.
    """

    name: Literal["class_balanced"] = "class_balanced"
    column: str = "label"  # of whole numbers
    power: float = Field(1.0, gt=0, le=1)  # 1: all classes alike


Sampling = Annotated[UniformSampling | ClassBalanced, Field(discriminator="name")]


def _is_uniform(value: object) -> bool:
    return isinstance(value, UniformSampling)


# -- training ---------------------------------------------------------------------------------------------------------


class Budget(FrozenConfig):
    """How much a trial trains. `examples` is the fair unit: it is the same work at every batch size."""

    unit: Literal["examples", "steps", "epochs", "seconds"]
    amount: PositiveFloat


class NoiseScale(FrozenConfig):
    """How often a training run measures its gradient noise scale (trainables.training.noise_scale). Changes no result.

    Micro-batches and workers are parts of a batch that cost nothing more to look at. Where there is one of each, two
    eighths of the batch are computed once more, so that is done less often: see `benchmarks/noise_scale.py`. A batch
    that grows with the noise scale is measured more often, up to 64 times within its budget and at most at every fourth
    step: it would not grow in time.
    """

    every_steps: PositiveInt = 32
    divided_every_steps: PositiveInt = 256  # of a batch that is one micro-batch on one worker


class Training(FrozenConfig):
    """One training run. `batch_size` is the effective batch of one optimiser step, over all workers.

    Each field with a `Setting` is an axis of a sweep (orchestrator.sweep.axes), the last one innermost.
    """

    batch_size: PositiveInt
    micro_batch_size: PositiveInt  # rows in one forward pass on one worker
    accumulation_steps: PositiveInt = 1
    learning_rate: PositiveFloat
    budget: Budget
    num_workers: Annotated[
        PositiveInt,
        Setting(
            "data-parallel workers, each with an equal share of every batch",
            words="{} workers",
            words_of={1: "1 worker"},
            at_most=4096,
        ),
    ] = 1
    precision: Annotated[Precision, Setting("of forward and backward passes; weights stay float32")] = "float32"
    sharding: Annotated[
        Sharding, Setting("which rows are one worker's: every n-th, or a block of them", needs_workers=True)
    ] = "stripe"
    data_order: Annotated[DataOrder, Setting("of the rows, before workers are given their parts")] = StoredOrder()
    optimizer: Annotated[Optimizer, Setting("what turns gradients into steps")] = Sgd()
    schedule: Annotated[Schedule, Setting("of the learning rate, over the budget")] = Constant()
    batch_schedule: Annotated[BatchSchedule, Setting("whether and when the batch grows")] = FixedBatch()
    gradient_clip_norm: Annotated[
        PositiveFloat | None,
        Setting(
            "a gradient whose norm is larger is scaled down to it; `null`: none is",
            words="clip {:g}",
            words_of={None: "no clipping"},
        ),
    ] = None
    sync_every_steps: Annotated[
        PositiveInt | None,
        Setting(
            "workers train alone and average their models every so many steps; `null`: they average gradients",
            words="every {} steps",
            words_of={None: "every step"},
            at_most=1_000_000,
            needs_workers=True,
        ),
    ] = None
    no_decay: Annotated[
        tuple[str, ...],
        Setting(
            "parameters without weight decay: the kinds `bias`, `norm`, `embedding`, parts of names, or patterns",
            words="no decay of {}",
            words_of={(): "all decay"},
        ),
    ] = Field((), exclude_if=_is_empty)
    layer_decay: Annotated[
        Annotated[float, Field(gt=0, le=1)] | None,
        Setting(
            "each layer's learning rate over that of the layer behind it; the last layer has the trial's",
            words="layer decay {:g}",
            words_of={None: "no layer decay"},
        ),
    ] = Field(None, exclude_if=is_none)
    sampling: Annotated[Sampling, Setting("how often each row of the training data comes")] = Field(
        UniformSampling(), exclude_if=_is_uniform
    )
    ema: Annotated[
        Annotated[float, Field(gt=0, lt=1)] | None,
        Setting(
            "decay per step of an average of the weights, which is evaluated and kept; `null`: the weights themselves",
            words="ema {:g}",
            words_of={None: "no ema"},
        ),
    ] = Field(None, exclude_if=is_none)
    patience: Annotated[
        PositiveInt | None,
        Setting(
            "evaluations without a better `val_loss` after which a trial ends; `null`: it uses its whole budget",
            words="patience {}",
            words_of={None: "no patience"},
            at_most=10_000,
        ),
    ] = Field(None, exclude_if=is_none)
    evaluations: PositiveInt = (
        10  # readings, evenly spread over the budget; a few more come early (trainables.config.batching)
    )
    noise_scale: NoiseScale | None = NoiseScale()
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _factors(self) -> Training:
        product = self.micro_batch_size * self.accumulation_steps * self.num_workers
        if product != self.batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is not micro_batch_size {self.micro_batch_size} x "
                f"accumulation_steps {self.accumulation_steps} x num_workers {self.num_workers} = {product}"
            )
        return self

    @model_validator(mode="after")
    def _one_average(self) -> Training:
        if self.ema is not None and self.sync_every_steps is not None:
            raise ValueError("ema averages the weights of every step, which workers have apart with sync_every_steps")
        return self

    @model_validator(mode="after")
    def _growth(self) -> Training:
        if self.batch_schedule.name != "fixed" and self.budget.unit not in ("examples", "epochs"):
            raise ValueError(f"a batch_schedule needs a budget in examples or epochs, not in {self.budget.unit}")
        if self.batch_schedule.name == "grow_with_noise" and self.noise_scale is None:
            raise ValueError("batch_schedule grow_with_noise needs noise_scale")
        return self
