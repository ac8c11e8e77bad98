"""The configuration of one trial: frozen, closed to unknown keys, and the content of the trial's identity.

A union of three kinds, told apart by `kind`. How a baseline is trained is in `training_config`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from trainables.config.base import FrozenConfig
from trainables.config.compression import Compression
from trainables.config.optimizers import Optimizer, Sgd
from trainables.config.training import Precision, Training

Scalar = bool | int | float | str
Device = Literal["auto", "cpu", "cuda"]


class TaskConfig(FrozenConfig):
    """The task of a trial. `data` and `code` are fingerprints: the trial's id changes with either."""

    name: str  # a built-in name, or "package.module:Class"
    options: dict[str, Scalar] = Field({})  # keyword arguments of the task's constructor
    data: str  # fingerprint of the content of the task's data, and of its other files
    code: str  # revision of the code that decides the result: our own and the user's module


# -- compression: one class per method, one file per method in trainables/compression ----------------------------------


class MeasureSettings(FrozenConfig):
    """How the exported model is measured: on which device, with how many threads, at which batch sizes."""

    device: Device = "auto"
    threads: PositiveInt = 1
    batch_sizes: tuple[PositiveInt, PositiveInt] = (1, 64)
    rounds: PositiveInt = 20  # alternations between the variant and its parent


# -- trials -----------------------------------------------------------------------------------------------------------


class BaselineConfig(FrozenConfig):
    """A trial that trains a model."""

    kind: Literal["baseline"] = "baseline"
    task: TaskConfig
    training: Training


class VariantConfig(FrozenConfig):
    """A trial that compresses a baseline's model. An empty chain is the parent itself, exported and measured."""

    kind: Literal["variant"] = "variant"
    task: TaskConfig
    parent: str  # trial id of the baseline
    training: Training  # the parent's: budgets and rates of a chain are fractions of it
    chain: tuple[Compression, ...]
    measure: MeasureSettings = MeasureSettings()


class Throughput(FrozenConfig):
    """How the time of an optimiser step is measured over the micro-batch."""

    micro_batch_sizes: tuple[PositiveInt, ...] = ()  # without those that do not fit; empty: doublings
    rounds: PositiveInt = 15  # alternations between the sizes; an interval takes at least six


class ProbeConfig(FrozenConfig):
    """A trial that trains nothing worth keeping: it measures which micro-batch fits, and how long its steps take."""

    kind: Literal["probe"] = "probe"
    task: TaskConfig
    optimizer: Optimizer = Sgd()
    precision: Precision = "float32"
    num_workers: PositiveInt = 1
    memory_limit_bytes: PositiveInt | None = None  # of one worker; None: what its device, or its machine, has left
    max_micro_batch_size: PositiveInt = 65_536  # nothing larger is tried, nor more rows than the training data has
    throughput: Throughput | None = None
    seed: int = Field(0, ge=0)


TrainedConfig = BaselineConfig | VariantConfig
AnyTrialConfig = TrainedConfig | ProbeConfig
TrialConfig = Annotated[AnyTrialConfig, Field(discriminator="kind")]


def trial_id(config: AnyTrialConfig) -> str:
    """Identity is content: twelve hexadecimal digits of the SHA-256 of the configuration's canonical JSON."""
    canonical = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
