"""Which trials have room beside one another, and which never will."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.running import resources
from orchestrator.running.resources import (
    ClusterNode,
    NeverFitsError,
    Shape,
    check_fits,
    check_precision,
    eligible,
    fits,
    future_nodes,
    growth_of_head,
    need_of,
)
from orchestrator.running.resources import side_by_side as count
from orchestrator.sweep.spec import Resources
from trainables.config.training import Budget, Training
from trainables.config.trial import BaselineConfig, Device, MeasureSettings, ProbeConfig, TaskConfig, VariantConfig

TASK = TaskConfig(name="digits_cnn", data="d", code="c")
LAPTOP = (ClusterNode(2, 0),)
TWO_NODES = (ClusterNode(4, 0), ClusterNode(8, 0))
GPU_BOX = (ClusterNode(16, 4),)


def baseline(num_workers: int = 1) -> BaselineConfig:
    training = Training(
        batch_size=8,
        micro_batch_size=8 // num_workers,
        num_workers=num_workers,
        learning_rate=0.1,
        budget=Budget(unit="steps", amount=10),
    )
    return BaselineConfig(task=TASK, training=training)


def variant(device: Device = "auto") -> VariantConfig:
    return VariantConfig(
        task=TASK, parent="p", training=baseline().training, chain=(), measure=MeasureSettings(device=device)
    )


def test_a_baseline_claims_what_its_workers_reserve() -> None:
    assert need_of(baseline(2), LAPTOP, 1).workers == Shape(2, 1, 0)
    assert need_of(baseline(2), GPU_BOX, 3).workers == Shape(2, 3, 1)
    for nodes in (LAPTOP, TWO_NODES, GPU_BOX):
        need = need_of(baseline(2), nodes, 1)
        assert need.claim == need.workers


def test_nothing_runs_beside_a_variant_that_is_measured_on_cpus() -> None:
    need = need_of(variant(), LAPTOP, 1)
    assert need.workers == need_of(baseline(), LAPTOP, 1).workers  # the same workers serve: no restart
    assert fits([need.claim], LAPTOP)
    assert not fits([need.claim, Shape(1, 1, 0)], LAPTOP)


def test_on_several_nodes_a_variant_reserves_a_whole_one() -> None:
    need = need_of(variant(), TWO_NODES, 1)
    assert need.workers == need.claim == Shape(1, 8, 0)
    assert fits([need.claim, *[Shape(1, 1, 0)] * 4], TWO_NODES)
    assert not fits([need.claim, *[Shape(1, 1, 0)] * 5], TWO_NODES)


def test_a_variant_measured_on_a_gpu_claims_that_gpu() -> None:
    assert need_of(variant(), GPU_BOX, 2).claim == Shape(1, 2, 1)
    assert need_of(variant("cpu"), GPU_BOX, 2).claim == Shape(1, 16, 1)


shapes = st.builds(Shape, st.integers(1, 4), st.integers(1, 4), st.integers(0, 2))
clusters = st.lists(st.builds(ClusterNode, st.integers(0, 8), st.integers(0, 4)), max_size=4)


@given(st.lists(shapes, max_size=6), clusters)
def test_what_fits_never_exceeds_the_cluster(wanted: Sequence[Shape], nodes: Sequence[ClusterNode]) -> None:
    if fits(wanted, nodes):
        assert sum(shape.num_workers * shape.cpus for shape in wanted) <= sum(node.cpus for node in nodes)
        assert sum(shape.num_workers * shape.gpus for shape in wanted) <= sum(node.gpus for node in nodes)


@given(shapes, clusters)
def test_as_many_fit_side_by_side_as_are_counted_and_not_one_more(shape: Shape, nodes: Sequence[ClusterNode]) -> None:
    number = count(shape, nodes)
    assert fits([shape] * number, nodes)
    assert not fits([shape] * (number + 1), nodes)


def test_the_number_of_gangs_follows_the_cluster() -> None:
    assert count(Shape(1, 1, 0), LAPTOP) == 2
    assert count(Shape(2, 1, 0), LAPTOP) == 1
    assert count(Shape(1, 1, 0), TWO_NODES) == 12
    assert count(Shape(1, 2, 1), GPU_BOX) == 4
    assert count(Shape(2, 1, 1), GPU_BOX) == 2


@pytest.mark.parametrize(
    ("shape", "nodes", "way_out"),
    [
        (Shape(4, 1, 0), LAPTOP, "num_workers to at most 2"),
        (Shape(8, 1, 1), GPU_BOX, "num_workers to at most 4"),
        (Shape(1, 4, 0), LAPTOP, "cpus_per_worker"),
    ],
)
def test_a_trial_that_never_fits_is_refused_with_the_way_out(
    shape: Shape, nodes: Sequence[ClusterNode], way_out: str
) -> None:
    with pytest.raises(NeverFitsError, match=way_out):
        check_fits([("good", Shape(1, 1, 0)), ("bad", shape)], nodes)
    check_fits([("good", Shape(1, 1, 0))], nodes)


def test_float16_without_a_gpu_is_refused_before_anything_runs() -> None:
    trials = [("good", baseline(1)), ("bad", ProbeConfig(task=baseline().task, precision="float16"))]
    with pytest.raises(NeverFitsError, match="trial bad trains in float16"):
        check_precision(trials, LAPTOP)
    check_precision(trials, GPU_BOX)
    check_precision(trials[:1], LAPTOP)


MIXED = (
    ClusterNode(8, 1, frozenset({"L4"}), frozenset({("zone", "a")})),
    ClusterNode(8, 4, frozenset({"A100"}), frozenset({("zone", "b"), ("kind", "spot")})),
    ClusterNode(16, 0, labels=frozenset({("zone", "b")})),
)


@pytest.mark.parametrize(
    ("asked", "which"),
    [
        ({}, [0, 1, 2]),
        ({"accelerator_type": "A100"}, [1]),
        ({"node_labels": {"zone": "b"}}, [1, 2]),
        ({"node_labels": {"zone": "b"}, "accelerator_type": "A100"}, [1]),
    ],
)
def test_a_sweep_has_the_nodes_it_asks_for(asked: dict[str, Any], which: list[int]) -> None:
    assert eligible(MIXED, Resources(**asked)) == tuple(MIXED[index] for index in which)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            {"accelerator_type": "H100"},
            "accelerator_type is H100, but no node .* the cluster's types are: A100, L4. Name",
        ),
        ({"node_labels": {"zone": "c"}}, r"node_labels is \{zone: c\}.*labels are: kind: spot, zone: a, zone: b"),
        ({"node_labels": {"zone": "a", "kind": "spot"}}, r"is \{kind: spot, zone: a\}, but no node .* all of these;"),
        ({"node_labels": {"zone": "a"}, "accelerator_type": "A100"}, "all of these beside a GPU of type A100"),
    ],
)
def test_nodes_that_there_are_not_are_refused_with_those_there_are(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(NeverFitsError, match=words):
        eligible(MIXED, Resources(**asked))


def test_the_nodes_an_autoscaler_may_start_tell_their_gpu_and_labels() -> None:
    growth = grows(4, head=(0, {"CPU": 0}), gpu=(1, {"CPU": 8, "GPU": 1, "accelerator_type:L4": 1}))
    growth["available_node_types"]["gpu"]["labels"] = {"zone": "a"}
    assert eligible(future_nodes(growth), Resources(accelerator_type="L4")) == (MIXED[0],)


def grows(most: int, **kinds: tuple[int, dict[str, int]]) -> dict[str, Any]:
    types = {name: {"max_workers": count, "resources": has} for name, (count, has) in kinds.items()}
    return {"max_workers": most, "head_node_type": "head", "available_node_types": types}


def test_the_nodes_an_autoscaler_may_start_count_as_there() -> None:
    head, big, small = (0, {"CPU": 0}), {"CPU": 8, "GPU": 1}, {"CPU": 4}
    assert future_nodes(grows(4, head=head, gpu=(3, big))) == (
        ClusterNode(0, 0),
        ClusterNode(8, 1),
        ClusterNode(8, 1),
        ClusterNode(8, 1),
    )
    assert future_nodes(grows(2, head=head, gpu=(3, big))) == (ClusterNode(0, 0), ClusterNode(8, 1), ClusterNode(8, 1))
    both = future_nodes(grows(3, head=head, small=(3, small), gpu=(1, big)))
    assert both == (ClusterNode(0, 0), ClusterNode(8, 1), ClusterNode(4, 0), ClusterNode(4, 0)), (
        "the limit is for all types together"
    )
    assert future_nodes(grows(0, head=head)) == (ClusterNode(0, 0),)
    assert future_nodes(grows(2, head=(2, {"CPU": 2}))) == (ClusterNode(2, 0),) * 3, (
        "the head's type may have workers too"
    )
    assert future_nodes(grows(4, head=head, own=(3, {}))) == (), "of one's own machines the file says nothing"


def test_only_a_file_of_ray_up_tells_how_a_cluster_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ray_bootstrap_config.yaml"
    monkeypatch.setattr(resources, "HEAD_CONFIG", file)
    assert growth_of_head() is None
    for content in ("- a list", "available_node_types: 3", "x: [", "\x00"):
        file.write_text(content)
        assert growth_of_head() is None
    file.write_text(yaml.safe_dump(grows(4, head=(0, {"CPU": 0}))))
    assert future_nodes(growth_of_head() or {}) == (ClusterNode(0, 0),)
