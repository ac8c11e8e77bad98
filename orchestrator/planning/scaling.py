"""Rules that transfer settings from one batch size to another. kappa is the batch ratio, batch_size / at_batch_size.

    learning_rate    base kappa (linear), base sqrt(kappa) (sqrt), or base (none); `rule` says which
    beta1, beta2     beta^kappa, of Adam and its kin                                 ] only those that the sweep file
    weight_decay     weight_decay kappa / (rate / base), of AdamW, Lion and Muon     ] names under `carry`; the rest
    ema              decay^kappa, of the average of the weights                       ]
    warmup           warmup_fraction kappa, so that the number of its steps is kept   ] stays as written

With a budget in steps, the last two are not multiplied by kappa, because a larger batch then sees kappa times as many
examples.

Each rule is only the centre of a grid: below the critical batch size it holds roughly; above, it gives too high a
learning rate. So try multipliers of the learning rate and several values of the optimizer's settings (all of them are
transferred), and check whether the best one is at an edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from orchestrator.planning.evidence import evidence_of, evidence_words
from orchestrator.sweep.plan import Plan
from orchestrator.sweep.spec import Carried, Rule, ScaledLearningRate
from trainables.config.optimizers import Optimizer, weight_decay_of
from trainables.config.schedules import Schedule, WarmsUp
from trainables.config.training import Budget

SIGNIFICANT_DIGITS = 12  # so that 0.05 * 3 and 0.15 are the same learning rate, and one trial
MAX_WARMUP_FRACTION = 0.5  # a run that only warms up never trains at its learning rate

# The text that `plan` shows for each rule: the formula and its source.
RATE_RULES: dict[Rule, str] = {
    "linear": "base x kappa (Goyal et al. 2017, arXiv 1706.02677)",
    "sqrt": "base x sqrt(kappa) (Malladi et al. 2022, arXiv 2205.10287)",
    "none": "base, at every batch size",
}
CARRY_RULES: dict[Carried, str] = {
    "beta1": "beta1^kappa, an average over the same examples (to first order Malladi et al. 2022, arXiv 2205.10287); "
    "not carried, its steps are kept (Marek et al. 2025)",
    "beta2": "beta2^kappa, an average over the same examples (Marek et al. 2025, arXiv 2507.07101)",
    "weight_decay": "weight_decay x kappa / (rate / base), with a budget in steps without kappa, so batch / (rate x "
    "decay x examples) is kept (Bergsma et al. 2025, arXiv 2505.13738)",
    "ema": "decay^kappa, an average over the same examples (Busbridge et al. 2023, arXiv 2307.13813)",
    "warmup": "warmup_fraction x kappa, so its steps are kept (You et al. 2019, arXiv 1904.00962); "
    "not carried, its examples are kept (Goyal et al. 2017)",
}


def linear(base: float, kappa: float) -> float:
    """base * kappa, for SGD. Goyal et al. 2017 (arXiv 1706.02677), there with warm-up and up to batches of 8192.

    Doubt: it assumes that the weights barely move within kappa steps, which fails early in training and for large
    kappa.
    """
    return base * kappa


def sqrt(base: float, kappa: float) -> float:
    """base * sqrt(kappa), for Adam and its kin. Malladi et al. 2022 (arXiv 2205.10287), from an SDE approximation.

    Doubt: the full rule scales the betas and epsilon too, and holds where gradient noise dominates; see beta below.
    """
    return base * math.sqrt(kappa)


def none(base: float, kappa: float) -> float:
    """base, at every batch size: the comparison mixes the batch size with a learning rate that suits only some
    sizes.
    """
    return base


def beta(base: float, kappa: float) -> float:
    """beta^kappa, of either moment of Adam and AdamW. For beta2: Marek et al. 2025 (arXiv 2507.07101).

    The moment is then averaged over the same number of examples. The first-order form 1 - kappa (1 - beta), for both
    betas in Malladi et al. 2022 (arXiv 2205.10287), agrees for small kappa (1 - beta) and goes negative for large ones.
    Doubt: a large batch is left with almost no average; Marek et al. find a beta1 of 0.9 good at every batch size.
    """
    return _rounded(base**kappa)


def weight_decay(base: float, kappa: float, rate_factor: float, examples_factor: float = 1.0) -> float:
    """base kappa / (rate_factor examples_factor), for AdamW. The factors are those of learning rate and examples.

    It keeps tau = B / (rate x decay x N), where N is the number of examples of the run: tau is the share of the run
    over which weights are averaged. With a budget in steps, N is proportional to B, so `examples_factor` is kappa.
    Bergsma et al. 2025 (arXiv 2505.13738). Doubt: found on language models of one family; a sweep's multipliers of the
    learning rate shift tau.
    """
    return _rounded(base * kappa / (rate_factor * examples_factor))


def warmup_fraction(base: float, kappa: float) -> float:
    """base kappa, at most a half: at a budget in examples, the same number of warm-up steps at every batch size.

    You et al. 2019 (arXiv 1904.00962). Goyal et al. 2017 keep its examples instead: that is a fraction not carried.
    """
    return _rounded(min(base * kappa, max(base, MAX_WARMUP_FRACTION)))


def carried_optimizer(optimizer: Optimizer, rule: ScaledLearningRate, batch_size: int, budget: Budget) -> Optimizer:
    """The optimizer written for `at_batch_size`, for another batch size; only settings under `carry` change."""
    kappa, names = _kappa(rule, batch_size), evidence_of(optimizer).carried.intersection(rule.carry)
    changed: dict[str, float] = {
        name: beta(getattr(optimizer, name), kappa) for name in ("beta1", "beta2") if name in names
    }
    if "weight_decay" in names:
        rate_factor = _RATE_FACTORS[rule.rule](1.0, kappa)
        examples_factor = kappa if budget.unit == "steps" else 1.0
        changed["weight_decay"] = weight_decay(weight_decay_of(optimizer), kappa, rate_factor, examples_factor)
    return optimizer.model_copy(update=changed)


def carried_schedule(schedule: Schedule, rule: ScaledLearningRate, batch_size: int, budget: Budget) -> Schedule:
    """The schedule for another batch size. With a budget in steps, the warm-up's steps do not change anyway."""
    carried = "warmup" in rule.carry and budget.unit != "steps"
    match schedule:
        case WarmsUp(warmup_fraction=float(fraction)) if carried:
            return schedule.model_copy(update={"warmup_fraction": warmup_fraction(fraction, _kappa(rule, batch_size))})
        case _:
            return schedule


