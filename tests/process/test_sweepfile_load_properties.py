"""Whatever the file holds, loading it gives a sweep or a SweepError; and a sweep can always be expanded."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.diagnostics.problem import SweepError
from orchestrator.diagnostics.schema_text import MAX_TRIALS
from orchestrator.planning.expand import expand
from orchestrator.report.plan_json import plan_as_json
from orchestrator.report.plan_table import summary_lines
from orchestrator.sweep.spec import Sweep
from orchestrator.sweepfile.yaml_file import parse_yaml
from tests.support.sweep_text import load_text, sweep_text

MOST_EXPANDED = 500

VALID: dict[str, Any] = yaml.safe_load(
    sweep_text(
        task="{name: digits_cnn, options: {channels: 16, norm: {values: [batch, group]}}}",
        objective="{metric: val_accuracy, mode: max, target: 0.9}",
        parameters="""{
            batch_size: {values: [16, 32]}, micro_batch_size: 8,
            learning_rate: {base: 0.1, at_batch_size: 32, rule: linear, multipliers: [0.5, 1]},
            optimizer: {values: [{name: sgd, momentum: 0.9}, adam]},
            schedule: {name: warmup_cosine, warmup_fraction: 0.1},
            gradient_clip_norm: {values: [null, 1.0]}, precision: bfloat16, num_workers: {values: [1, 2]},
            sharding: block, data_order: {values: [stored, {name: sorted, column: label}]},
            batch_schedule: {name: grow_at, fractions: [0.25, 0.5]}, sync_every_steps: {values: [null, 4]},
            seed: {values: [0, 1]}}""".replace("\n", " "),
        evaluations="4",
        noise_scale="{every_steps: 8, divided_every_steps: 32}",
        early_stopping="{grace_fraction: 0.25, reduction_factor: 4}",
        compression="{parents: {top: 2}, seeds: all, "
        "variants: [int8, {prune: {ratio: 0.5, fine_tune: {budget_fraction: 0.5}}}, [{distill: {width: 0.5}}, int8]]}",
        measure="{device: cpu, threads: 2, batch_sizes: [1, 8], rounds: 5}",
        resources="{cpus_per_worker: 2}",
    )
)

WORDS = """auto none linear sqrt sgd adam values name base rule best_per_batch_size all top int8 prune distill ratio
width
    threshold max-degradation val_accuracy val_loss artifact_bytes examples seconds epochs a:B os:path 64 1e3 .nan"""
names = st.sampled_from(WORDS.split())
numbers = st.integers() | st.integers(-2, 70) | st.floats() | st.sampled_from([10**30, 0.5, 1e-320, 1e308])
scalars = st.none() | st.booleans() | numbers | st.text(max_size=12) | names
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything within a value."""
    children: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


@st.composite
def mutations(draw: st.DrawFn) -> Any:
    """The valid file with one to three changes: a value replaced, removed, or copied to another key."""
    content = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([place for place in places(content) if place]))
        holder = content
        for key in path[:-1]:
            holder = holder[key]
        kind = draw(st.sampled_from(["replace", "remove", "add"]))
        if kind == "replace":
            holder[path[-1]] = draw(values)
        elif kind == "remove":
            del holder[path[-1]]
        elif isinstance(holder, dict):
            holder[draw(names | st.text(max_size=6))] = copy.deepcopy(holder[path[-1]])
        else:
            holder.append(draw(values))
        if not content:
            break
    return content


def load_or_refuse(folder: Path, text: str | bytes) -> Sweep | SweepError:
    try:
        return load_text(folder, text)
    except SweepError as error:
        return error


def check_text(text: str | bytes) -> None:
    """Load, and expand what loads. Whatever else is raised fails the test."""
    with tempfile.TemporaryDirectory() as folder:
        sweep = load_or_refuse(Path(folder), text)
    if not isinstance(sweep, Sweep):
        assert sweep.problems
        assert str(sweep)
        assert json.loads(sweep.as_json())["problems"]
        return
    axes = sweep.parameters
    size = len(axes.batch_size) * len(axes.num_workers) * len(axes.seed) * len(axes.optimizer)
    if size > MOST_EXPANDED:
        return
    plan = expand(sweep)
    ids = [trial.id for trial in plan.trials]
    assert 0 < len(ids) == len(set(ids)) <= MAX_TRIALS
    assert len({pending.key for pending in plan.pending}) == len(plan.pending)
    assert json.loads(plan_as_json(plan))["totals"]["baselines"] == len(ids)
    assert summary_lines(plan)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutations())
def test_a_changed_file_loads_or_is_refused(content: Any) -> None:
    check_text(json.dumps(content))  # JSON is YAML, and holds what safe_dump does not write as it was


def test_the_file_that_is_changed_is_valid() -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert len(expand(load_text(Path(folder), json.dumps(VALID))).trials) == 2**7 * 3  # one worker meets nobody


@settings(max_examples=75, deadline=None)
@given(values)
def test_any_content_loads_or_is_refused(content: Any) -> None:
    check_text(yaml.safe_dump(content))


@settings(max_examples=150, deadline=None)
@given(st.text() | st.binary() | st.text(alphabet="ab:-[]{}&*!|>?%@`'\"#, \n\t01.e"))
def test_any_text_loads_or_is_refused(text: str | bytes) -> None:
    check_text(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)


printable = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=5)


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | printable,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(printable, inner, max_size=4),
    )
)
def test_what_is_read_is_what_was_written(content: Any) -> None:
    assert parse_yaml(json.dumps(content, ensure_ascii=False)).content == content
