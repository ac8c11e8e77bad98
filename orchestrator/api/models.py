"""Loads the models that a sweep's trials have stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.analysis.result_file import load_result
from orchestrator.commands.compare import storage_of
from trainables.errors import InputError
from trainables.storage import Storage, trial_file

if TYPE_CHECKING:
    from torch import nn

SUFFIX = ".pt2"


def load_model(model: str | Path, storage: str | None = None, *, device: str = "cpu") -> nn.Module:
    """An exported model, ready to be called with a batch of inputs, in evaluation mode.

    `model`: a file (`model.pt2`), or the id of a trial in `storage`. It runs without the code that defined it, for any
    number of rows; its `train()` and `eval()` do not work. Raises InputError if there is no such model, ArtifactError
    if the file is not an exported model or is damaged.
    """
    if str(model).endswith(SUFFIX):
        if not Path(model).is_file():
            raise InputError(f"there is no file {model}")
        return _model_of_file(Path(model), device)
    return model_of_trial(str(model), Storage(storage_of(storage)), device)


def model_of_trial(trial: str, storage: Storage, device: str) -> nn.Module:
    """The model that a trial has stored. Raises InputError if it has none."""
    from trainables.data.fingerprint import default_cache

    result = load_result(storage, trial)
    if result is None:
        raise InputError(f"no trial {trial!r} has ended in {storage.label}")
    if "model" not in result.files:
        raise InputError(f"trial {trial} has no stored model: it ended as {result.status}")
    file = result.files["model"]
    return _model_of_file(storage.fetch(trial_file(trial, file), default_cache() / "models" / trial / file), device)


def _model_of_file(path: Path, device: str) -> nn.Module:
    from trainables.measure.artifact import load_model as load_file
    from trainables.measure.raw_rows import with_raw_rows

    return with_raw_rows(load_file(path, device), path)
