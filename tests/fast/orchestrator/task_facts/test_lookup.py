"""A user's own task is known from its source, without being imported."""

from __future__ import annotations

import json
import py_compile
import re
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import ipc

from orchestrator.diagnostics.problem import SweepError
from orchestrator.sweep.spec import Sweep, TaskFacts
from orchestrator.sweepfile.load import load_sweep
from orchestrator.task_facts.lookup import NOT_READ
from tests.support.sweep_text import load_text, sweep_text
from tests.support.wine_task import WINE, edit, table

pytestmark = pytest.mark.usefixtures("rehearsing_here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module, the module that it imports, and its data."""
    (tmp_path / "wine.py").write_text(WINE)
    (tmp_path / "helper.py").write_text("VALUE = 1\n")
    (tmp_path / "other.py").write_text("VALUE = 1\n")
    data = tmp_path / "data"
    (data / "test").mkdir(parents=True)
    for index, name in enumerate(["train", "validation", "test/a", "test/b"]):
        pq.write_table(table(40 + index), data / f"{name}.parquet")
    return tmp_path


def load(folder: Path, task: str = "'wine:Wine'", **sections: str | None) -> Sweep:
    return load_text(folder, sweep_text(task=task, **sections))


def problem(folder: Path, task: str = "'wine:Wine'", **sections: str | None) -> str:
    with pytest.raises(SweepError) as caught:
        load(folder, task, **sections)
    return "\n".join(map(str, caught.value.problems))


def test_everything_is_known_without_importing(folder: Path) -> None:
    facts = load(folder, "{name: 'wine:Wine', options: {size: 4, flavour: white}}").facts
    assert facts.metrics == {"loss": "min", "accuracy": "max"}
    assert facts.train_rows == 40
    assert facts.complete
    assert str(folder) in facts.search_path


def test_rows_of_arrow_files_are_counted_too(folder: Path) -> None:
    with ipc.new_file(folder / "data" / "train.arrow", table(1).schema) as writer:
        for batch in table(50).to_batches(max_chunksize=20):
            writer.write_batch(batch)
    edit(folder / "wine.py", "data/train.parquet", "data/train.arrow")
    assert load(folder).facts.train_rows == 50


def test_patterns_lists_and_csv_are_known_without_importing(folder: Path) -> None:
    (folder / "data" / "more.csv").write_text("features,label\n0.5,1\n")
    named = 'train, validation, test = "data/train.parquet", "data/validation.parquet", "data/test"'
    several = '["data/test/*.parquet", "data/train.parquet"]'
    edit(folder / "wine.py", named, f'train, validation, test = {several}, "data/validation.parquet", "data/*.csv"')
    facts = load(folder).facts
    assert (facts.train_rows, facts.complete) == (42 + 43 + 40, True)
    edit(folder / "wine.py", several, "[]")
    assert "Wine.train must be a path, a URI, or a list of these, not []" in problem(folder)


# -- what a plan says of the columns, and refuses ----------------------------------------------------------------------


def test_columns_that_are_read_in_another_type_are_noted(folder: Path) -> None:
    (folder / "data" / "train.csv").write_text("features,label\n" + "0.5,1\n" * 40)
    for name in ("validation", "test/a", "test/b"):
        content = pa.table({"features": [0.5] * 40, "label": pa.array([len(name)] * 40, pa.int32())})
        pq.write_table(content, folder / "data" / f"{name}.parquet")
    edit(folder / "wine.py", "data/train.parquet", "data/train.csv")
    notes = load(folder).facts.notes
    assert "data: features: float64 is read as float32" in notes
    assert "data: label: int64 in the CSV" in notes
    assert "data: label: int32 is read as int64" in notes


def test_a_plan_says_what_columns_are_made_of_and_refuses_what_cannot_be(folder: Path) -> None:
    for index, name in enumerate(["train", "validation", "test/a", "test/b"]):
        rows = {"city": ["Rome", "Bern", None], "age": [float(index), None, 3.0], "label": [index] * 3}
        pq.write_table(pa.table({**rows, "features": [[1.0]] * 3}), folder / "data" / f"{name}.parquet")
    columns = "columns = {'city': Category(fill='none', unknown=True), 'age': paretune.Number(fill='mean')}"
    edit(folder / "wine.py", "    train, validation", f"    {columns}\n    train, validation")
    few = "{batch_size: 2, learning_rate: 0.1}"
    notes = load(folder, parameters=few).facts.notes
    assert "data: city: 3 categories of the train data as int64, and 0 for values that it does not have" in notes
    assert "data: age: float32, 1.5 for nulls" in notes
    edit(folder / "wine.py", "fill='none', unknown=True", "")
    said = problem(folder, parameters=few)
    assert "Wine.columns: column 'city' of" in said
    assert "holds 1 null values; say what they count as: Category(fill=" in said


COLUMNS = {
    "text to be read": ({"label": ["red"] * 9}, "", "column 'label' of .* is of type string"),
    "nulls to be read": ({"label": [None] + [1] * 8}, "", "column 'label' of .* holds nulls"),
    "no such input": ({}, 'inputs = ("nose",)', "Wine.train: no column 'nose'; it has 'label', 'features'"),
    "no such column": ({}, 'columns = ("nose",)', "Wine.validation: no column 'nose'"),
    "text and nulls that are not read": ({"text": ["red"] * 9, "gap": [None] * 9}, "", None),
    "text that may be read": ({"text": ["red"] * 9}, "forward = lambda self, model, batch: model(*batch)", None),
    "text that is to be read": ({"text": ["red"] * 9}, 'columns = ("text",)', "column 'text' of .* is of type string"),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_columns_that_run_would_refuse_are_refused_by_a_plan(folder: Path, case: str) -> None:
    columns, line, words = COLUMNS[case]
    for index, name in enumerate(["train", "validation", "test/a", "test/b"]):
        content = table(9 + index).slice(index, 9).to_pydict() | {"label": [index] * 9} | columns
        pq.write_table(pa.table(content), folder / "data" / f"{name}.parquet")
    edit(folder / "wine.py", "    train, validation", f"    {line}\n    train, validation")
    if words is None:
        load(folder, parameters="{batch_size: 4, learning_rate: 0.1}")
    else:
        assert re.search(words, problem(folder, parameters="{batch_size: 4, learning_rate: 0.1}"))


def test_a_users_task_may_train_on_built_in_data(folder: Path) -> None:
    edit(folder / "wine.py", '"data/train.parquet"', '"builtin://diabetes/train"')
    facts = load(folder).facts
    assert (facts.train_rows, facts.complete) == (283, True)
    edit(folder / "wine.py", "diabetes", "diabets")
    assert "builtin://diabets/train" in problem(folder)


def test_a_batch_larger_than_the_data_is_refused(folder: Path) -> None:
    text = problem(folder, parameters="{batch_size: {values: [8, 64]}, learning_rate: 0.1}")
    assert "batch_size.values[1] = 64" in text
    assert "40 rows" in text


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ('{"recall@10": "max", "recall_10": "max"}', ("'recall_10'", "'recall@10'")),
        ('{"accuracy": "max", "accuracy_low": "max"}', ("'accuracy_low'", "'accuracy'")),
        ('{"accuracy_change": "max", "accuracy": "max"}', ("'accuracy'", "'accuracy_change'")),
        ('{"seconds": "min"}', ("'seconds'", "train_seconds")),
        (f'{{"{"x" * 201}": "max"}}', ("up to 200 characters",)),
    ],
)
def test_metrics_that_would_share_a_name_are_refused(folder: Path, metrics: str, words: tuple[str, ...]) -> None:
    edit(folder / "wine.py", '{"accuracy": "max"}', metrics)
    text = problem(folder, objective="{metric: val_loss}", goals=None)
    assert all(word in text for word in ("task = wine:Wine", *words)), text


