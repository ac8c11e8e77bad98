"""Messages for errors in a user's task: our own sentence first, with the line, the column and the way out."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping

import torch

from trainables.compression.errors import CompressionError
from trainables.error_text import first_line, own_place
from trainables.measure.artifact import ArtifactError
from trainables.process.memory import says_out_of_memory
from trainables.training.evaluate import ItemsError
from trainables.training.named_function import NamedFunctionError
from trainables.training.parameter_groups import ParameterGroupsError

Columns = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]

# In what an error says, in small letters:
NOT_HERE = ("cuda", "nvidia", "gpu", "triton", "active drivers")
NO_KERNEL = "not implemented for 'half'"  # float16 is a GPU's
TOO_HIGH = re.compile(r"index out of range in self|out of bounds|index .* is out of range")
OTHER_TYPE = re.compile(
    r"same dtype|expected scalar type|expected m1 and m2|dtypes? .*(match|differ)|must have the same"
)
EXPANDED = "more than one element of the written-to tensor"


def problem_of(
    name: str, doing: str, error: Exception, columns: Columns, left_out: Mapping[str, str] | None = None
) -> str | None:
    """What to say of an error; None if it may be one of this machine alone.

    `name`: the task. `doing`: what failed, as it follows the name. `columns`: of its table. `left_out`: those of its
    data that are not in the table, and why.
    """
    if isinstance(error, ItemsError | ParameterGroupsError | NamedFunctionError):
        return str(error)
    if isinstance(error, ArtifactError | CompressionError):
        return f"{name} cannot be compressed: {error}"
    said = _said(error)
    frames = traceback.extract_tb(error.__traceback__)
    told = f"{said} {frames[-1].line or ''}".lower()  # an assert may say nothing but its own line
    if (
        isinstance(error, MemoryError)
        or NO_KERNEL in told
        or says_out_of_memory(said)
        or any(w in told for w in NOT_HERE)
    ):
        return None
    key = error.args[0] if isinstance(error, KeyError) and error.args else None
    known = _missing(key, columns, left_out or {}) if isinstance(key, str) and key not in columns else ""
    return f"{name}{doing}: {_way_out(said, columns)}{type(error).__name__}: {said}{own_place(error)}{known}"


def _missing(key: str, columns: Columns, left_out: Mapping[str, str]) -> str:
    if key in left_out:
        return f"; column {key!r} of the data is not read: {left_out[key]}"
    return f"; columns are {', '.join([*columns, *sorted(left_out)])}"


def _said(error: Exception) -> str:
    """The first line of an error's message, and the next where that is but its title."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return "no message"
    return " ".join(lines[:2]) if lines[0].endswith(":") else first_line(error)


def _way_out(said: str, columns: Columns) -> str:
    """Our explanation of an error with one of torch's own messages; empty for all others."""
    if TOO_HIGH.search(said):
        whole = [name for name, (dtype, _) in columns.items() if not (dtype.is_floating_point or dtype.is_complex)]
        return (
            f"a number in the data ({' or '.join(map(repr, whole)) or 'a column of whole numbers'}) is too high or too "
            "low for the model: N classes or tokens are counted from 0 to N - 1; "
        )
    if OTHER_TYPE.search(said):
        types = [f"{name!r} is {str(dtype)[6:]}" for name, (dtype, _) in columns.items() if dtype.is_floating_point]
        return (
            f"its numbers are not all of one type ({', '.join(types) or 'no column is float32'}; a model's weights are "
            f"{str(torch.get_default_dtype())[6:]}): convert them in forward(), as batch[...].float() does; "
        )
    if EXPANDED in said:
        return "a parameter was expanded, so several of its elements are one: give it memory of its own by .clone(); "
    return ""
