"""Settings beside batch size and rate, from the sweep file to the comparison: the effect of each can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulated import Law, play, sweep_of

from orchestrator.analysis.comparison import compare
from orchestrator.analysis.plan_file import stored_plan
from orchestrator.analysis.table import make_table
from orchestrator.commands.compare import plain_text
from orchestrator.planning.expand import expand
from orchestrator.report.export import to_dict
from orchestrator.report.page import to_page
from orchestrator.sweep.plan import Trial
from trainables.config.training import AdamW
from trainables.config.trial import BaselineConfig

NORMS = "{name: digits_cnn, options: {norm: {values: [batch, group]}}}"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("", ("batch", "group")),
        ("batch_schedule: {values: [fixed, {name: grow_at, examples: [20000]}]}", ("fixed", "grow_at examples=20000")),
        ("batch_schedule: {values: [fixed, grow_with_noise]}", ("fixed", "grow_with_noise")),
        ("num_workers: 2, sync_every_steps: {values: [null, 16]}", ("every step", "every 16 steps")),
        ("num_workers: 2, sharding: {values: [stripe, block]}", ("stripe", "block")),
        ("data_order: {values: [stored, sorted]}", ("stored", "sorted")),
        ("precision: {values: [float32, bfloat16]}", ("float32", "bfloat16")),
    ],
)
def test_the_effect_of_a_setting_can_be_read(setting: str, words: tuple[str, str], tmp_path: Path) -> None:
    """Each second choice takes three times the steps, at every batch size; nothing else is said to differ."""
    parameters = (
        "{batch_size: {values: [64, 256]}, seed: {values: [0, 1, 2]}, "
        f"learning_rate: {{base: 0.05, at_batch_size: 64, rule: linear}}, {setting}}}"
    )
    plan = expand(sweep_of(tmp_path, parameters, **({} if setting else {"task": NORMS})))
    first = plan.trials[0].config
    assert isinstance(first, BaselineConfig)
    alike = {"training": {"batch_size", "micro_batch_size", "learning_rate", "seed"}}
    base = first.model_dump(exclude=alike)  # type: ignore[arg-type]
    law = Law(noise=0.01, slower=lambda t: 1.0 if t.config.model_dump(exclude=alike) == base else 3.0)  # type: ignore[arg-type]
    trials, results = play(plan, law)
    assert len(trials) == 12
    comparison = compare(make_table(stored_plan(plan), results))

    assert len(comparison.table.settings) == 1
    steps = {(row.batch_size, row.settings): row.steps.mean for row in comparison.targets}
    assert set(steps) == {(size, word) for size in (64, 256) for word in words}
    for size in (64, 256):
        assert steps[size, words[1]] / steps[size, words[0]] == pytest.approx(3, rel=0.1)
    sentences = {(b["batch_size"], b["best"], b["settings"]): b["sentence"] for b in to_dict(comparison)["behind"]}
    for size in (64, 256):
        assert sentences[size, size, words[1]].startswith(f"Batch {size}, {words[1]} against {words[0]}: ")
        assert "worse" in sentences[size, size, words[1]]
    assert {settings for one, best, settings in sentences if one != best} == set(words)
    text, page = plain_text(comparison), to_page(comparison)
    for word in words:
        assert word in text
        assert f"<td>{word}</td>" in page


def test_each_choice_has_its_curve_where_what_is_carried_differs_at_every_batch_size(tmp_path: Path) -> None:
    """Weight decay follows the batch, so that no two batch sizes word it alike; the critical batch is 200 for both."""
    parameters = (
        "{batch_size: {values: [16, 64, 256, 1024]}, seed: {values: [0, 1, 2]}, "
        "learning_rate: {base: 0.05, at_batch_size: 64, rule: sqrt, carry: [weight_decay]}, "
        "optimizer: {values: [{name: adamw, weight_decay: 0.01}, {name: adamw, weight_decay: 0.1}]}}"
    )
    plan = expand(sweep_of(tmp_path, parameters))
    decays = {trial.training.batch_size: set[float]() for trial in plan.trials}
    for trial in plan.trials:
        assert isinstance(trial.training.optimizer, AdamW)
        decays[trial.training.batch_size].add(trial.training.optimizer.weight_decay)
    small, large = min(decays[16]), max(decays[16])

    def slower(trial: Trial) -> float:
        assert isinstance(trial.training.optimizer, AdamW)
        return 1.2 if trial.training.optimizer.weight_decay == max(decays[trial.training.batch_size]) else 1.0

    _, results = play(plan, Law(rate_power=0.5, noise=0.01, slower=slower))
    comparison = compare(make_table(stored_plan(plan), results))
    assert len({row.settings for row in comparison.targets}) == 8
    assert list(comparison.curves) == [f"adamw weight_decay={value:g} at batch size 16" for value in (small, large)]
    for curve, min_steps in zip(comparison.curves.values(), (60, 72), strict=True):
        assert curve.undetermined is None
        assert curve.batch_size == pytest.approx(200, rel=0.2)
        assert curve.min_steps == pytest.approx(min_steps, rel=0.1)
