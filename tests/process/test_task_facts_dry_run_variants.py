"""The variants that a sweep asks for are made of the untrained model before any trial: what fails one is told."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

from orchestrator.diagnostics.task_needs import Requirements
from orchestrator.task_facts import dry_run
from orchestrator.task_facts.dry_run_variants import VariantFindings, try_variants
from tests.support.rehearsed_task import WINE, rehearsed, table
from tests.support.snippets import ROOT
from tests.support.sweep_text import sweep_text
from tests.support.tried_task import Simple, tried
from trainables.compression.errors import CompressionError
from trainables.compression.prune import prune
from trainables.config.compression import Compression, Distill, Int8, Prune
from trainables.process.fresh_process import ChildError


def found(build: Any, chains: Sequence[tuple[Compression, ...]], folder: Path, until: float = math.inf) -> Any:
    class Own(Simple):
        def build_model(self, width: float = 1.0) -> nn.Module:
            model: nn.Module = build(width)
            return model

    return try_variants(tried(Own(), folder, compresses=True, chains=tuple(chains)), until)


def one_layer(_: float = 1.0) -> nn.Module:
    return nn.Linear(3, 1)


class TwoLayers(nn.Module):
    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(3, round(16 * width)), nn.Linear(round(16 * width), 1)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.out(self.hidden(x).relu())
        return outputs


class Doubles(TwoLayers):
    """Of a type that no quantiser takes."""

    def forward(self, x: Tensor) -> Tensor:
        self.double()
        return super().forward(x.double()).float()


class Matrix(nn.Module):
    """Nothing that could be 8-bit integers."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class OfOneWidth(TwoLayers):
    """Its training looks at a width that pruning changes."""

    def forward(self, x: Tensor) -> Tensor:
        assert len(self.hidden.weight) == 16, "sixteen are wanted"
        return super().forward(x)


class Branching(TwoLayers):
    """A student is followed by no export, its teacher is."""

    def forward(self, x: Tensor) -> Tensor:
        narrow = len(self.hidden.weight) < 16
        return super().forward(-x if narrow and x.sum() > 0 else x)


PRUNED = "prune 0.5 and prune 0.5 + int8: Own cannot be compressed: prune 0.5 removed nothing (all channels: "
HINDRANCES: dict[str, tuple[Any, list[tuple[Compression, ...]], str]] = {
    "nothing can be followed": (one_layer, [(Prune(),), (Prune(), Int8())], f"{PRUNED}every Linear"),
    "no layer is wide enough": (
        TwoLayers,
        [(Prune(round_to=32),)],
        "prune 0.5 (round_to 32): Own cannot be compressed: prune 0.5 removed nothing (all channels: no layer is wide",
    ),
    "a narrowed model that does not run": (OfOneWidth, [(Prune(),)], "AssertionError: sixteen are wanted"),
    "a second pruning of too few": (
        lambda _: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)),
        [(Prune(), Prune())],
        "prune 0.5 + prune 0.5: Own cannot be compressed: prune 0.5 removed nothing",
    ),
    "integers are refused": (
        Doubles,
        [(Int8(mode="static"),)],
        "int8 static: Own cannot be compressed: int8 (static): torchao cannot convert this model (",
    ),
    "nothing is converted": (Matrix, [(Int8(),)], "int8: Own cannot be compressed: int8 (dynamic) converted nothing"),
    "a student that cannot be exported": (
        Branching,
        [(Distill(),)],
        "distill 0.5: Own cannot be compressed: torch.export cannot export Branching",
    ),
}


@pytest.mark.parametrize("case", HINDRANCES)
def test_a_variant_that_cannot_be_made_is_told_with_its_label_the_reason_and_the_way_out(
    tmp_path: Path, case: str
) -> None:
    build, chains, words = HINDRANCES[case]
    (problem,) = found(build, chains, tmp_path).problems
    assert words in problem
    assert problem.endswith(f"or leave {'it' if len(chains) == 1 else 'them'} out of compression.variants")


def test_the_words_are_the_trials(tmp_path: Path) -> None:
    with pytest.raises(CompressionError) as trials:
        prune(one_layer(), Prune(), (torch.randn(2, 3),))
    (problem,) = found(one_layer, [(Prune(),)], tmp_path).problems
    assert str(trials.value) in problem


