"""What is said against a recommendation whose configuration has lost seeds."""

from __future__ import annotations

import pytest

from orchestrator.analysis.caveats import FewSeeds, SeedBroke, SeedsStopped
from orchestrator.analysis.evidence import Evidence
from orchestrator.analysis.recommend import Recommendation, recommend
from orchestrator.analysis.table import make_table
from tests.support.sample_sweep import CHAINS, of_kind, sample_plan, sample_results
from trainables.estimate import Estimate
from trainables.results import Status, TrialResult


def recommendation(status: dict[int, Status], **options: object) -> Recommendation:
    """Of a sweep of one batch size and rate; `status`: of the seeds that did not run to their end."""
    plan = sample_plan(batch_sizes=(32,), multipliers=(1.0,), goals=(), **options)  # type: ignore[arg-type]

    def lost(result: TrialResult) -> TrialResult:
        config = result.config
        if config.kind != "baseline" or config.training.seed not in status:
            return result
        changes = {"status": status[config.training.seed], "metrics": {}, "history": result.history[:3], "files": {}}
        return result.model_copy(update=changes)

    return recommend(Evidence(make_table(plan, {result.id: lost(result) for result in sample_results(plan)})))


@pytest.mark.parametrize("chains", [(), CHAINS[:1]], ids=["baseline", "variant"])
@pytest.mark.parametrize("stopped", [(2,), (1, 2)])
def test_a_mean_over_the_seeds_that_survived_is_said_to_be_one(chains: object, stopped: tuple[int, ...]) -> None:
    found = recommendation(dict.fromkeys(stopped, Status.STOPPED_EARLY), chains=chains)
    assert of_kind(found.caveats, SeedsStopped) == [SeedsStopped(len(stopped), 3)]


def test_nothing_is_said_of_whole_seeds_and_failures_are_named_one_by_one() -> None:
    assert of_kind(recommendation({}, chains=()).caveats, SeedsStopped) == []
    found = recommendation({1: Status.DIVERGED, 2: Status.STOPPED_EARLY}, chains=())
    assert of_kind(found.caveats, SeedsStopped) == [SeedsStopped(1, 3)]
    assert [caveat.row.status for caveat in of_kind(found.caveats, SeedBroke)] == ["diverged"]


def test_a_configuration_that_lost_seeds_is_not_recommended_before_one_that_lost_none() -> None:
    """Its mean is over the lucky ones."""
    plan = sample_plan(batch_sizes=(8, 32), multipliers=(1.0,), goals=(), chains=())
    results = {result.id: result for result in sample_results(plan)}
    best = recommend(Evidence(make_table(plan, results))).row
    assert best is not None
    alike = [row for row in plan.trials if but_for_seed(row.config) == but_for_seed(best.config) and row.id != best.id]
    for row in alike:
        results[row.id] = results[row.id].model_copy(update={"status": Status.STOPPED_EARLY, "metrics": {}})
    other = recommend(Evidence(make_table(plan, results))).row
    assert other is not None
    assert other.config.training.batch_size != best.config.training.batch_size


def but_for_seed(config: object) -> object:
    return config.model_copy(update={"training": config.training.model_copy(update={"seed": 0})})  # type: ignore[attr-defined]


def test_a_gap_that_is_the_same_with_every_seed_wants_six() -> None:
    """One validation row of 287, with three seeds: the sign test cannot tell it from chance."""
    plan = sample_plan(batch_sizes=(32,), multipliers=(1.0, 2.0), goals=(), chains=(), target=None)
    results = {}
    for result in sample_results(plan):
        assert result.config.kind == "baseline"
        rows = 280 if result.config.training.learning_rate < 0.04 else 281
        metrics = result.metrics | {"val_accuracy": Estimate.of_share(rows, 287)}
        results[result.id] = result.model_copy(update={"metrics": metrics})
    found = recommend(Evidence(make_table(plan, results)))
    assert found.runner_up is not None
    assert [(advice.needed, advice.pairs) for advice in of_kind(found.caveats, FewSeeds)] == [(6, 3)]
