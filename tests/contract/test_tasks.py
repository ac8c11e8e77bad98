"""What holds for every task: the built-in ones, and the one in examples/ that a user would write."""

import ast
import inspect
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.support.places import ROOT
from trainables.data.shards import Shard
from trainables.tasks.base import Task
from trainables.tasks.catalog import BUILTIN
from trainables.tasks.load import TaskError, load_task
from trainables.tasks.task_data import open_data

EXAMPLES = ROOT / "examples"
OWN = "own_task:BreastCancer"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A copy of the user's example with its data, made by its script; and a node's cache."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("own_task.py", "make_own_data.py"):
        shutil.copy(EXAMPLES / name, folder)
    subprocess.run([sys.executable, folder / "make_own_data.py"], check=True)
    yield folder
    sys.modules.pop("own_task", None)


@pytest.fixture(scope="module", params=[*BUILTIN, OWN])
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def task(name, workplace) -> Task:
    return load_task(name, {}, [workplace])


@pytest.fixture(scope="module")
def data(task, workplace):
    return open_data(task, workplace / "cache")


@pytest.fixture
def batch(data):
    return data.train.gather(Shard(data.train.n_rows).rows(0, 7))


@pytest.fixture
def model(task):
    torch.manual_seed(0)
    return task.build_model()


def n_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def row_of(batch, index: int):
    return {key: column[index : index + 1] for key, column in batch.items()}


@pytest.mark.parametrize("rows", [1, 7])
def test_losses_and_scores_have_one_value_per_item(task, model, data, rows):
    batch = data.train.gather(np.arange(rows))
    outputs = task.forward(model, batch)
    losses = task.losses(outputs, batch)
    assert losses.ndim == 1
    assert len(losses) % rows == 0
    assert losses.dtype == torch.float32
    assert torch.isfinite(losses).all()
    scores = task.scores(outputs, batch)
    assert set(scores) == set(task.metrics)
    for score in scores.values():
        assert score.shape == losses.shape
        assert score.is_floating_point()


def test_an_item_is_judged_by_its_own_row_alone(task, model, batch):
    """Or else neither micro-batches nor workers would give the result of the whole batch."""
    model.eval()
    with torch.no_grad():
        together = task.losses(task.forward(model, batch), batch)
        alone = [task.losses(task.forward(model, row), row) for row in (row_of(batch, index) for index in range(7))]
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-4, atol=1e-5)


def test_width_scales_the_model(task, model):
    sizes = [n_parameters(task.build_model(width)) for width in (0.25, 0.5, 1.0)]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == n_parameters(model)


def test_weights_come_from_the_seed(task):
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([parameter.detach().flatten() for parameter in task.build_model().parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_every_parameter_gets_a_gradient(task, model, batch):
    task.losses(task.forward(model, batch), batch).mean().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().max() > 1e-8, key


def test_a_few_steps_make_the_loss_smaller(task, model, data):
    batch = data.train.gather(np.arange(32))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    history = []
    for _ in range(10):
        loss = task.losses(task.forward(model, batch), batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.95 * history[0]


def test_splits_have_no_row_in_common(data):
    def rows(table) -> set[bytes]:
        columns = [table.column(name).reshape(table.n_rows, -1) for name in table.columns]
        return {b"".join(column[index].numpy().tobytes() for column in columns) for index in range(table.n_rows)}

    train, validation, test = rows(data.train), rows(data.validation), rows(data.test)
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_the_model_can_be_exported_for_any_batch_size(task, model, batch):
    model.eval()
    inputs = tuple(batch[name].clone() for name in task.inputs)
    rows = {0: torch.export.Dim.DYNAMIC}
    program = torch.export.export(model, inputs, dynamic_shapes=tuple(rows for _ in inputs))
    for count in (1, 5):
        part = tuple(tensor[:count] for tensor in inputs)
        torch.testing.assert_close(program.module()(*part), model(*part), rtol=1e-4, atol=1e-5)


# -- what a plan reads without importing torch ------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILTIN)
def test_the_catalogue_tells_the_truth(name, workplace):
    entry, task = BUILTIN[name], load_task(name)
    assert entry.target == f"{type(task).__module__}:{type(task).__name__}"
    assert dict(entry.metrics) == dict(task.metrics)
    defaults = {key: parameter.default for key, parameter in inspect.signature(type(task)).parameters.items()}
    assert dict(entry.options) == defaults
    assert entry.train_rows() == open_data(task, workplace / "cache").train.n_rows
    assert "\n" not in entry.doc
    other = {key: 2 * value for key, value in entry.options.items() if not isinstance(value, str)}
    assert n_parameters(load_task(name, other).build_model()) > n_parameters(task.build_model())


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in BUILTIN for option in BUILTIN[name].choices])
def test_every_choice_of_an_option_is_a_model_and_nothing_else_is(name, option, workplace):
    choices = BUILTIN[name].choices[option]
    assert BUILTIN[name].options[option] in choices
    for choice in choices:
        task = load_task(name, {option: choice})
        batch = open_data(task, workplace / "cache").train.gather(np.arange(4))
        task.losses(task.forward(task.build_model(), batch), batch).sum().backward()
    with pytest.raises(TaskError, match=choices[-1]):
        load_task(name, {option: "nothing"})


def test_a_users_task_can_be_read_without_importing_it(workplace):
    tree = ast.parse((workplace / "own_task.py").read_text())
    (cls,) = (node for node in tree.body if isinstance(node, ast.ClassDef))
    found = {}
    for node in cls.body:
        if isinstance(node, ast.Assign):
            (target,), value = node.targets, ast.literal_eval(node.value)
            if isinstance(target, ast.Tuple):
                found |= {item.id: part for item, part in zip(target.elts, value, strict=True)}
            else:
                found[target.id] = value
    task = load_task(OWN, {}, [workplace])
    assert found == {key: getattr(task, key) for key in ("train", "validation", "test", "inputs", "metrics")}


def test_the_example_is_short():
    lines = [len((EXAMPLES / name).read_text().splitlines()) for name in ("own_task.py", "make_own_data.py")]
    assert sum(lines) < 40
