"""A digest of what Python runs of a source file: a comment, a docstring or another layout leaves it as it is.

The tree of the parsed source is written down without its places and without fields that are empty, so that a version
of Python that knows more fields finds the same digest. Docs: https://docs.python.org/3/library/ast.html
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable

PLACES = frozenset({"lineno", "col_offset", "end_lineno", "end_col_offset", "ctx", "type_comment"})
WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_digest(source: bytes) -> str:
    """SHA-256, in hexadecimal digits. Of the bytes themselves where Python cannot parse them.

    Docstrings count in a file that uses `__doc__`, because there they may affect its code.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return hashlib.sha256(source).hexdigest()
    words: list[str] = []
    try:
        _write(tree, words.append, keep_docstrings=b"__doc__" in source)
    except RecursionError:  # an expression that nests deeper than Python follows
        return hashlib.sha256(source).hexdigest()
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _write(node: ast.AST, word: Callable[[str], None], *, keep_docstrings: bool) -> None:
    word(type(node).__name__)
    for name, value in ast.iter_fields(node):
        if name in PLACES or value is None or value == []:
            continue
        word(name)
        values = value if isinstance(value, list) else [value]
        if name == "body" and not keep_docstrings and isinstance(node, WITH_DOCSTRING) and _is_text(values[0]):
            values = values[1:]
        for each in values:
            if isinstance(each, ast.AST):
                _write(each, word, keep_docstrings=keep_docstrings)
            else:
                word(repr(each))
    word("end")


def _is_text(statement: object) -> bool:
    """Whether a statement is a string alone: at the beginning of a body, its docstring."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
