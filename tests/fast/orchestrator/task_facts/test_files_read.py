"""Files besides its data that a task reads: declared, they are part of a trial's identity; else they are told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from orchestrator.diagnostics.problem import SweepError
from orchestrator.planning.expand import expand
from orchestrator.sweep.spec import Sweep
from orchestrator.sweepfile.load import load_sweep
from orchestrator.task_facts.files_read import check_declared, files_opened
from tests.support.sweep_text import sweep_text
from tests.support.tuned_task import TUNED
from trainables.config.trial import TaskConfig
from trainables.data.sources import DataError
from trainables.tasks.load import TaskError, load_task
from trainables.tasks.task_data import open_data

pytestmark = pytest.mark.usefixtures("rehearsing_here")

READS = 'torch.load(HERE / "backbone.pt")'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    here = tmp_path / "task"
    (here / "data").mkdir(parents=True)
    for number, split in enumerate(("train", "validation", "test")):
        columns = {"features": pa.array([[row + number, 1.0] for row in range(40)], pa.list_(pa.float32()))}
        pq.write_table(pa.table(columns | {"label": [0, 2] * 20}), here / "data" / f"{split}.parquet")
    torch.save({"weight": torch.zeros(3, 2)}, here / "backbone.pt")
    sections = {"objective": "{metric: val_loss}", "compression": None, "goals": None}
    (here / "sweep.yaml").write_text(sweep_text(task="'tuned:Tuned'", **sections))
    write(here)
    monkeypatch.setenv("PARETUNE_CACHE", str(tmp_path / "cache"))
    yield here
    for name in ("tuned", "extra"):
        sys.modules.pop(name, None)


def write(folder: Path, *, files: str = "", made: str = "", built: str = READS) -> None:
    """The task, with these lines in its places."""
    lines = {"# files": f"files = {files}" if files else "", "pass  # made": made or "pass", "pass  # built": built}
    text = TUNED
    for place, line in lines.items():
        text = text.replace(place, line)
    (folder / "tuned.py").write_text(text)
    sys.modules.pop("tuned", None)


def load(folder: Path, *, import_task: bool = False) -> Sweep:
    try:
        return load_sweep(folder / "sweep.yaml", import_task=import_task)
    finally:
        sys.modules.pop("tuned", None)


def problems(folder: Path, *, import_task: bool = True) -> str:
    try:
        load(folder, import_task=import_task)
    except SweepError as error:
        return "\n".join(map(str, error.problems))
    return ""


def ids(folder: Path, *, import_task: bool = False) -> list[str]:
    return [trial.id for trial in expand(load(folder, import_task=import_task)).trials]


def test_a_folder_stands_for_all_files_below_it(folder: Path) -> None:
    write(folder, files='["hub"]', built='(HERE / "hub" / "a" / "config.json").read_text()')
    (folder / "hub" / "a").mkdir(parents=True)
    (folder / "hub" / "a" / "config.json").write_text("{}")
    before = ids(folder, import_task=True)
    (folder / "hub" / ".lock").write_text("kept by a program")
    assert ids(folder) == before
    (folder / "hub" / "a" / "config.json").rename(folder / "hub" / "config.json")
    assert not set(ids(folder)) & set(before)


def test_a_file_that_changes_after_the_plan_ends_the_trial_with_that_reason(folder: Path) -> None:
    write(folder, files='("backbone.pt",)')
    config: TaskConfig = expand(load(folder, import_task=True)).trials[0].config.task
    task = load_task(config.name, config.options, [folder])
    open_data(task, folder.parent / "cache", planned=config.data)
    torch.save({"weight": torch.ones(3, 2)}, folder / "backbone.pt")
    with pytest.raises(
        DataError, match=r"one of the task's files, differs from the state that this trial was planned with.*backbone"
    ):
        open_data(task, folder.parent / "cache", planned=config.data)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ("'backbone.pt'", "files is a tuple of paths such as ('backbone.pt',), not 'backbone.pt'"),
        ("('s3://bucket/backbone.pt',)", "files holds paths on the local disk, not the URI 's3://bucket/backbone.pt'"),
        ("('backbones.pt',)", "backbones.pt' does not exist; a relative path starts at the folder of the task's"),
    ],
)
@pytest.mark.parametrize("import_task", [False, True])
def test_files_that_cannot_be_are_told(folder: Path, files: str, words: str, *, import_task: bool) -> None:
    write(folder, files=files, built="")
    assert words in problems(folder, import_task=import_task)
    write(folder, made=f"self.files = {files}", built="")
    assert words in problems(folder)


UNDECLARED = {
    "by build_model": ({}, "Tuned reads backbone.pt, which its `files` do not name", '("backbone.pt",)'),
    "by the constructor": ({"made": READS, "built": ""}, "Tuned reads backbone.pt,", '("backbone.pt",)'),
    "beside one that is declared": (
        {"files": '("more.txt",)', "built": f'open(HERE / "more.txt"); {READS}'},
        "Tuned reads backbone.pt,",
        '("more.txt", "backbone.pt",)',
    ),
    "of many": (
        {"built": 'for n in range(6): (HERE / "hub" / f"{n}.txt").read_text()'},
        "Tuned reads hub/0.txt, hub/1.txt, hub/2.txt, hub/3.txt and 2 more,",
        '("hub",)',
    ),
    "in C++": ({"built": 'torch.from_file(str(HERE / "raw"), size=4)'}, "Tuned reads raw,", '("raw",)'),
    "as code": ({"built": 'exec(open(HERE / "extra.py").read())'}, "Tuned reads extra.py,", '("extra.py",)'),
    "as a module": (
        {"built": 'import importlib; importlib.import_module("ex" + "tra")'},
        "Tuned reads extra.py,",
        '("extra.py",)',
    ),
}


@pytest.mark.parametrize("case", UNDECLARED)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_file_that_is_read_without_being_declared_is_told_with_the_line_to_add(folder: Path, case: str) -> None:
    lines, words, files = UNDECLARED[case]
    (folder / "hub").mkdir()
    for name in ("more.txt", "extra.py", *(f"hub/{number}.txt" for number in range(6))):
        (folder / name).write_text("")
    (folder / "raw").write_bytes(bytes(16))
    write(folder, **lines)
    assert words in (said := problems(folder))
    assert said.endswith(f"add to the class: files = {files}")
    write(folder, **{**lines, "files": files})
    assert problems(folder) == ""


def test_what_is_known_already_or_kept_by_programs_is_not_asked_for(folder: Path) -> None:
    (folder / "extra.py").write_text("")
    (folder / ".env").write_text("")
    (folder.parent / "elsewhere.txt").write_text("")
    reads = ('(HERE / "data" / "train.parquet").read_bytes(), (HERE / "extra.py").read_text(), '
             '(HERE / ".env").read_text(), open(HERE / "log.txt", "a").close(), '
             '(HERE.parent / "elsewhere.txt").read_text(), open(nn.__file__).close()')  # fmt: skip
    write(folder, built=f"import extra; {reads}")
    assert problems(folder) == ""


def test_a_file_that_is_read_while_the_module_is_imported_is_told(folder: Path) -> None:
    with (folder / "tuned.py").open("a") as module:
        module.write(f"\nWEIGHTS = {READS}\n")
    with files_opened() as opened:
        load_task("tuned:Tuned", {}, [folder])
    with pytest.raises(TaskError, match=r'add to the class: files = \("backbone.pt",\)'):
        check_declared(opened, "tuned:Tuned", {}, [str(folder)], folder.parent / "cache")


def test_what_listens_to_the_readers_of_libraries_goes_away_again() -> None:
    before = torch.from_file, torch.jit.load
    with files_opened() as opened, files_opened():
        assert torch.from_file is not before[0]
    assert (torch.from_file, torch.jit.load) == before
    assert not opened


def test_weights_in_safetensors_are_seen(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    file = tmp_path / "backbone.safetensors"
    safetensors.save_file({"weight": torch.zeros(2)}, file)
    with files_opened() as opened:
        safetensors.load_file(file)
    assert opened == {str(file)}
