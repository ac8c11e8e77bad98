"""What is known of carrying each optimiser's settings to another batch size, and where that ends. Imports no torch.

A rule is the centre of a grid. Where none is established, `plan` says so, and only multipliers find the rate.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.sweep.spec import Carried, Rule
from trainables.config.optimizers import (
    Adafactor,
    Adam,
    AdamW,
    CustomOptimizer,
    Lamb,
    Lion,
    Muon,
    Optimizer,
    RmsProp,
    Sgd,
)


@dataclass(frozen=True)
class Evidence:
    """Of one optimiser: the rule for its learning rate, what else can be carried, and the reasons for both."""

    rule: Rule | None  # None: no rule is established
    carried: frozenset[Carried]
    known: str
    ends: str


def evidence_of(optimizer: Optimizer) -> Evidence:
    match optimizer:
        case Sgd():
            return Evidence(
                "linear",
                frozenset(),
                "linear, with warm-up, held up to batches of 8,192 (Goyal et al. 2017, arXiv 1706.02677)",
                "at the critical batch size, beyond which the best rate stops growing (Shallue et al. 2018, "
                "arXiv 1811.03600); momentum stays as it is",
            )
        case Adam() | AdamW():
            decay: set[Carried] = {"weight_decay"} if isinstance(optimizer, AdamW) else set()
            return Evidence(
                "sqrt",
                frozenset({"beta1", "beta2", *decay}),
                "sqrt, from an SDE in which gradient noise dominates (Malladi et al. 2022, arXiv 2205.10287)",
                "where noise no longer dominates; the best rate may even fall again at larger batches (Li et al. 2024, "
                "arXiv 2405.14578)",
            )
        case RmsProp():
            return Evidence(
                "sqrt",
                frozenset({"beta2"}),
                "sqrt, with beta2 carried too (Malladi et al. 2022, arXiv 2205.10287)",
                "where gradient noise no longer dominates, and with a momentum, which the derivation leaves out",
            )
        case Lamb():
            return Evidence(
                "sqrt",
                frozenset({"beta1", "beta2"}),
                "sqrt, with a warm-up that grows with the batch, held from 512 to 32,768 on BERT (You et al. 2019, "
                "arXiv 1904.00962)",
                "beyond such models nothing was measured; a tuned Adam does as well at these sizes (Nado et al. 2021, "
                "arXiv 2102.06356)",
            )
        case Muon():
            return Evidence(
                None,
                frozenset({"weight_decay"}),
                "it keeps its data efficiency at larger batches than AdamW (Essential AI 2025, arXiv 2505.02222), with "
                "the rate tuned at each; weight_decay keeps the timescale that was found for AdamW alone",
                "no rule for its rate is established; sqrt is a guess, from updates as large as AdamW's",
            )
        case Lion():
            return Evidence(
                None,
                frozenset({"weight_decay"}),
                "it gains on AdamW as batches grow, with the rate tuned at each (Chen et al. 2023, arXiv 2302.06675); "
                "weight_decay keeps the timescale that was found for AdamW alone",
                "no rule for its rate is established; sqrt is a guess, by its likeness to Adam",
            )
        case Adafactor():
            return Evidence(
                None,
                frozenset(),
                "a step is min(rate, 1 / sqrt(step)) of the size of the weights (Shazeer & Stern 2018, "
                "arXiv 1804.04235), so a high rate changes early steps alone",
                "no rule for its rate is established; sqrt is a guess, by its likeness to RMSprop",
            )
        case CustomOptimizer():
            return Evidence(None, frozenset(), "nothing", "any rule is a guess, and none of its arguments is carried")


def evidence_words(optimizer: Optimizer) -> str:
    """`sgd: known: linear, ...; it ends ...`, for the plan."""
    evidence = evidence_of(optimizer)
    name = optimizer.factory if isinstance(optimizer, CustomOptimizer) else optimizer.name
    return f"{name}: known: {evidence.known}; where it ends: {evidence.ends}"
