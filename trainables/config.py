"""The configuration of one trial: frozen, closed to unknown keys, and the content of the trial's identity.

A union of three kinds, told apart by `kind`. How a baseline is trained is in `training_config`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from trainables.frozen import Frozen
from trainables.training_config import Optimizer, Precision, Sgd, Training

Scalar = bool | int | float | str
Device = Literal["auto", "cpu", "cuda"]


class TaskConfig(Frozen):
    """What is trained, on what. `data` and `code` are fingerprints: they make the trial's id change with either."""

    name: str  # a built-in name, or "package.module:Class"
    options: dict[str, Scalar] = Field({})  # keyword arguments of the task's constructor
    data: str  # fingerprint of the content of the task's data, and of its other files
    code: str  # revision of the code that decides the result: our own and the user's module


# -- compression: one class per method, one file per method in trainables/compression ----------------------------------


class FineTune(Frozen):
    """More training: after pruning, or alone, as the control for a variant that was fine-tuned.

    Half of the parent's budget at the parent's own rate is what brought back most after half of the channels were
    pruned, over seven models (CNNs, transformers, a GPT, a perceptron; two seeds): 0 to 1.4 points of accuracy were
    missing, where a quarter of the budget at a tenth of the rate left 0 to 39. Retraining at the full rate is better in
    the literature too (Renda et al. 2020, arXiv 2003.02389). A model that already overfits wants a lower rate.
    """

    method: Literal["fine_tune"] = "fine_tune"
    budget_fraction: float = Field(0.5, gt=0, le=10)  # of the parent's budget
    learning_rate_factor: float = Field(1.0, gt=0, le=10)  # of the parent's learning rate


class Int8(Frozen):
    """8-bit integers: `dynamic` for models of Linear layers, `static` (calibrated) for convolutions; `auto` looks."""

    method: Literal["int8"] = "int8"
    mode: Literal["auto", "dynamic", "static"] = "auto"
    calibration_examples: PositiveInt = 256


class Prune(Frozen):
    """Structured pruning: removes `ratio` of the channels, then fine-tunes."""

    method: Literal["prune"] = "prune"
    ratio: float = Field(0.5, gt=0, lt=1)
    round_to: PositiveInt = 4
    fine_tune: FineTune = FineTune()


class Distill(Frozen):
    """A student `width` times as wide as the parent, trained on the parent's outputs and the labels."""

    method: Literal["distill"] = "distill"
    width: float = Field(0.5, gt=0, le=1)
    temperature: PositiveFloat = 2.0
    alpha: float = Field(0.5, ge=0, le=1)  # share of the teacher in the loss; 1 - alpha is the labels'
    budget_fraction: float = Field(1.0, gt=0, le=10)  # of the parent's budget


Compression = Annotated[FineTune | Int8 | Prune | Distill, Field(discriminator="method")]


class Measure(Frozen):
    """How the exported model is measured: on which device, with how many threads, at which batch sizes."""

    device: Device = "auto"
    threads: PositiveInt = 1
    batch_sizes: tuple[PositiveInt, PositiveInt] = (1, 64)
    rounds: PositiveInt = 20  # alternations between the variant and its parent


# -- trials -----------------------------------------------------------------------------------------------------------


class BaselineConfig(Frozen):
    """A trial that trains a model."""

    kind: Literal["baseline"] = "baseline"
    task: TaskConfig
    training: Training


class VariantConfig(Frozen):
    """A trial that compresses a baseline's model. An empty chain is the parent itself, exported and measured."""

    kind: Literal["variant"] = "variant"
    task: TaskConfig
    parent: str  # trial id of the baseline
    training: Training  # the parent's: budgets and rates of a chain are fractions of it
    chain: tuple[Compression, ...]
    measure: Measure = Measure()


class Throughput(Frozen):
    """How the time of an optimiser step is measured over the micro-batch."""

    micro_batch_sizes: tuple[PositiveInt, ...] = ()  # without those that do not fit; empty: doublings
    rounds: PositiveInt = 15  # alternations between the sizes; an interval takes at least six


class ProbeConfig(Frozen):
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


def describe_chain(chain: tuple[Compression, ...]) -> str:
    """A chain in a few words, for tables and run names: `prune 0.5 (round_to 8) + int8`, or `uncompressed`."""
    return " + ".join(map(_describe_step, chain)) or "uncompressed"


def _describe_step(step: Compression) -> str:
    """The method, its main setting, and what else is not at its default: two that differ are never called the same."""
    main = {"fine_tune": "budget_fraction", "int8": "mode", "prune": "ratio", "distill": "width"}[step.method]
    value = getattr(step, main)
    amount = f" {value:g}" if isinstance(value, float) else f" {value}" if value != "auto" else ""
    changed = step.model_dump(mode="json", exclude_defaults=True, exclude={main})
    inner = changed.pop("fine_tune", {})
    others = {**changed, **{f"fine_tune {name}": setting for name, setting in inner.items()}}
    words = ", ".join(f"{name} {setting:g}" for name, setting in others.items())
    return f"{step.method}{amount} ({words})" if words else f"{step.method}{amount}"
