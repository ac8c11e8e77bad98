"""Optimisers, groups of parameters and schedules as a sweep file gives them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.diagnostics.problem import SweepError
from orchestrator.planning.evidence import evidence_of
from orchestrator.planning.expand import expand
from orchestrator.planning.scaling import rules_of
from orchestrator.report.plan_table import baseline_table
from orchestrator.sweep.labels import settings_words, swept_settings
from orchestrator.sweep.spec import Sweep
from tests.support.sweep_text import load_text, sweep_text
from trainables.config.base import union_members
from trainables.config.optimizers import AdamW, CustomOptimizer, Muon, Optimizer

BASE = "batch_size: {values: [16, 64]}, learning_rate: {base: 0.1, at_batch_size: 16, rule: sqrt}"


def loaded(folder: Path, settings: str, base: str = BASE) -> Sweep:
    return load_text(folder, sweep_text(parameters=f"{{{base}, {settings}}}", compression=None, goals=None))


def refused(folder: Path, settings: str, base: str = BASE) -> str:
    with pytest.raises(SweepError) as caught:
        loaded(folder, settings, base)
    return "\n".join(map(str, caught.value.problems))


def test_a_list_of_names_is_one_value_and_values_are_several(tmp_path: Path) -> None:
    sweep = loaded(tmp_path, "optimizer: adamw, no_decay: [bias, norm], layer_decay: {values: [null, 0.75]}")
    assert (sweep.parameters.no_decay, sweep.parameters.layer_decay) == ((("bias", "norm"),), (None, 0.75))
    several = loaded(tmp_path, "optimizer: adamw, no_decay: {values: [[], bias, [bias, norm]]}")
    assert several.parameters.no_decay == ((), ("bias",), ("bias", "norm"))
    assert loaded(tmp_path, "optimizer: adamw, no_decay: head").parameters.no_decay == (("head",),)
    words = {settings_words(trial.config, swept_settings(several)) for trial in expand(several).trials}
    assert words == {"all decay", "no decay of bias", "no decay of bias,norm"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("no_decay: [bias]", "leaves out of weight decay, and no optimizer of the sweep has any"),
        ("optimizer: adamw, no_decay: [bias, bias]", "no_decay[1] = bias: is a duplicate"),
        ("optimizer: adamw, no_decay: [1]", "no_decay[0] = 1: must be non-empty text"),
        ("layer_decay: 1.5", "layer_decay = 1.5: is out of range; allowed: numbers above 0, up to 1"),
        ("optimizer: {name: custom}", "factory"),
        ("optimizer: {name: custom, factory: NAdam}", "factory"),
        ("optimizer: addam", "allowed: sgd, adam, adamw, rmsprop, adafactor, lion, lamb, muon, custom"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, settings: str, words: str) -> None:
    assert words in refused(tmp_path, settings)


def test_what_is_not_used_is_no_part_of_a_trials_identity(tmp_path: Path) -> None:
    plain = expand(loaded(tmp_path, "optimizer: adamw")).trials[0]
    assert {"no_decay", "layer_decay"}.isdisjoint(plain.config.model_dump(mode="json")["training"])
    decayed = expand(loaded(tmp_path, "optimizer: adamw, no_decay: bias")).trials[0]
    assert decayed.config.model_dump(mode="json")["training"]["no_decay"] == ["bias"]
    assert decayed.id != plain.id


def test_the_code_of_a_factory_and_its_arguments_are_parts_of_the_identity(tmp_path: Path) -> None:
    (tmp_path / "own_optimizers.py").write_text(
        "import torch\n\n\ndef make(groups, lr):\n    return torch.optim.SGD(groups, lr)\n"
    )
    settings = "optimizer: {name: custom, factory: 'own_optimizers:make', arguments: {momentum: 0.5}}"
    sweep = loaded(tmp_path, settings)
    assert sweep.parameters.optimizer == (CustomOptimizer(factory="own_optimizers:make", arguments={"momentum": 0.5}),)
    assert str(tmp_path) in sweep.facts.search_path, "workers find the module"
    ids = {expand(sweep).trials[0].id, expand(loaded(tmp_path, settings.replace("0.5", "0.6"))).trials[0].id}
    (tmp_path / "own_optimizers.py").write_text(
        "import torch\n\n\ndef make(groups, lr):\n    return torch.optim.Adam(groups, lr)\n"
    )
    ids.add(expand(loaded(tmp_path, settings)).trials[0].id)
    assert len(ids) == 3


def test_groups_and_decay_are_carried_with_the_batch_size(tmp_path: Path) -> None:
    base = BASE.replace("rule: sqrt", "rule: sqrt, carry: [weight_decay]")
    small, large = expand(
        loaded(tmp_path, "optimizer: {name: muon, weight_decay: 0.1}, no_decay: bias, layer_decay: 0.5", base)
    ).trials
    assert (small.training.learning_rate, large.training.learning_rate) == (0.1, 0.2)
    assert (small.training.optimizer, large.training.optimizer) == (Muon(weight_decay=0.1), Muon(weight_decay=0.2))
    assert small.training.layer_decay == large.training.layer_decay == 0.5


@pytest.mark.parametrize("name", union_members(Optimizer, "name"))
def test_the_plan_says_of_each_optimiser_what_is_known_and_where_it_ends(tmp_path: Path, name: str) -> None:
    settings = "factory: 'torch.optim:NAdam'" if name == "custom" else ""
    sweep = loaded(tmp_path, f"optimizer: {{name: {name}, {settings}}}")
    plan = expand(sweep)
    (line,) = [line for line in rules_of(plan) if "where it ends: " in line]
    assert line.startswith("torch.optim:NAdam: known: " if name == "custom" else f"{name}: known: ")
    guessed = [note for note in plan.notes if note.startswith(f"no rule is established for {name}: sqrt is a guess")]
    (optimizer,) = sweep.parameters.optimizer
    assert bool(guessed) == (evidence_of(optimizer).rule is None)


def test_only_what_is_known_is_carried() -> None:
    carried = {
        name: evidence_of(cls(factory="a:b") if name == "custom" else cls()).carried
        for name, cls in union_members(Optimizer, "name").items()
    }
    assert carried["sgd"] == carried["adafactor"] == carried["custom"] == frozenset()
    assert carried["adam"] == carried["lamb"] == {"beta1", "beta2"}
    assert carried[AdamW().name] == {"beta1", "beta2", "weight_decay"}
    assert carried["lion"] == carried["muon"] == {"weight_decay"}
    assert carried["rmsprop"] == {"beta2"}


@pytest.mark.parametrize(
    ("settings", "sections", "words"),
    [
        (
            "{name: warmup_linear, warmup_steps: 20}",
            {},
            "a warm-up of 20 steps is not over before the budget of 10",
        ),
        ("{name: warmup_linear, warmup_examples: 1000}", {}, "a warm-up of 1000 examples is not over"),
        (
            "{name: one_cycle, warmup_steps: 1}",
            {"budget": "{seconds: 9}"},
            "needs a number of steps, but",
        ),
        ("{name: step, at: [0.5, 0.2]}", {}, "at must ascend"),
        ("{name: step, warmup_steps: 1, warmup_fraction: 0.1}", {}, "needs one of warmup_fraction, warmup_steps and"),
        ("{name: custom, function: ramp}", {}, "function"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(
    tmp_path: Path, settings: str, sections: dict[str, str], words: str
) -> None:
    text = sweep_text(parameters=f"{{{BASE}, schedule: {settings}}}", compression=None, goals=None, **sections)
    with pytest.raises(SweepError) as caught:
        load_text(tmp_path, text)
    assert words in "\n".join(map(str, caught.value.problems))


def test_a_warm_up_in_steps_is_not_carried_for_it_says_what_stays(tmp_path: Path) -> None:
    base = BASE.replace("rule: sqrt", "rule: sqrt, carry: [warmup]")
    settings = "schedule: {values: [{name: one_cycle, warmup_fraction: 0.1}, {name: warmup_linear, warmup_steps: 5}]}"
    plan = expand(loaded(tmp_path, settings, base))
    found = {(t.training.batch_size, t.training.schedule.name): t.training.schedule for t in plan.trials}
    assert found[64, "one_cycle"].warmup_fraction == 0.4
    assert found[16, "warmup_linear"] == found[64, "warmup_linear"]
    assert "no trial has" in refused(tmp_path, "schedule: {name: warmup_linear, warmup_steps: 5}", base)


def test_the_code_of_a_schedules_function_is_part_of_the_identity(tmp_path: Path) -> None:
    module = tmp_path / "own_ramp.py"
    ids = set()
    for body in ("progress", "1 - progress"):
        module.write_text(f"def ramp(progress):\n    return {body}\n")
        ids.add(expand(loaded(tmp_path, "schedule: {name: custom, function: 'own_ramp:ramp'}")).trials[0].id)
    assert len(ids) == 2


def test_average_patience_and_sampling_are_axes(tmp_path: Path) -> None:
    settings = (
        "ema: {values: [null, 0.99]}, patience: 3, sampling: {values: [uniform, {name: class_balanced, power: 0.5}]}"
    )
    sweep = loaded(tmp_path, settings)
    plan = expand(sweep)
    assert len(plan.trials) == 8
    assert any(note.startswith("patience ends trials at different parts of the budget") for note in plan.notes)
    words = {settings_words(trial.config, swept_settings(sweep)) for trial in plan.trials}
    assert words == {
        f"{kind}, {ema}" for kind in ("uniform", "class_balanced power=0.5") for ema in ("no ema", "ema 0.99")
    }
    plain = expand(loaded(tmp_path, "optimizer: adamw")).trials[0]
    assert {"ema", "patience", "sampling"}.isdisjoint(plain.config.model_dump(mode="json")["training"])


def test_an_average_is_carried_over_the_same_examples(tmp_path: Path) -> None:
    base = BASE.replace("rule: sqrt", "rule: sqrt, carry: [ema]")
    small, large = expand(loaded(tmp_path, "ema: 0.99", base)).trials
    assert (small.training.ema, large.training.ema) == (0.99, pytest.approx(0.99**4))
    assert "no trial has" in refused(tmp_path, "optimizer: sgd", base)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("ema: 1", "ema = 1: is out of range; allowed: numbers above 0, below 1"),
        ("ema: 0.9, num_workers: 2, sync_every_steps: 4", "averages the weights of every step"),
        ("sampling: class_balanced, data_order: sorted", "has no effect where rows are drawn by class"),
        ("patience: 0", "patience = 0: is out of range"),
        ("sampling: balanced", "allowed: uniform, class_balanced"),
    ],
)
def test_what_would_have_no_effect_or_no_meaning_is_refused(tmp_path: Path, settings: str, words: str) -> None:
    assert words in refused(tmp_path, settings)


def test_functions_with_arguments_are_told_apart_in_the_plan(tmp_path: Path) -> None:
    custom = "{name: custom, factory: 'torch.optim:NAdam', arguments: {weight_decay: %s}}"
    values = ", ".join(custom % decay for decay in (0.1, 0.2))
    schedule = "{name: custom, function: 'math:sqrt', arguments: {}}"
    plan = expand(loaded(tmp_path, f"optimizer: {{values: [{values}]}}, schedule: {{values: [constant, {schedule}]}}"))
    table = baseline_table(plan)
    cells = {row[table.columns.index("optimizer")] for row in table.rows}
    assert cells == {f"custom factory=torch.optim:NAdam arguments=weight_decay={decay}" for decay in (0.1, 0.2)}
