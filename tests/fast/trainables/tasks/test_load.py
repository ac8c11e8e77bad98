"""A task by its name: what is found, and what every wrong name, module, class or option is answered."""

import sys
import textwrap
from pathlib import Path

import pytest

from trainables.tasks.base import Task
from trainables.tasks.load import TaskError, load_task

GOOD = """
from torch import nn
from trainables.tasks import Task

class Mine(Task):
    train, validation, test = "a.parquet", "b.parquet", "c.parquet"

    def __init__(self, size: int = 3):
        if size < 1:
            raise ValueError(f"size {size} is too small")
        self.size = size

    def build_model(self, width=1.0):
        return nn.Linear(self.size, 1)

    def losses(self, outputs, batch):
        return outputs

class NoData(Mine):
    train = None

class Half(Task):
    train = "a.parquet"
    def build_model(self, width=1.0): ...
    def losses(self, outputs, batch): ...

class Abstract(Task):
    train, validation, test = "a.parquet", "b.parquet", "c.parquet"

class Twice(Mine):
    validation = "./a.parquet"

class Uri(Mine):
    validation = f"file://{__file__.rpartition('/')[0]}/a.parquet"

class OneInput(Mine):
    inputs = "features"

class Loss(Mine):
    metrics = {"loss": "min"}

class Up(Mine):
    metrics = {"accuracy": "up"}

number = 3
"""


@pytest.fixture
def module(tmp_path, request):
    """A module of its own name for every test, so that none finds another's in `sys.modules`."""
    name = f"mine_{abs(hash(request.node.name))}"

    def write(content: str = GOOD, name: str = name, folder: Path = tmp_path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(textwrap.dedent(content))
        return name

    before = list(sys.path)
    yield write
    sys.modules.pop(name, None)
    assert sys.path == before


def test_a_users_task_is_made_with_its_options(module, tmp_path):
    task = load_task(f"{module()}:Mine", {"size": 5}, [tmp_path])
    assert isinstance(task, Task)
    assert task.size == 5


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digits_cn", "task 'digits_cn' is neither built in nor of the form module:Class; did you mean 'digits_cnn'?"),
        ("xyzzy", "built in are digits_cnn, digits_transformer, diabetes_mlp, stdlib_gpt"),
        (":Mine", "module:Class"),
        ("mine:", "module:Class"),
        ("no_such_module:Mine", "there is no module 'no_such_module' in"),
        ("MODULE.below:Mine", "there is no module 'MODULE.below' in"),
        ("MODULE:Mime", "has no 'Mime'; it has Mine"),
        ("MODULE:number", "number is not a subclass of paretune.Task"),
        ("MODULE:Abstract", "Abstract does not define build_model, losses"),
        ("MODULE:Half", "does not say where its data is: set validation, test to a path or a URI"),
        ("MODULE:NoData", "does not say where its data is: set train to a path or a URI"),
        ("MODULE:Twice", "uses the same data twice"),
        ("MODULE:Uri", "give train, validation and test their own"),
        ("MODULE:OneInput", "inputs is a tuple of column names such as ('features',), not 'features'"),
        ("MODULE:Loss", "the metric 'loss' exists already"),
        ("MODULE:Up", "metric 'accuracy' is 'min' or 'max', not 'up'"),
    ],
)
def test_a_wrong_name_or_class_is_answered_with_the_way_out(module, tmp_path, name, words):
    name, words = name.replace("MODULE", module()), words.replace("MODULE", module())
    with pytest.raises(TaskError) as caught:
        load_task(name, {}, [tmp_path])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sise": 3}, "unexpected keyword argument 'sise'; it takes size"),
        ({"size": 0}, "size 0 is too small"),
    ],
)
def test_options_that_do_not_fit_are_named(module, tmp_path, options, words):
    with pytest.raises(TaskError) as caught:
        load_task(f"{module()}:Mine", options, [tmp_path])
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["digits_transformer", "stdlib_gpt"])
def test_built_in_options_are_checked_too(name):
    with pytest.raises(TaskError, match="features 10 cannot be divided by heads 4"):
        load_task(name, {"features": 10})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1 / 0", "failed: ZeroDivisionError: division by zero"),
        ("def (", "failed: SyntaxError"),
        ("import no_such_package", "needs 'no_such_package', which is not installed"),
        ("from trainables.tasks import Tusk", "failed: ImportError"),
        ("raise SystemExit(3)", "failed: SystemExit: 3"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(module, tmp_path, content, words):
    with pytest.raises(TaskError) as caught:
        load_task(f"{module(content)}:Mine", {}, [tmp_path])
    assert words in str(caught.value)


def test_two_modules_of_one_name_in_two_folders_are_two_modules(module, tmp_path):
    """A worker lives through many trials; the next may come from another sweep's folder."""
    for size in (1, 2, 1):
        name = module(GOOD.replace("= 3", f"= {size}", 1), folder=tmp_path / str(size))
        assert load_task(f"{name}:Mine", {}, [tmp_path / str(size)]).size == size


def test_a_module_that_would_hide_one_of_python_is_refused(module, tmp_path):
    module(name="random")
    with pytest.raises(TaskError, match=r"'random' is a module of Python itself; rename .*random\.py"):
        load_task("random:Mine", {}, [tmp_path])
