"""Detects a user's modules with the same name as a package of Paretune."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path

OURS = ("orchestrator", "paretune", "trainables")


def taken_name(folders: Iterable[str | Path]) -> str | None:
    """A message about a module in one of the folders that has the name of a package of Paretune; None if there is none.

    Workers search these folders first, so they would import the user's module instead of Paretune's.
    """
    for name in OURS:
        ours = importlib.util.find_spec(name)
        for folder in folders:
            spec = PathFinder.find_spec(name, [str(folder)])
            if spec and spec.origin and not (ours and ours.origin and os.path.samefile(spec.origin, ours.origin)):
                return (
                    f"the name {name!r} belongs to a package of Paretune, and {spec.origin} would be imported instead: "
                    f"rename yours (my_{name}), or move it out of {folder} if the sweep does not need it"
                )
    return None
