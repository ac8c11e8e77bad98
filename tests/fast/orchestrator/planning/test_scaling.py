"""What is carried from one batch size to another, and what the plan says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.diagnostics.problem import SweepError
from orchestrator.planning.expand import expand
from orchestrator.planning.scaling import (
    beta,
    carried_optimizer,
    carried_schedule,
    scaled_rates,
    warmup_fraction,
    weight_decay,
)
from orchestrator.report.plan_json import plan_as_dict
from orchestrator.report.plan_table import baseline_table, summary_lines
from orchestrator.sweep.spec import ScaledLearningRate
from tests.support.sweep_text import load_text, sweep_text
from trainables.config.optimizers import Adam, AdamW, Sgd
from trainables.config.schedules import Constant, WarmupCosine
from trainables.config.training import Budget

EXAMPLES = Budget(unit="examples", amount=1000)
CARRYING = """{batch_size: {values: [16, 64]}, learning_rate: {base: 1e-3, at_batch_size: 64, rule: sqrt,
 carry: [beta1, beta2, weight_decay, warmup]}, optimizer: {name: adamw, weight_decay: 0.1},
 schedule: {name: warmup_cosine, warmup_fraction: 0.2}}""".replace("\n", "")


def rule(**fields: object) -> ScaledLearningRate:
    return ScaledLearningRate.model_validate({"base": 1e-3, "at_batch_size": 64, "rule": "sqrt", **fields})


@given(base=st.floats(0.5, 0.9999), kappa=st.floats(0.01, 100))
def test_a_moment_averages_over_the_same_examples(base: float, kappa: float) -> None:
    """After n examples an old gradient has faded by beta^(n/B): the same at every batch size."""
    examples = 64 * 50
    assert beta(base, kappa) ** (examples / (64 * kappa)) == pytest.approx(base ** (examples / 64), rel=1e-6)
    assert 0 < beta(base, kappa) < 1  # where the first-order form is negative: 1 - 100 (1 - 0.5)


@pytest.mark.parametrize(("base", "kappa"), [(0.9, 0.25), (0.9, 0.5), (0.999, 8)])
def test_to_first_order_it_is_the_rule_of_malladi(base: float, kappa: float) -> None:
    assert 1 - beta(base, kappa) == pytest.approx(kappa * (1 - base), rel=0.05)


def test_adamw_keeps_its_timescale() -> None:
    """tau = B / (rate decay N) at the same N: 4 times the batch at twice the rate takes twice the decay."""
    assert weight_decay(0.1, 4, 2) == 0.2
    for name, factor in {"linear": 4.0, "sqrt": 2.0, "none": 1.0}.items():
        carried = carried_optimizer(AdamW(weight_decay=0.1), rule(rule=name, carry=("weight_decay",)), 256, EXAMPLES)
        assert isinstance(carried, AdamW)
        assert 256 / (factor * carried.weight_decay) == pytest.approx(64 / 0.1)
        assert (carried.beta1, carried.beta2) == (0.9, 0.999)


@pytest.mark.parametrize("name", ["linear", "sqrt", "none"])
@pytest.mark.parametrize("unit", ["steps", "examples", "epochs"])
def test_its_timescale_is_the_same_share_of_the_run_whatever_the_budget_is_in(name: str, unit: str) -> None:
    """tau = B / (rate decay N), with the examples N of a run that takes 1000 steps, or 64,000 examples, or an epoch."""
    budget = Budget.model_validate({"unit": unit, "amount": {"steps": 1000, "examples": 64_000, "epochs": 1}[unit]})
    carry = rule(rule=name, carry=("weight_decay",))

    def timescale(batch_size: int) -> float:
        ((rate, _),) = scaled_rates(carry, batch_size)
        optimizer = carried_optimizer(AdamW(weight_decay=0.01), carry, batch_size, budget)
        assert isinstance(optimizer, AdamW)
        examples = 1000 * batch_size if unit == "steps" else 64_000
        return batch_size / (rate * optimizer.weight_decay * examples)

    assert timescale(1024) == pytest.approx(timescale(64))


def test_known_weight_decay_at_a_budget_in_steps() -> None:
    """From 64 to 1024 by the square root the rate is 4 times as high, over the same number of steps."""
    carry = rule(rule="sqrt", carry=("weight_decay",))
    steps = Budget(unit="steps", amount=1000)
    assert carried_optimizer(AdamW(weight_decay=0.01), carry, 1024, steps) == AdamW(weight_decay=0.0025)
    assert carried_optimizer(AdamW(weight_decay=0.01), carry, 1024, EXAMPLES) == AdamW(weight_decay=0.04)


def test_warmup_keeps_its_steps() -> None:
    """A tenth of 100 steps of 10 examples, and 40 % of 25 steps of 40; never more than half of a run."""
    assert warmup_fraction(0.1, 4) == 0.4
    assert warmup_fraction(0.1, 100) == 0.5
    assert warmup_fraction(0.7, 1) == 0.7


def test_only_what_is_named_is_carried() -> None:
    optimizers = [Sgd(weight_decay=0.1), Adam(weight_decay=0.1), AdamW()]
    for optimizer in optimizers:
        assert carried_optimizer(optimizer, rule(), 512, EXAMPLES) == optimizer
    everything = rule(carry=("beta1", "beta2", "weight_decay", "warmup"))
    assert carried_optimizer(optimizers[0], everything, 512, EXAMPLES) == optimizers[0]
    both = Adam(beta1=0.81, beta2=0.998001, weight_decay=0.1)
    assert carried_optimizer(Adam(weight_decay=0.1), everything, 128, EXAMPLES) == both
    assert carried_optimizer(Adam(), rule(carry=("beta1",)), 128, EXAMPLES) == Adam(beta1=0.81)
    assert carried_optimizer(Adam(beta1=0), everything, 128, EXAMPLES) == Adam(beta1=0, beta2=0.998001)
    assert all(carried_optimizer(optimizer, everything, 64, EXAMPLES) == optimizer for optimizer in optimizers)
    warm = WarmupCosine(warmup_fraction=0.1)
    assert carried_schedule(warm, rule(), 128, EXAMPLES) == warm
    assert carried_schedule(warm, everything, 128, EXAMPLES) == WarmupCosine(warmup_fraction=0.2)
    assert carried_schedule(warm, everything, 128, Budget(unit="steps", amount=10)) == warm
    assert carried_schedule(Constant(), everything, 128, EXAMPLES) == Constant()


def test_the_plan_shows_what_is_carried_and_by_which_rule(tmp_path: Path) -> None:
    plan = expand(load_text(tmp_path, sweep_text(parameters=CARRYING, compression=None, goals=None)))
    table = baseline_table(plan)
    small = dict(zip(table.columns, table.rows[0], strict=True))
    assert small["optimizer"] == "adamw beta1=0.974004 beta2=0.99975 weight_decay=0.05"
    assert small["schedule"] == "warmup_cosine"  # a twentieth, as by default
    rules = plan_as_dict(plan)["rules"]
    names = [
        "learning_rate",
        "beta1",
        "beta2",
        "weight_decay",
        "warmup",
        "adamw",
    ]  # last, what is known of the optimiser
    assert [line.partition(":")[0] for line in rules] == names
    assert all("arXiv" in line for line in rules)
    assert {f"rule: {line}" for line in rules} <= set(summary_lines(plan))


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        (
            ("name: adamw, weight_decay: 0.1", "name: sgd"),
            "carry[0]",
            "no trial has; allowed: with adam, adamw or lamb",
        ),
        (
            ("name: adamw, weight_decay: 0.1", "name: muon"),
            "carry[1]",
            "no trial has; allowed: with adam, adamw, lamb or rmsprop",
        ),
        (("weight_decay: 0.1", "weight_decay: 0"), "carry[2]", "adamw, lion or muon with decay"),
        (("name: adamw, weight_decay: 0.1", "name: lamb, weight_decay: 0.1"), "carry[2]", "adamw, lion or muon"),
        (("{name: warmup_cosine, warmup_fraction: 0.2}", "constant"), "carry[3]", "the schedule warmup_cosine"),
        (("[beta1,", "[beta1, beta1,"), "carry[1]", "duplicate"),
        (("[beta1,", "[beta3,"), "carry[0]", "not one of the choices; allowed: beta1, beta2, weight_decay, warmup"),
        (("at_batch_size: 64, ", ""), "at_batch_size", "is missing"),
    ],
)
def test_what_cannot_be_carried_is_said(tmp_path: Path, change: tuple[str, str], place: str, words: str) -> None:
    text = sweep_text(parameters=CARRYING.replace(*change), compression=None, goals=None)
    with pytest.raises(SweepError) as caught:
        load_text(tmp_path, text)
    problems = [str(p) for p in caught.value.problems if p.path.endswith(place)]
    assert problems
    assert words in problems[0]
