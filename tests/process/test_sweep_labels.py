"""Settings beside batch size and rate, from the sweep file to the comparison: the effect of each can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.analysis.comparison import compare
from orchestrator.analysis.plan_file import stored_plan
from orchestrator.analysis.table import make_table
from orchestrator.commands.compare import comparison_text
from orchestrator.planning.expand import expand
from orchestrator.report.export import to_dict
from orchestrator.report.page import to_page
from orchestrator.sweep.labels import settings_words
from tests.support.simulated import Law, play, sweep_of
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
    names = comparison.table.settings
    steps = {
        (row.batch_size, settings_words(row.configuration.config, names)): row.steps.mean for row in comparison.targets
    }
    assert set(steps) == {(size, word) for size in (64, 256) for word in words}
    for size in (64, 256):
        assert steps[size, words[1]] / steps[size, words[0]] == pytest.approx(3, rel=0.1)
    sentences = {(b["batch_size"], b["best"], b["settings"]): b["sentence"] for b in to_dict(comparison)["behind"]}
    for size in (64, 256):
        assert sentences[size, size, words[1]].startswith(f"Batch {size}, {words[1]} against {words[0]}: ")
        assert "worse" in sentences[size, size, words[1]]
    assert {settings for one, best, settings in sentences if one != best} == set(words)
    text, page = comparison_text(comparison, details=True), to_page(comparison)
    for word in words:
        assert word in text
        assert f">{word}</td>" in page
