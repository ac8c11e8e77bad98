"""The sentences of a recommendation say no more than what decided, and of which trials their figures are."""

from __future__ import annotations

import pytest
from sample_sweep import sample_plan, sample_results

from orchestrator.analysis.choose import Candidate, choose
from orchestrator.analysis.comparison import Comparison, compare
from orchestrator.analysis.table import make_table
from orchestrator.analysis.why_not import why_not
from trainables.results import Estimate

EQUAL = Estimate(value=0.96, low=0.94, high=0.98, n=360)


def alike(seconds: dict[int, float], **options: object) -> Comparison:
    """Baselines of the same accuracy with every seed; `seconds`: batch size -> of its training, to its end."""
    plan = sample_plan(chains=(), goals=(), target=None, multipliers=(1.0,), batch_sizes=tuple(seconds), **options)  # type: ignore[arg-type]
    results = {}
    for result in sample_results(plan):
        took = Estimate.exact(seconds[result.config.training.batch_size])  # type: ignore[union-attr]
        results[result.id] = result.model_copy(
            update={"metrics": result.metrics | {"val_accuracy": EQUAL, "train_seconds": took}}
        )
    return compare(make_table(plan, results))


@pytest.mark.parametrize(
    ("seconds", "batch_size", "decides", "why_not"),
    [
        ({8: 1.02, 32: 1.0}, 32, "the cheaper training decides", "its training took 1.02 s against 1.00 s"),
        ({8: 1.0001, 32: 1.0}, 32, "the cheaper training decides", "its training took 1.00010 s against 1.00000 s"),
        ({8: 1.0, 32: 1.0}, 8, "the smaller batch size decides", "its batch size is 32 against 8"),
    ],
)
def test_between_equals_what_decides_is_named(
    seconds: dict[int, float], batch_size: int, decides: str, why_not: str
) -> None:
    found = alike(seconds).recommendation
    assert found.configuration is not None
    assert found.configuration.training.batch_size == batch_size
    assert f"Between the last 2, with the same mean val_accuracy, {decides}." in found.reasons
    assert found.runner_up is not None
    assert found.runner_up.why_not == f"equal in every step; its mean val_accuracy is the same, and {why_not}"


def test_where_every_seed_gave_the_same_none_of_them_flatters() -> None:
    for seeds in ((0,), (0, 1, 2)):
        assert not any("flatters itself" in reason for reason in alike({8: 1.0}, seeds=seeds).recommendation.reasons)


def test_what_no_figure_decides_is_called_arbitrary() -> None:
    comparison = alike({8: 1.0, 32: 1.0})
    first, second = comparison.table.baselines
    choice = choose([Candidate(c.key, {0: 0.96}, 0.02) for c in (first, second)], "max")
    chosen, other = sorted((first, second), key=lambda c: c.key)
    assert choice.chosen.key == chosen.key
    assert why_not(comparison.table, choice, chosen, other).endswith("which of the two comes first is arbitrary")
