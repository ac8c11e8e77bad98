"""Learning rates beyond the edge of those tried: when they are asked for, where, and that it comes to an end."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.adaptive.resolve import Waiting, decide_variants, further_trials, settled
from orchestrator.planning.expand import expand
from orchestrator.report.plan_json import plan_as_dict
from orchestrator.report.plan_table import stage_table, summary_lines
from orchestrator.sweep.plan import Plan, Stage, Trial
from tests.support.simulated import ROWS, TARGET, Law, play
from tests.support.sweep_text import load_text, sweep_text
from trainables.config.trial import VariantConfig
from trainables.results import Status, TrialResult

PARAMETERS = (
    "{batch_size: {values: [64, 16]}, seed: {values: [0, 1]}, learning_rate: "
    "{base: 0.05, at_batch_size: 64, rule: linear, multipliers: [0.5, 1, 2], extend: 2}}"
)


def plan_of(folder: Path, parameters: str = PARAMETERS, **sections: str | None) -> Plan:
    objective = f"{{metric: val_loss, target: {TARGET}}}"
    defaults: dict[str, str | None] = {
        "objective": objective,
        "budget": "{examples: 100000}",
        "goals": None,
        "compression": None,
    }
    sweep = load_text(folder, sweep_text(parameters=parameters, **{**defaults, **sections}))
    return expand(sweep.model_copy(update={"facts": sweep.facts.model_copy(update={"train_rows": ROWS})}))


def added(plan: Plan, law: Law) -> dict[int, list[float]]:
    """Batch size -> rates that were added, in order."""
    trials, _ = play(plan, law)
    rates: dict[int, list[float]] = {}
    for trial in trials.values():
        if trial.stage is Stage.EDGE and trial.training.seed == 0:
            rates.setdefault(trial.training.batch_size, []).append(trial.training.learning_rate)
    return rates


def test_nothing_is_added_where_the_best_lies_inside(tmp_path: Path) -> None:
    assert added(plan_of(tmp_path), Law(noise=0.0)) == {}


def test_rates_are_added_until_the_best_lies_inside_or_the_limit_is_there(tmp_path: Path) -> None:
    """The best rates are 0.2 at 64 and 0.1 at 16 (a square root); tried were up to 0.1 and 0.025."""
    rates = added(plan_of(tmp_path), Law(base_rate=0.2, rate_power=0.5, noise=0.0))
    assert rates == {64: [0.2, 0.4], 16: [0.05, 0.1]}


NORMS = "{name: digits_cnn, options: {norm: {values: [batch, group]}}}"


def test_an_option_of_the_task_has_edges_of_its_own(tmp_path: Path) -> None:
    """Batch norm is best inside the rates tried, group norm beyond them: pooled, one would hide the other."""
    law = Law(rate_factors={"group": 4.0}, noise=0.0)
    trials, _ = play(plan_of(tmp_path, task=NORMS), law)
    new = [t for t in trials.values() if t.stage is Stage.EDGE]
    assert {t.config.task.options["norm"] for t in new} == {"group"}
    assert {(t.training.batch_size, t.training.learning_rate) for t in new} == {(64, 0.2), (64, 0.4), (16, 0.05),
                                                                                (16, 0.1)}  # fmt: skip


@pytest.mark.parametrize("seeds", ["first", "all"])
def test_options_of_the_task_are_compressed_apart_where_rates_are_added(tmp_path: Path, seeds: str) -> None:
    compression = f"{{parents: all, seeds: {seeds}, variants: [int8]}}"
    plan = plan_of(tmp_path, task=NORMS, compression=compression)
    trials, results = play(plan, Law(noise=0.0))  # nothing is added, and the plan is built anew all the same
    chosen = [t.config.parent for t in trials.values() if isinstance(t.config, VariantConfig) and t.config.chain]
    assert len(chosen) == len(set(chosen)) == (24 if seeds == "all" else 12)
    keys = [decision.pending.key for decision in decide_variants(plan, results)]
    assert len(keys) == len(set(keys)) == len(plan.pending)
    norms = [trials[parent].config.task.options["norm"] for parent in chosen]
    assert norms.count("group") == norms.count("batch")


def test_rates_are_added_below_too(tmp_path: Path) -> None:
    rates = added(plan_of(tmp_path), Law(base_rate=0.02, noise=0.0))
    assert rates[64] == [0.0125]


def test_every_seed_is_tried_at_a_rate_that_is_added(tmp_path: Path) -> None:
    trials, _ = play(plan_of(tmp_path), Law(base_rate=0.2, noise=0.0))
    new = [t for t in trials.values() if t.stage is Stage.EDGE]
    assert len(new) == 2 * len({(t.training.batch_size, t.training.learning_rate) for t in new})
    assert all(trial.learning_rate_source.startswith("beyond the highest") for trial in new)


def test_a_rate_that_diverges_is_the_worst_and_ends_it(tmp_path: Path) -> None:
    law = Law(base_rate=0.1, noise=0.0, diverges_above=1.5)
    assert added(plan_of(tmp_path), law) == {64: [0.2], 16: [0.05]}


@pytest.mark.parametrize("target", ["", f", target: {TARGET / 100}"])
def test_one_lucky_seed_draws_no_rate_beyond_those_at_which_others_broke(tmp_path: Path, target: str) -> None:
    """Without a target, or with one that nobody reaches: at the highest rate one seed diverged, the other is best."""

    class Lucky(Law):
        def result(self, trial: Trial) -> TrialResult:
            training, result = trial.training, super().result(trial)
            if training.seed == 1 and training.learning_rate / training.batch_size >= 0.1 / 64:
                return result.model_copy(update={"status": Status.DIVERGED, "metrics": {}, "history": ()})
            return result

    plan = plan_of(tmp_path, objective=f"{{metric: val_loss{target}}}")
    assert set(added(plan, Law(base_rate=0.2, noise=0.0))) == {64, 16}
    assert added(plan, Lucky(base_rate=0.2, noise=0.0)) == {}


def test_without_a_target_the_objective_decides(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, objective="{metric: val_loss}")
    assert added(plan, Law(base_rate=0.2, noise=0.0))[64][0] == 0.2


def test_without_extend_nothing_is_added(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, PARAMETERS.replace(", extend: 2", ""))
    assert plan.stages == ()
    assert added(plan, Law(base_rate=0.2)) == {}


def test_variants_wait_for_the_rates_that_may_come(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, compression="{parents: best_per_batch_size, variants: [int8]}")
    law = Law(base_rate=0.2, rate_power=0.5, noise=0.0)
    results = {trial.id: law.result(trial) for trial in plan.trials}
    assert all(isinstance(decision, Waiting) for decision in decide_variants(plan, results))
    assert not settled(plan, results)
    assert {trial.stage for trial in further_trials(plan, results)} == {Stage.EDGE}
    trials, _ = play(plan, law)
    parents = [trials[t.config.parent] for t in trials.values() if isinstance(t.config, VariantConfig)]
    assert [parent.training.batch_size for parent in parents] == [64, 64, 16, 16]
    assert {parent.training.learning_rate for parent in parents} == {0.2, 0.1}


def test_one_batch_size_does_not_wait_for_another(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    law = Law(base_rate=0.2, noise=0.0)
    results = {t.id: law.result(t) for t in plan.trials if t.training.batch_size == 16}
    assert {trial.training.batch_size for trial in further_trials(plan, results)} == {16}


def test_the_plan_says_how_many_may_come(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    (bound,) = plan.stages
    assert (bound.stage, bound.trials) == (Stage.EDGE, 8)  # 2 rates x 2 batch sizes x 2 seeds
    assert plan_as_dict(plan)["totals"]["trials"] == 20
    assert "at most 20 trials" in summary_lines(plan)[0]
    assert stage_table(plan).rows[0][:2] == ("beyond the edge", "at most 8")
    for law in (Law(base_rate=0.2), Law(base_rate=1.0), Law(base_rate=0.001)):
        trials, _ = play(plan, law)
        assert len(trials) <= 20


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_results_does_not_matter(tmp_path: Path, order: int) -> None:
    plan, law = plan_of(tmp_path), Law(base_rate=0.2)
    trials: dict[str, Trial] = {trial.id: trial for trial in plan.trials}
    results: dict[str, TrialResult] = {}
    while still := [t for t in trials.values() if t.id not in results][::order]:
        results[still[0].id] = law.result(still[0])
        trials.update({t.id: t for t in further_trials(plan, results)})
    assert set(trials) == set(play(plan, law)[0])