def test_a_model_that_bears_all_methods_has_no_problems_and_leaves_no_files(tmp_path: Path) -> None:
    chains: list[tuple[Compression, ...]] = [(Int8(),), (Prune(),), (Distill(),), (Prune(), Int8())]
    before = sorted(tmp_path.rglob("*"))
    assert found(TwoLayers, chains, tmp_path) == VariantFindings((), ())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_task_whose_models_have_no_width_is_told_how_to_give_it_one(tmp_path: Path) -> None:
    class Own(Simple):
        def build_model(self) -> nn.Module:  # type: ignore[override]
            return TwoLayers()

    (problem,) = try_variants(tried(Own(), tmp_path, compresses=True, chains=((Distill(),),)), math.inf).problems
    assert "distill asks Own.build_model(width=...) for a narrower model, and it takes no width: give it one" in problem


def test_what_a_variant_would_say_of_itself_is_noted_once(tmp_path: Path) -> None:
    def build(_: float) -> nn.Module:
        model = TwoLayers()
        model.more = nn.Parameter(torch.zeros(999))
        return model

    notes = found(build, [(Int8(),), (Int8(mode="dynamic"),)], tmp_path).notes
    assert notes == ("int8 and int8 dynamic: int8 converted 6 % of the bytes of the parameters",)


def test_no_variant_is_begun_when_trying_took_long_and_that_is_said(tmp_path: Path) -> None:
    late = found(one_layer, [(Prune(),), (Int8(),)], tmp_path, time.monotonic() - 1)
    assert late == VariantFindings(
        (), ("prune 0.5 and int8: not tried before training, since trying the task took long",)
    )


def test_a_dry_run_that_its_variants_end_is_done_without_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As one that takes too long, or all of the memory."""
    asked = []

    def child(_: str, request: str, *__: object) -> str:
        asked.append(json.loads(request)["requirements"]["chains"])
        if asked[-1]:
            raise ChildError("dry run took longer than 180 s and was ended")
        return dry_run.DryRunResponse(problems=(("a mistake",),)).model_dump_json()

    monkeypatch.setattr(dry_run, "in_fresh_process", child)
    answer = dry_run.rehearse("wine:Wine", [{}], (), Requirements(chains=((Int8(),),)))
    assert [len(chains) for chains in asked] == [1, 0]
    assert answer.problems == (("a mistake",),)
    assert answer.notes == ("variants were not tried before training: dry run took longer than 180 s and was ended",)


# -- from the sweep file ----------------------------------------------------------------------------------------------


def refused(folder: Path, task: str, variants: str) -> str:
    """The problems that `run` begins with; empty if there are none."""
    (folder / "sweep.yaml").write_text(
        sweep_text(task=task, compression=f"{{parents: all, variants: {variants}}}", goals=None)
    )
    return rehearsed(folder)


@pytest.mark.usefixtures("rehearsing_here")
def test_variants_that_differ_in_their_training_alone_are_tried_once(tmp_path: Path) -> None:
    (tmp_path / "wine.py").write_text(WINE)
    (tmp_path / "data").mkdir()
    for number, split in enumerate(("train", "validation", "test")):
        pq.write_table(table(100 * number), tmp_path / "data" / f"{split}.parquet")
    pruned = "{{prune: {{ratio: 0.5, round_to: 16, fine_tune: {{budget_fraction: {}}}}}}}"
    told = refused(tmp_path, "'wine:Wine'", f"[{pruned.format(0.1)}, {pruned.format(0.2)}]")
    assert told.startswith("line 2: task = wine:Wine: prune 0.5 (round_to 16): Wine cannot be compressed: ")
    assert told.count("prune 0.5 (") == 1
    assert told in (ROOT / "docs/guides/own-task.md").read_text(), "as the guide shows it"


@pytest.mark.usefixtures("rehearsing_here")
def test_a_built_in_task_is_tried_where_it_is_not_as_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow = "{name: diabetes_mlp, options: {features: {values: [64, 4]}}}"
    told = refused(tmp_path, narrow, "[{prune: {ratio: 0.5}}]")
    assert "DiabetesMlp(features=4): prune 0.5: DiabetesMlp cannot be compressed: prune 0.5 removed nothing" in told
    monkeypatch.setattr(dry_run, "in_fresh_process", lambda *_: pytest.fail("as it comes, it bears the methods"))
    assert refused(tmp_path, "digits_cnn", "[int8, {prune: {ratio: 0.5}}, [{prune: {ratio: 0.5}}, int8]]") == ""
