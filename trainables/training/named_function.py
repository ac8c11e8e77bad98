"""A function or a class by its name, `module:name`, as a sweep file gives it."""

from __future__ import annotations

import importlib
from typing import Any

from trainables.error_text import first_line
from trainables.errors import InputError


class NamedFunctionError(InputError):
    """A `module:name` of the sweep file that cannot be imported, or does not do what it is for."""


def named_function(name: str, key: str) -> Any:
    """What `module:name` is, as the setting `key` holds it. Raises NamedFunctionError if there is none."""
    module_name, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute, None)
    except Exception as error:  # a user's module may fail in any way
        raise NamedFunctionError(
            f"{key} {name!r}: importing {module_name} failed: {type(error).__name__}: {first_line(error)}"
        ) from error
    if not callable(found):
        raise NamedFunctionError(f"{key} {name!r}: {module_name} has no function or class {attribute!r}")
    return found
