"""Checks an exported model (`.pt2`) before torch reads it: nothing in it can run code.

torch.export.load runs code in several ways: it unpickles sample inputs, pickled weights and custom objects, loads
compiled libraries, evaluates the expressions of sizes and guards, accepts any object below `torch` as an operator, and
generates source code from names. So members are allowed by name; pickled data must contain tensors only; every
expression is parsed and must be arithmetic; every operator must take tensors and numbers; and every other text must not
contain characters that end a quoted string.

It uses torch's own reader, so that the checked bytes are the bytes that are loaded.
"""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from trainables.compat import SYMPY_FUNCTIONS, ArchiveReader, OperatorNamespace, OpOverload
from trainables.errors import ParetuneError

MODEL_MEMBER = "models/model.json"
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
ARCHIVE_MEMBERS = ("archive_format", "archive_version", "byteorder", ".data/version", ".data/serialization_id")
PREPARATION_MEMBER = "extra/preparation.json"  # ours, read as data alone
PAYLOAD = re.compile(r"data/(weights/weight|constants/tensor)_\d+")

IDENTIFIER = re.compile(r"([^\W\d]\w*)?")
WORD = re.compile(r"[\w.+-]*")
NAME = re.compile(r"[^'\"\\\x00-\x1f\x7f]*")  # name of a module, a weight or an output: may have spaces and brackets
TEXT = re.compile(r"[^\"\\\x00-\x1f\x7f]*")  # an operator's argument, which torch quotes
PATH_NAME = re.compile(r"(weight|tensor)_\d+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names in sympy's form of an expression (`srepr`), and in torch's comparisons of an input's sizes.
SYMPY = (
    _words(
        """Symbol Dummy Integer Rational Float Add Mul Pow Mod Max Min Abs floor ceiling true false oo int_oo And Or Not
    Equality Unequality StrictLessThan LessThan StrictGreaterThan GreaterThan Piecewise ExprCondPair"""
    )
    | SYMPY_FUNCTIONS
)
GUARDS = _words(
    """L args math torch inf int float max min size stride storage_offset item isnan trunc floor ceil sqrt
    sym_float sym_int sym_max sym_min sym_not sym_ite sym_sum
    IsNonOverlappingAndDenseIndicator cast_symbool_to_symint_guardless"""
)
ARITHMETIC = (
    *(ast.Expression, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.keyword, ast.Constant, ast.Name),
    *(ast.Attribute, ast.Subscript, ast.Load, ast.Tuple, ast.List, ast.boolop, ast.operator, ast.unaryop, ast.cmpop),
)

OF_NUMBERS = {
    "_operator": _words(
        "eq ne le ge lt gt neg pos mul add sub floordiv mod pow truediv and_ or_ lshift rshift getitem"
    ),
    "torch": _words("sym_not sym_int sym_float sym_ite sym_max sym_min sym_sum sym_sqrt _sym_sqrt"),
    "math": _words("trunc"),
}
# Operators on graphs, which are checked like the outermost graph; none of them takes compiled code or objects.
OF_GRAPHS = _words(
    """wrap_with_set_grad_enabled wrap_with_autocast cond while_loop map_impl scan associative_scan invoke_subgraph
    auto_functionalized auto_functionalized_v2 out_dtype flex_attention hints_wrapper strict_mode"""
)
OBJECTS = _words("ClassType AnyType PyObjectType VarType InterfaceType FunctionType RRefType FutureType")


class ArchiveError(ParetuneError, ValueError):
    """An archive contains something that could run code, or that no exported model contains. The message names it."""


def check_archive(path: Path) -> None:
    """Raises ArchiveError if a member of the archive at `path` could run code, RuntimeError if it is not an archive."""
    reader = ArchiveReader(str(path))
    members: list[str] = reader.get_all_records()
    for member in members:
        known = (MODEL_MEMBER, SAMPLE_INPUTS, PREPARATION_MEMBER, *CONFIGS, *ARCHIVE_MEMBERS)
        if member not in known and not PAYLOAD.fullmatch(member):
            raise ArchiveError(f"an exported model has no member {member}, which could run code")
        if members.count(member) > 1:
            raise ArchiveError(f"it has the member {member} twice")
    for member in (MODEL_MEMBER, *CONFIGS):
        try:
            _check(json.loads(_read(reader, members, member)), "")
        except (ArchiveError, ValueError, RecursionError) as error:
            raise ArchiveError(f"its member {member} {error}") from error
    _check_tensors(_read(reader, members, SAMPLE_INPUTS))


def description(path: Path) -> bytes:
    """The program of an archive, as unchecked JSON. Raises RuntimeError if the file is not an archive."""
    content: bytes = ArchiveReader(str(path)).get_record(MODEL_MEMBER)
    return content


def _read(reader: Any, members: Collection[str], member: str) -> bytes:
    if member not in members:
        raise ArchiveError(f"it has no member {member}")
    content: bytes = reader.get_record(member)
    return content


def _check_tensors(content: bytes) -> None:
    """Check that sample inputs can be read as tensors only; otherwise torch would unpickle them."""
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception as error:
        raise ArchiveError(f"its member {SAMPLE_INPUTS} holds more than tensors, and could run code") from error


def _check(value: Any, key: str) -> None:
    """Check every text below `value`, which is stored under `key`. Raises ArchiveError."""
    if key == "use_pickle" and value is not False:
        raise ArchiveError("has a pickled weight, which could run code")
    match value:
        case dict():
            for name, inner in value.items():
                _match(NAME, name)
                _check(inner, key if key == "constant_input" else name)
        case list():
            for inner in value:
                _check(inner, key)
        case str():
            RULES.get(key, _word)(value)


def _match(pattern: re.Pattern[str], text: str) -> None:
    if not pattern.fullmatch(text):
        raise ArchiveError(f"has the text {_short(text)} where only a name may be, and could run code")


def _word(text: str) -> None:
    _match(WORD, text)


def _pattern(pattern: re.Pattern[str]) -> Callable[[str], None]:
    return lambda text: _match(pattern, text)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}...")