def carried_average(ema: float | None, rule: ScaledLearningRate, batch_size: int) -> float | None:
    """ema^kappa, so that the weights are averaged over as many examples. Busbridge et al. 2023 (arXiv 2307.13813).

    Doubt: it assumes that learning rate and batch size are scaled together by a rule that holds.
    """
    return beta(ema, _kappa(rule, batch_size)) if ema is not None and "ema" in rule.carry else ema


def rule_words(rule: ScaledLearningRate, optimizers: Iterable[Optimizer]) -> Iterator[str]:
    """`learning_rate: base x kappa (...)`: a line for the rate and each setting that is carried, and for each optimiser
    what is known of that, and where it ends.
    """
    yield f"learning_rate: {RATE_RULES[rule.rule]}"
    for name in rule.carry:
        yield f"{name}: {CARRY_RULES[name]}"
    if rule.rule != "none":
        yield from dict.fromkeys(map(evidence_words, optimizers))


def rules_of(plan: Plan) -> list[str]:
    """How a plan's settings follow the batch size, with sources; empty if the learning rates are given directly."""
    rate, optimizers = plan.sweep.parameters.learning_rate, plan.sweep.parameters.optimizer
    return list(rule_words(rate, optimizers)) if isinstance(rate, ScaledLearningRate) else []


def scaled_rates(rule: ScaledLearningRate, batch_size: int) -> list[tuple[float, str]]:
    """(learning rate, its source) for every multiplier, in the order of the sweep file."""
    centre = _RATE_FACTORS[rule.rule](rule.base, _kappa(rule, batch_size))
    origin = f"{rule.base:g} at {rule.at_batch_size}" if rule.at_batch_size else f"{rule.base:g}"
    source = f"fixed {rule.base:g}" if rule.rule == "none" else f"{rule.rule} from {origin}"
    return [
        (_rounded(centre * multiplier), source if multiplier == 1 else f"{source} x {multiplier:g}")
        for multiplier in rule.multipliers
    ]


_RATE_FACTORS = {"linear": linear, "sqrt": sqrt, "none": none}


def _kappa(rule: ScaledLearningRate, batch_size: int) -> float:
    return batch_size / (rule.at_batch_size or batch_size)


def _rounded(rate: float) -> float:
    return float(f"{rate:.{SIGNIFICANT_DIGITS}g}")
