"""Messages for models that torch.export cannot export: they name the line of the user's code and the way out."""

from __future__ import annotations

import re
import traceback

from trainables.error_text import first_line, own_place

CAUSAL_MASK = "_detect_is_causal_mask"  # nn.Transformer's: it compares the values of a mask with a causal one
UNKNOWN_OUTPUT = re.compile(r"Found <class '(?P<name>[^']+)'> in output")


def why_not_exported(error: BaseException) -> str:
    """One sentence on the obstacle, with torch's own first line as detail; only that line if the cause is unknown."""
    text, detail = str(error), f"{first_line(error)}{own_place(error)}"
    if "specialized it to be a constant" in text:
        return "its code fixes the number of rows; take it from x.shape[0], not from len(x)"
    if found := UNKNOWN_OUTPUT.search(text):
        kind = found["name"].rpartition(".")[2]
        return f"it returns an object of the class {kind}; return a tensor, or a tuple, list or dict of tensors"
    if CAUSAL_MASK in _functions(error):
        return (
            "nn.Transformer compares the values of a mask with a causal one, which an exported model cannot do; pass "
            f"tgt_is_causal=True, src_is_causal=True or is_causal=True with the mask{own_place(error)}"
        )
    if "data-dependent" in text or "GuardOnDataDependent" in type(error).__name__:
        return (
            "its code depends on the values of a tensor, as `if x.sum() > 0` or `.item()` do, which an exported model "
            f"cannot; use torch.where, or depend on shapes: {detail}"
        )
    return detail


def _functions(error: BaseException) -> set[str]:
    """The names of the functions in the tracebacks of an error and of its causes."""
    names: set[str] = set()
    seen: BaseException | None = error
    while seen is not None:
        names |= {frame.name for frame in traceback.extract_tb(seen.__traceback__)}
        seen = seen.__cause__ or seen.__context__
    return names