def test_metrics_of_the_task_count(folder: Path) -> None:
    text = problem(folder, objective="{metric: val_acuracy}", goals=None)
    assert "did you mean 'val_accuracy'" in text


def test_data_and_code_are_part_of_the_facts(folder: Path) -> None:
    before = load(folder).facts
    pq.write_table(table(39), folder / "data" / "validation.parquet")
    other_data = load(folder).facts
    assert other_data.data != before.data
    assert other_data.code == before.code
    edit(folder / "helper.py", "VALUE", "MORE = 1\nVALUE")
    assert load(folder).facts.code != before.code
    edit(folder / "other.py", "1", "2")  # nobody imports it
    assert load(folder).facts.code == load(folder).facts.code != before.code


def test_a_model_in_the_current_folder_is_part_of_the_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `cd repository; paretune run experiments/sweep.yaml`."""
    net = folder / "repository" / "models" / "net.py"
    net.parent.mkdir(parents=True)
    net.write_text("DEPTH = 1")
    edit(folder / "helper.py", "VALUE = 1", "from models.net import DEPTH")
    monkeypatch.chdir(folder / "repository")
    before = load(folder).facts
    edit(net, "1", "2")
    assert load(folder).facts.code != before.code


@pytest.mark.parametrize("validation", ["data", "data/train.parquet", "linked.parquet", "file://FOLDER/linked.parquet"])
def test_two_sets_that_share_a_file_are_refused(folder: Path, validation: str) -> None:
    shared = folder / "data" / "train.parquet"
    (folder / "linked.parquet").symlink_to(shared)
    edit(folder / "wine.py", "data/validation.parquet", validation.replace("FOLDER", str(folder)))
    text = problem(folder)
    assert f"Wine.train and validation share the file {shared.resolve()}" in text
    assert "allowed: three sets of data that have no file and no content in common" in text


def test_two_sets_with_the_same_content_are_refused(folder: Path) -> None:
    shutil.copy(folder / "data" / "train.parquet", folder / "data" / "test" / "a.parquet")
    (folder / "data" / "test" / "b.parquet").unlink()
    assert f"Wine.train and test have the same content: {folder}/data/train.parquet and" in problem(folder)
    edit(
        folder / "wine.py",
        '"data/train.parquet", "data/validation.parquet"',
        '"builtin://digits/test", "data/train.parquet"',
    )
    assert "Wine.validation and test have the same content" in problem(folder)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("(Base)", "", ["does not derive from paretune.Task"]),
        ("def losses", "def loses", ["does not define losses"]),
        ("def scores", "def score", ["does not define scores"]),
        ("train, validation, test =", "train, valid, test =", ["does not define validation"]),
        ("data/train.parquet", "data/trian.parquet", ["Wine.train:", "trian.parquet", "does not exist"]),
        ("data/validation.parquet", "data/train.parquet", ["Wine.train and validation share the file"]),
        ('"max"', '"up"', ["accuracy: 'up'", "'min' or 'max'"]),
        ('"accuracy"', '"loss"', ["must not hold 'loss'"]),
        ('{"accuracy": "max"}', '["accuracy"]', ["must be a dict", "['accuracy']"]),
        ('"data/test"', "7", ["test must be a path", "7"]),
        ("class Wine", "class wine", ["no class 'Wine'", "did you mean 'wine'"]),
        ("class Wine(Base):", "class Wine(Base:", ["is not valid Python", "line"]),
        ("size: int = 3", "size: int", ["needs the option size"]),
    ],
)
def test_what_the_source_tells_is_checked(folder: Path, old: str, new: str, words: list[str]) -> None:
    edit(folder / "wine.py", old, new)
    text = problem(folder)
    for word in ["task", *words]:
        assert word in text


def test_options_are_the_constructors(folder: Path) -> None:
    text = problem(folder, "{name: 'wine:Wine', options: {flavor: white}}")
    assert "task.options.flavor" in text
    assert "did you mean 'flavour'" in text


def test_a_file_that_is_no_data_is_refused(folder: Path) -> None:
    (folder / "data" / "train.parquet").write_text("a,b\n1,2\n")
    assert "train:" in problem(folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            'train, validation, test = "data/train.parquet"',
            'import os\n    train, validation, test = os.path.join("data", "t")',
        ),
        ("self.size = size", "self.train = f'{flavour}.parquet'"),
        ('metrics = {"accuracy": "max"}', "metrics = dict(accuracy='max')"),
        ("(Base)", "(helper.Base)"),
        ("class Wine(Base):", "@helper.decorated\nclass Wine(Base):"),
        ("class Wine(Base):", "from helper import Wine\n\nclass Whine(Base):"),
        ("class Wine(Base):", "Wine = helper.make()\n\nclass Whine(Base):"),
    ],
    ids=[
        "computed path",
        "set in the constructor",
        "computed metrics",
        "a base from elsewhere",
        "decorated",
        "imported",
        "made",
    ],
)
def test_what_the_source_leaves_open_is_left_to_the_run(folder: Path, old: str, new: str) -> None:
    edit(folder / "wine.py", old, new)
    facts = load(folder, objective="{metric: val_accuracy, mode: max}").facts
    assert not facts.complete


def test_a_module_without_source_is_left_to_the_run(folder: Path) -> None:
    py_compile.compile(str(folder / "wine.py"), cfile=str(folder / "wine.pyc"))
    (folder / "wine.py").unlink()
    facts = load(folder, objective="{metric: val_accuracy, mode: max}").facts
    assert (facts.complete, facts.data, facts.train_rows) == (False, (NOT_READ,), None)
    assert "objective.mode" in problem(folder, objective="{metric: val_accuracy}")


def imported(folder: Path, options: dict[str, object], task: str = "wine:Wine") -> TaskFacts:
    """The facts that `run` begins with."""
    chosen = json.dumps({"name": task, "options": options})
    (folder / "sweep.yaml").write_text(sweep_text(task=chosen, compression=None, goals=None))
    try:
        return load_sweep(folder / "sweep.yaml", import_task=True).facts
    finally:
        sys.modules.pop("wine", None)


@pytest.fixture
def flavours(folder: Path) -> Path:
    """A task with an option that chooses its data."""
    edit(folder / "wine.py", 'raise SystemExit("a plan must not import this")', "")
    edit(folder / "wine.py", "self.size = size", 'self.train = f"data/{flavour}.parquet"')
    for rows, name in enumerate(("red", "white"), start=50):
        pq.write_table(table(rows), folder / "data" / f"{name}.parquet")
    return folder


BOTH = {"flavour": {"values": ["white", "red"]}}


def test_data_that_one_combination_lacks_is_named_with_its_options(flavours: Path) -> None:
    (flavours / "data" / "red.parquet").unlink()
    with pytest.raises(
        SweepError, match=r"Wine\(flavour='red'\)\.train: data .*red\.parquet' does not exist"
    ) as caught:
        imported(flavours, BOTH)
    assert len(caught.value.problems) == 1
    shutil.copy(flavours / "data" / "validation.parquet", flavours / "data" / "red.parquet")
    with pytest.raises(SweepError, match=r"Wine\(flavour='red'\)\.train and validation have the same content"):
        imported(flavours, BOTH)


def test_all_combinations_have_the_same_metrics(flavours: Path) -> None:
    edit(flavours / "wine.py", "self.train =", "self.metrics = {flavour: 'max', 'accuracy': 'max'}; self.train =")
    with pytest.raises(SweepError, match=r"Wine\(flavour='red'\) has other metrics than Wine\(flavour='white'\)"):
        imported(flavours, BOTH)


def test_a_task_that_one_combination_cannot_make_is_named_with_its_options(flavours: Path) -> None:
    edit(flavours / "wine.py", "self.train =", "assert size > 2, 'too small'; self.train =")
    with pytest.raises(SweepError) as caught:
        imported(flavours, BOTH | {"size": {"values": [3, 2]}})
    first, second = map(str, caught.value.problems)
    assert "options {'flavour': 'white', 'size': 2}: too small" in first
    assert "options {'flavour': 'red', 'size': 2}: too small" in second


def test_a_built_in_task_is_made_with_every_combination_too(folder: Path) -> None:
    good = {"features": {"values": [64, 32]}}
    static = load(folder, json.dumps({"name": "digits_transformer", "options": good})).facts
    assert imported(folder, good, "digits_transformer") == static
    with pytest.raises(SweepError, match="'features': 50}: features 50 cannot be divided by heads 4"):
        imported(folder, {"features": {"values": [64, 50]}}, "digits_transformer")
    with pytest.raises(SweepError, match="features 50 cannot be divided by heads 4"):
        imported(folder, {"features": 50}, "digits_transformer")
