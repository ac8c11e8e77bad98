"""A user's task is tried on a few rows before anything is spent: each mistake is told with its place."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from orchestrator.planning.expand import expand
from orchestrator.sweepfile.load import load_sweep
from orchestrator.task_facts.requirements import check_asked
from tests.support.ragged_task import write_tags
from tests.support.rehearsed_task import WINE, rehearsed, table
from tests.support.sweep_text import sweep_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wine.py").write_text(WINE)
    (tmp_path / "data").mkdir()
    for number, split in enumerate(("train", "validation", "test")):
        pq.write_table(table(100 * number), tmp_path / "data" / f"{split}.parquet")
    (tmp_path / "sweep.yaml").write_text(sweep_text(task="'wine:Wine'", compression=None, goals=None))
    return tmp_path


@pytest.mark.usefixtures("rehearsing_here")
def test_a_task_that_can_be_trained_has_no_problems_and_nothing_is_kept(folder: Path) -> None:
    before = sorted(folder.rglob("*.parquet"))
    assert rehearsed(folder) == ""
    assert sorted(folder.rglob("*.parquet")) == before


DATA = {
    "another shape": (
        "test",
        {"features": [[1.0]] * 40},
        "has features: float32 [1], the train data features: float32 [2]; they must be the same in all sets",
    ),
    "text": ("train", {"label": ["red"] * 40}, "column 'label' of"),
    "a class too many": (
        "train",
        {"label": [3] * 40},
        "failed on the first rows of its train data: a number in the data ('label') is too high or too low",
    ),
    "a class too many in a late row of the test data": (
        "test",
        {"label": [0, 2] * 15 + [3] + [0] * 9},
        "failed on row 30 of its test data (counted from 0), where 'label' is 3, its highest: a number in the data",
    ),
    "a longer list in the last row": (
        "validation",
        {"features": pa.array([[1.0, 2.0]] * 39 + [[1.0]], pa.list_(pa.float32()))},
        "row 39 of Wine's validation data (counted from 0) has other shapes than the first",
    ),
}


@pytest.mark.usefixtures("rehearsing_here")
@pytest.mark.parametrize("case", DATA)
def test_a_mistake_in_the_data_is_told_before_any_trial(folder: Path, case: str) -> None:
    split, changes, words = DATA[case]
    pq.write_table(table(500, **changes), folder / "data" / f"{split}.parquet")
    assert words in rehearsed(folder)


@pytest.mark.usefixtures("rehearsing_here")
def test_of_many_columns_that_differ_between_the_sets_some_are_told(folder: Path) -> None:
    genes = [f"gene{number}" for number in range(9)]
    code = WINE.replace("    train, validation", f"    columns = {(*genes, 'label')}\n    train, validation", 1)
    (folder / "wine.py").write_text(code)
    for seed, split in enumerate(("train", "validation", "test")):
        values = [seed] if split == "validation" else [float(seed)]
        content = table(500, **dict.fromkeys(genes, values * 40))
        pq.write_table(content, folder / "data" / f"{split}.parquet")
    said = rehearsed(folder)
    assert "gene4: int64 [] and 4 more, the train data gene0: float32 []" in said
    assert "gene4: float32 [] and 4 more; they must be the same in all sets" in said


@pytest.mark.usefixtures("rehearsing_here")
def test_a_column_that_the_task_does_not_read_may_be_anything_and_may_differ(folder: Path) -> None:
    beside = {"text": ["a"] * 40, "gap": pa.array([None] * 40), "dates": pa.array([0] * 40, pa.timestamp("s"))}
    pq.write_table(table(500, **beside), folder / "data" / "validation.parquet")
    assert rehearsed(folder) == ""


@pytest.mark.usefixtures("rehearsing_here")
def test_a_misspelt_column_is_told_beside_all_those_of_the_data(folder: Path) -> None:
    (folder / "wine.py").write_text(WINE.replace('batch["label"]', 'batch["lable"]'))
    pq.write_table(table(500, text=["a"] * 40), folder / "data" / "train.parquet")
    assert "KeyError: 'lable'" in rehearsed(folder)
    assert "columns are features, label, text" in rehearsed(folder)


@pytest.mark.usefixtures("rehearsing_here")
def test_where_all_columns_may_be_read_one_that_cannot_be_says_why_once_it_is(folder: Path) -> None:
    (folder / "wine.py").write_text(WINE.replace('batch["label"]', 'dict(batch)["when"]'))
    for seed, split in enumerate(("train", "validation", "test")):
        content = table(500, when=pa.array([seed] * 40, pa.timestamp("s")))
        pq.write_table(content, folder / "data" / f"{split}.parquet")
    assert "column 'when' of the data is not read: column 'when' of" in (said := rehearsed(folder))
    assert "is of type timestamp[ms]" in said


@pytest.mark.usefixtures("rehearsing_here")
def test_what_datasets_saved_is_tried_and_its_list_of_files_is_no_undeclared_one(folder: Path) -> None:
    saved = folder / "data" / "saved"
    saved.mkdir()
    content = table(500)
    with pa.ipc.new_stream(str(saved / "data-00000-of-00001.arrow"), content.schema) as writer:
        writer.write_table(content)
    (saved / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
    for named in ("data/saved", "data/save*"):
        (folder / "wine.py").write_text(WINE.replace("data/train.parquet", named))
        assert rehearsed(folder) == ""


TAGS = """
from tests.support.ragged_task import Tags

