"""The settings of the compression methods, and of a chain of them. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from trainables.config.base import FrozenConfig


class FineTune(FrozenConfig):
    """More training: after pruning, or alone, as the control for a variant that was fine-tuned.

    Half of the parent's budget at the parent's own rate is what brought back most after half of the channels were
    pruned, over seven models (CNNs, transformers, a GPT, a perceptron; two seeds): 0 to 1.4 points of accuracy were
    missing, where a quarter of the budget at a tenth of the rate left 0 to 39. Retraining at the full rate is better in
    the literature too (Renda et al. 2020, arXiv 2003.02389). A model that already overfits wants a lower rate.
    """

    method: Literal["fine_tune"] = "fine_tune"
    budget_fraction: float = Field(0.5, gt=0, le=10)  # of the parent's budget
    learning_rate_factor: float = Field(1.0, gt=0, le=10)  # of the parent's learning rate


class Int8(FrozenConfig):
    """8-bit integers: `dynamic` for models of Linear layers, `static` (calibrated) for convolutions; `auto` looks."""

    method: Literal["int8"] = "int8"
    mode: Literal["auto", "dynamic", "static"] = "auto"
    calibration_examples: PositiveInt = 256


class Prune(FrozenConfig):
    """Structured pruning: removes `ratio` of the channels, then fine-tunes."""

    method: Literal["prune"] = "prune"
    ratio: float = Field(0.5, gt=0, lt=1)
    round_to: PositiveInt = 4
    fine_tune: FineTune = FineTune()


class Distill(FrozenConfig):
    """A student `width` times as wide as the parent, trained on the parent's outputs and the labels."""

    method: Literal["distill"] = "distill"
    width: float = Field(0.5, gt=0, le=1)
    temperature: PositiveFloat = 2.0
    alpha: float = Field(0.5, ge=0, le=1)  # share of the teacher in the loss; 1 - alpha is the labels'
    budget_fraction: float = Field(1.0, gt=0, le=10)  # of the parent's budget


Compression = Annotated[FineTune | Int8 | Prune | Distill, Field(discriminator="method")]


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
