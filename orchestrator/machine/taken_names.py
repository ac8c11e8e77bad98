"""Modules of a user that are called like a package of Paretune."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path

OURS = ("orchestrator", "paretune", "trainables")


def taken_name(folders: Iterable[str | Path]) -> str | None:
    """The sentence about a module in one of the folders that is named like a package of Paretune; None if none is.

    The folders come first where workers look for modules: there, it would be imported in the place of ours.
    """
    for name in OURS:
        ours = importlib.util.find_spec(name)
        for folder in folders:
            spec = PathFinder.find_spec(name, [str(folder)])
            if spec and spec.origin and not (ours and ours.origin and os.path.samefile(spec.origin, ours.origin)):
                return (
                    f"the name {name!r} is taken by a package of Paretune itself, and {spec.origin} would stand in its "
                    f"place: rename yours (my_{name}), or move it out of {folder} if it has no part in the sweep"
                )
    return None