class Wine(Tags):
    train, validation, test = "data/train.parquet", "data/validation.parquet", "data/test.parquet"
"""


@pytest.mark.usefixtures("rehearsing_here")
def test_lists_of_unequal_length_are_tried_with_their_masks_and_their_odd_tokens(folder: Path) -> None:
    (folder / "wine.py").write_text(TAGS)
    write_tags(folder / "data")
    assert rehearsed(folder) == ""
    content = pq.read_table(folder / "data" / "test.parquet").to_pydict()
    content["tokens"][40][-1] = 20  # one more than the model knows
    pq.write_table(pa.table(content), folder / "data" / "test.parquet")
    said = rehearsed(folder)
    assert "failed on row 40 of its test data (counted from 0), where 'tokens' is 20, its highest" in said


FINE = {
    "scores through numpy": (
        '{"accuracy": (outputs.argmax(1) == batch["label"]).float()}',
        '{"accuracy": torch.from_numpy((outputs.numpy().argmax(1) == batch["label"].numpy()) * 1.0)}',
    ),
    "a squeeze that takes the one row too": (
        "outputs.argmax(1) ==",
        "(outputs.argmax(1, keepdim=True).squeeze()) ==",
    ),
    "more outputs in training": (
        'cross_entropy(outputs, batch["label"]',
        'cross_entropy(outputs[0] if torch.is_grad_enabled() else outputs, batch["label"]',
    ),
    "a GPU that is asserted": (
        "        return nn.Sequential",
        "        assert torch.cuda.is_available()\n        return nn.Sequential",
    ),
    "a GPU of its own": ("cross_entropy(outputs,", "cross_entropy(outputs.cuda(),"),
    "no memory": ("return nn.Sequential", "return nn.Linear(10**9, 10**9)\n        nn.Sequential"),
    "a setting that stays": (
        "return nn.Sequential",
        "torch.set_default_dtype(torch.float64)\n        return nn.Sequential",
    ),
}


@pytest.mark.usefixtures("rehearsing_here")
@pytest.mark.parametrize("case", FINE)
def test_what_trials_can_do_is_not_refused(folder: Path, case: str) -> None:
    old, new = FINE[case]
    assert old in WINE
    code = WINE.replace(old, new)
    if case == "more outputs in training":
        forward = "\n    def forward(self, model, batch):\n        out = model(batch['features'])\n"
        code += forward + "        return (out, out) if torch.is_grad_enabled() else out\n"
    if case == "a setting that stays":
        for split in ("train", "validation", "test"):
            file = folder / "data" / f"{split}.parquet"
            content = pq.read_table(file)
            wide = content["features"].cast(pa.list_(pa.float64()))
            pq.write_table(content.set_column(0, "features", wide), file)
        code = code.replace("    train,", '    columns = {"features": paretune.Stored()}\n    train,', 1)
        code = f"import paretune\n{code}"
    (folder / "wine.py").write_text(code)
    assert rehearsed(folder) == ""
    assert torch.get_default_dtype() == torch.float32


def test_a_column_to_sort_by_is_looked_for(folder: Path) -> None:
    for column, words in (("label", ""), ("lable", "it has label"), ("features", "it has label")):
        order = f"{{batch_size: 16, learning_rate: 0.1, data_order: {{name: sorted, column: {column}}}}}"
        text = sweep_text(task="'wine:Wine'", compression=None, goals=None, parameters=order)
        (folder / "sweep.yaml").write_text(text)
        plan = expand(load_sweep(folder / "sweep.yaml"))
        with pytest.raises(ValueError, match=words) if words else contextlib.nullcontext():
            check_asked(plan)
    sys.modules.pop("wine", None)


def test_distillation_asks_for_a_model_that_can_be_narrower(folder: Path) -> None:
    for code in (WINE, WINE.replace(", width=1.0", "")):
        (folder / "wine.py").write_text(code)
        variants = "{parents: all, variants: [{distill: {width: 0.5}}]}"
        (folder / "sweep.yaml").write_text(sweep_text(task="'wine:Wine'", goals=None, compression=variants))
        plan = expand(load_sweep(folder / "sweep.yaml"))
        words = "Wine.build_model.width=....* takes no width: give it one"
        with contextlib.nullcontext() if code == WINE else pytest.raises(ValueError, match=words):
            check_asked(plan)
        sys.modules.pop("wine", None)


@pytest.mark.usefixtures("rehearsing_here")
def test_one_row_in_a_file_is_enough(folder: Path) -> None:
    """Batch norm wants more: rows are then taken again."""
    for split in ("train", "validation", "test"):
        rows = pq.read_table(folder / "data" / f"{split}.parquet")
        (folder / "data" / split).mkdir()
        for number in range(rows.num_rows):
            pq.write_table(rows.slice(number, 1), folder / "data" / split / f"{number}.parquet")
    (folder / "wine.py").write_text(WINE.replace(".parquet", ""))
    assert rehearsed(folder) == ""
