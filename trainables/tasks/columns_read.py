"""Finds the columns that a task reads, from its source code: no other has to be read, or to be suitable for a tensor.

`inputs` and `columns` name some; the labels stand in the methods that are handed a batch, mostly as `batch["label"]`.
Where all that such a method does with its batch is to take columns by names that are written out, the names are known;
where it does anything else with it (`batch.items()`, `batch[computed]`, `helper(batch)`), they are not, and all columns
that a table can hold are read. Imports no torch.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainables.tasks.base import Task

READERS = {  # and which argument is the batch
    "forward": 1,
    "losses": 1,
    "training_losses": 1,
    "training_batch": 0,
    "scores": 1,
    "distillation_losses": 2,
}
PASSES_ON = "training_batch"  # gives a batch back, which the others then read

Method = ast.FunctionDef | ast.AsyncFunctionDef


class _Unknown(Exception):  # noqa: N818 - how the search is left, not an error
    """A batch is used in a way that does not tell which columns are read."""


def columns_of(task: Task) -> frozenset[str] | None:
    """The columns to read: those that `inputs`, `columns` and the code name; None if the code may read any.

    Where `columns` names some, the others that code computes the names of are not read.
    """
    named = {*task.inputs, *task.columns}
    found = names_in_code(lambda name: _sources(task, name))
    if found is None:
        return frozenset(named) if task.columns else None
    return frozenset(named | found)


def names_in_code(methods: Callable[[str], Sequence[Method] | None]) -> frozenset[str] | None:
    """The columns that a task's methods take from their batch; None if that cannot be told.

    `methods`: all definitions of a method by its name, the inherited ones too; None where one cannot be read.
    """
    names: set[str] = set()
    todo = list(READERS.items())
    seen = set(todo)
    try:
        for name, position in todo:
            definitions = methods(name)
            if definitions is None:
                return None
            for definition in definitions:
                uses = _Uses(definition, position, passes_on=name == PASSES_ON)
                uses.look()
                names |= uses.names
                todo += [call for call in uses.calls if call not in seen]
                seen |= uses.calls
    except _Unknown:
        return None
    return frozenset(names)


def _sources(task: Task, name: str) -> list[Method] | None:
    """The definitions of a method in a task's class and in those that it inherits from, but `Task` itself."""
    from trainables.tasks.base import Task

    found: list[Method] = []
    if name in vars(task):
        return None
    for base in type(task).__mro__:
        if base is Task or name not in vars(base):
            continue
        function = vars(base)[name]
        if not isinstance(function, FunctionType):
            return None
        try:
            parsed = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        except (OSError, SyntaxError, TypeError, IndexError):
            return None
        if not isinstance(parsed, Method):
            return None
        found.append(parsed)
    return found if found or name in READERS else None


class _Uses(ast.NodeVisitor):
    """The uses of a batch within one method."""

    def __init__(self, method: Method, position: int, *, passes_on: bool) -> None:
        """`position`: of the batch among the arguments, from 0, without `self`. `passes_on`: it may give it back."""
        arguments = [argument.arg for argument in (*method.args.posonlyargs, *method.args.args)][1:]
        if len(arguments) <= position or method.decorator_list:
            raise _Unknown
        self._method, self._batch, self._passes_on = method, arguments[position], passes_on
        self._inputs = set(_loops_over_inputs(method))
        self.names: set[str] = set()
        self.calls: set[tuple[str, int]] = set()  # methods that are handed the batch, and as which argument

    def look(self) -> None:
        """Raises _Unknown."""
        for statement in self._method.body:
            self.visit(statement)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not self._is_batch(node.value) or isinstance(node.ctx, ast.Store):
            self.generic_visit(node)
        elif isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            self.names.add(node.slice.value)
        elif not (isinstance(node.slice, ast.Name) and node.slice.id in self._inputs):
            raise _Unknown

    def visit_Compare(self, node: ast.Compare) -> None:
        match node:
            case ast.Compare(left=ast.Constant(value=str(name)), ops=[ast.In() | ast.NotIn()], comparators=[one]) if (
                self._is_batch(one)
            ):
                self.names.add(name)
            case _:
                self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Attribute(value=of, attr="get") if self._is_batch(of) and node.args:
                first, *rest = node.args
                if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
                    raise _Unknown
                self.names.add(first.value)
            case ast.Attribute(value=ast.Name(id="self") | ast.Call(func=ast.Name(id="super")), attr=name):
                self.calls |= {(name, at) for at, value in enumerate(node.args) if self._is_batch(value)}
                rest = [value for value in node.args if not self._is_batch(value)]
            case _:
                self.visit(node.func)
                rest = node.args
        for value in [*rest, *(keyword.value for keyword in node.keywords)]:
            self.visit(value)

    def visit_Return(self, node: ast.Return) -> None:
        if not (self._passes_on and node.value is not None and self._is_batch(node.value)):
            self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None or not (self._passes_on and self._is_batch(value)):
                self.visit(value)

    def visit_Name(self, node: ast.Name) -> None:
        if self._is_batch(node):
            raise _Unknown

    def _is_batch(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id == self._batch


def _loops_over_inputs(method: Method) -> Iterator[str]:
    """The variables that stand for each of `self.inputs` in turn."""
    for node in ast.walk(method):
        if isinstance(node, ast.comprehension | ast.For):
            over = node.iter.value if isinstance(node.iter, ast.Subscript) else node.iter
            if isinstance(node.target, ast.Name) and isinstance(over, ast.Attribute) and over.attr == "inputs":
                yield node.target.id
