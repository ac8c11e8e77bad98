"""Reads exported models in a process that has imported only torch and our packages, like a later user's process.

Run as `python -m trainables.measure.read_back REQUEST.json RESPONSE.json`, which `unreadable` starts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from trainables.config.base import FrozenConfig
from trainables.error_text import OUR_SOURCES, first_line
from trainables.process.fresh_process import ChildError, answer, in_fresh_process


class ExportedFile(FrozenConfig):
    """A model's file, and a file with example inputs: a list of tensors written by `torch.save`."""

    model: str
    inputs: str


class ReadBackRequest(FrozenConfig):
    files: tuple[ExportedFile, ...]


class ReadBackResponse(FrozenConfig):
    problems: tuple[str | None, ...]  # one for each file


def unreadable(
    files: Sequence[ExportedFile], cache: Path, but_not: Sequence[str], timeout_seconds: float
) -> Sequence[str | None]:
    """Why each of these models cannot be read and run elsewhere; None if it can, or if that is unknown.

    `but_not`: folders of the user, which that process must not import from.
    """
    left_out = {os.path.realpath(folder) for folder in but_not}
    path = [str(OUR_SOURCES), *(entry for entry in sys.path if entry and os.path.realpath(entry) not in left_out)]
    environment = {
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONSAFEPATH": "1",  # nor into the current one
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    request = ReadBackRequest(files=tuple(files)).model_dump_json()
    try:
        text = in_fresh_process(
            "trainables.measure.read_back", request, cache, environment, timeout_seconds, "reading back"
        )
    except ChildError:  # too little time or memory
        return [None] * len(files)
    return ReadBackResponse.model_validate_json(text).problems


def respond(text: str) -> str:
    return ReadBackResponse(
        problems=tuple(map(_problem, ReadBackRequest.model_validate_json(text).files))
    ).model_dump_json()


def _problem(file: ExportedFile) -> str | None:
    import torch

    from trainables.measure.artifact import load_model

    try:
        with torch.no_grad():
            load_model(Path(file.model))(*torch.load(file.inputs, weights_only=True))
    except Exception as error:
        return first_line(error)
    return None


if __name__ == "__main__":
    answer(respond, sys.argv[1:])
