"""The rows of axes: what a field's type, default and `Setting` make of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, PositiveFloat, PositiveInt

from orchestrator.diagnostics.node import Findings, Node
from orchestrator.sweep.axes import AXES, Axis, NamedSection, NumberRange, WordChoice, _axes_of
from orchestrator.sweep.spec import Parameters
from orchestrator.sweepfile.partial_sweep import Axes
from orchestrator.sweepfile.sections import _read_values
from trainables.config.base import FrozenConfig
from trainables.config.optimizers import Optimizer, Sgd
from trainables.config.schedules import Constant
from trainables.config.setting import Setting


class Sample(FrozenConfig):
    """A field of each kind, and one that is no axis."""

    share: Annotated[float, Field(ge=0, lt=1), Setting("a share")] = 0.0
    steps: Annotated[PositiveInt, Setting("steps", words="{} steps", words_of={1: "1 step"}, at_most=50)] = 1
    limit: Annotated[PositiveFloat | None, Setting("a limit")] = None
    side: Annotated[Literal["left", "right"], Setting("a side")] = "left"
    optimizer: Annotated[Optimizer, Setting("an optimiser")] = Sgd()
    plain: int = 3


ROWS = {axis.name: axis for axis in _axes_of(Sample)}


def read(axis: Axis, value: Any) -> tuple[list[Any], list[str]]:
    """What is read of a value in a sweep file, and what is allowed in its place if it is wrong."""
    findings = Findings()
    values = _read_values(Node(value, (axis.name,), findings), axis)
    return [given.value for given in values], [problem.allowed for _, problem in findings.problems]


def test_the_rows_come_in_the_order_of_the_grid_outermost_first() -> None:
    assert [axis.name for axis in AXES] == [
        "num_workers",
        "precision",
        "sharding",
        "data_order",
        "optimizer",
        "schedule",
        "batch_schedule",
        "gradient_clip_norm",
        "sync_every_steps",
        "no_decay",
        "layer_decay",
        "sampling",
        "ema",
        "patience",
    ]


def test_each_row_is_a_field_of_the_sweep_and_of_its_draft_with_the_default_of_the_training() -> None:
    sweep = Parameters(batch_size=(8,), learning_rate=(0.1,), optimizer=(Sgd(),), schedule=(Constant(),))
    for axis in AXES:
        if axis.name not in ("optimizer", "schedule"):
            assert getattr(sweep, axis.name) == (axis.default,)
        assert Axes().of(axis) == []


def test_the_kind_of_a_row_is_that_of_the_fields_type() -> None:
    assert list(ROWS) == ["share", "steps", "limit", "side", "optimizer"]
    assert ROWS["share"].kind == NumberRange(False, 0, 1, without_high=True)
    assert ROWS["steps"].kind == NumberRange(True, 1, 50)
    assert ROWS["limit"].kind == NumberRange(False, 0, 1e12, without_low=True)
    assert ROWS["side"].kind == WordChoice(("left", "right"))
    assert isinstance(ROWS["optimizer"].kind, NamedSection)
    assert [axis.name for axis in ROWS.values() if axis.may_be_off] == ["limit"]


def test_a_field_that_no_sweep_file_can_give_is_refused() -> None:
    class Wrong(FrozenConfig):
        pair: Annotated[tuple[int, int], Setting("two numbers")] = (1, 2)

    with pytest.raises(TypeError, match=r"Training\.pair is no axis"):
        _axes_of(Wrong)


@pytest.mark.parametrize(
    ("name", "value", "values", "allowed"),
    [
        ("share", 0, [0.0], []),
        ("share", 1, [], ["numbers from 0, below 1"]),
        ("steps", {"values": [1, 50]}, [1, 50], []),
        ("steps", 51, [], ["whole numbers from 1 to 50"]),
        ("limit", {"values": [None, 0.5]}, [None, 0.5], []),
        ("limit", None, [None], []),
        ("limit", 0, [], ["numbers above 0, up to 1e+12"]),
        ("side", None, [], ["left, right"]),
        ("optimizer", {"name": "sgd", "momentum": 0}, [Sgd(momentum=0)], []),
    ],
)
def test_a_value_is_read_within_its_range(name: str, value: Any, values: list[Any], allowed: list[str]) -> None:
    assert read(ROWS[name], value) == (values, allowed)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("share", 0.25, "share 0.25"),
        ("steps", 1, "1 step"),
        ("steps", 8, "8 steps"),
        ("limit", None, "no limit"),
        ("limit", 2.0, "limit 2"),
        ("side", "right", "right"),
        ("optimizer", Sgd(momentum=0.5), "sgd momentum=0.5"),
    ],
)
def test_one_value_in_words(name: str, value: Any, words: str) -> None:
    training: Any = Sample(**{name: value})
    assert ROWS[name].words(training) == words