def _expression(names: Collection[str]) -> Callable[[str], None]:
    """A check that a text is arithmetic with these names, and calls only functions of these names."""

    @lru_cache  # the same few sizes are written again and again
    def check(text: str) -> None:
        try:
            nodes = list(ast.walk(ast.parse(text, mode="eval")))
        except SyntaxError as error:
            raise ArchiveError(f"has the expression {_short(text)}, which is not valid") from error
        if "#" in text or not all(_is_arithmetic(node, names) for node in nodes):
            raise ArchiveError(f"has the expression {_short(text)}, which is not plain arithmetic and could run code")

    return check


def _is_arithmetic(node: ast.AST, names: Collection[str]) -> bool:
    match node:
        case ast.Constant(value=str() as text):  # a symbol's or an input's name, or a number's digits
            return bool(WORD.fullmatch(text))
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in names
        case ast.Call(func=ast.Name() | ast.Attribute()):
            return True  # of that name
        case ast.Call():
            return False
    return isinstance(node, ARITHMETIC)


def _tree(text: str) -> None:
    """Check the nesting of inputs and outputs: JSON within JSON, whose types torch looks up by name."""
    try:
        inner = json.loads(text)
    except ValueError as error:
        raise ArchiveError(f"has the text {_short(text)} where JSON must be") from error
    _check_tree(inner)


def _check_tree(value: Any) -> None:
    match value:
        case {"__enum__": _} | {"type": "collections.defaultdict"} | {"default_factory_module": _}:
            raise ArchiveError("names a class to import, and could run code")
        case dict():
            for name, inner in value.items():
                _match(NAME, name)
                if name == "context" and isinstance(inner, str) and inner.startswith(("[", "{", '"')):
                    _tree(inner)
                else:
                    _check_tree(inner)
        case list():
            for inner in value:
                _check_tree(inner)
        case str():
            _match(NAME, value)


def _operator(text: str) -> None:
    """Check a call: a function of numbers, or a registered operator that takes tensors, numbers and plain strings."""
    refusal = ArchiveError(f"calls {_short(text)}, which is not an operator on tensors and numbers and could run code")
    match text.split("."):
        case [module, name] if name in OF_NUMBERS.get(module, ()):
            return
        case ["torch", "ops", "higher_order", name] if name in OF_GRAPHS:
            return
        case ["torch", "ops", library, name, overload] if all(map(str.isidentifier, (library, name, overload))):
            namespace = getattr(torch.ops, library)
            if not isinstance(namespace, OperatorNamespace):
                raise refusal
            operator = getattr(getattr(namespace, name, None), overload, None)
            if operator is None:
                raise ArchiveError(f"calls the operator {library}::{name}, which this process does not have: import it")
            if not isinstance(operator, OpOverload) or any(map(_is_risky, operator._schema.arguments)):
                raise refusal
        case _:
            raise refusal


def _is_risky(argument: Any) -> bool:
    kind = argument.type
    while kind.kind() in ("OptionalType", "ListType"):
        kind = kind.getElementType()
    return kind.kind() in OBJECTS or argument.name == "filename"


def _no_object(text: str) -> None:
    raise ArchiveError(f"has an object of class {_short(text)}, which could run code")


RULES: dict[str, Callable[[str], None]] = {
    "expr_str": _expression(SYMPY),
    "guards_code": _expression(GUARDS),
    "in_spec": _tree,
    "out_spec": _tree,
    "target": _operator,
    "as_operator": _operator,
    "class_fqn": _no_object,
    "name": _pattern(IDENTIFIER),
    "as_name": _pattern(IDENTIFIER),
    "forward_arg_names": _pattern(IDENTIFIER),
    "path_name": _pattern(PATH_NAME),
    "parameter_name": _pattern(NAME),
    "buffer_name": _pattern(NAME),
    "tensor_constant_name": _pattern(NAME),
    "user_input_name": _pattern(NAME),
    "fqn": _pattern(NAME),
    "constant_input": _pattern(NAME),
    "as_string": _pattern(TEXT),
    "as_strings": _pattern(TEXT),
}
