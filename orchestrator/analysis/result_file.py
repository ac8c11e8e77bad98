"""The stored result of one trial: trials/<id>/result.json, with a digest.

A result that does not match its digest counts as missing, and so does one whose model or weights are damaged, because
an unusable model must not be recommended. A deleted model is accepted: a user may have freed space.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from pydantic import ValidationError

from trainables.data.digest import remembered
from trainables.data.fingerprint import NoHomeError, default_cache
from trainables.results import TrialResult
from trainables.seal import DamagedFileError, check_seal
from trainables.storage import Storage, trial_file

RESULT = "result.json"


def save_result(storage: Storage, result: TrialResult) -> None:
    """Atomically."""
    storage.write_sealed(trial_file(result.id, RESULT), result.model_dump_json(indent=1).encode())


def load_result(storage: Storage, trial: str) -> TrialResult | None:
    """The result; None if there is none. Raises DamagedFileError if it, its model or its weights are damaged."""
    name = trial_file(trial, RESULT)
    try:
        result = TrialResult.model_validate_json(storage.read_sealed(name))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        what = f"this version cannot read it ({error.errors()[0]['msg']})"
        raise DamagedFileError(storage.display(name), what) from error
    for file in result.files.values():
        with contextlib.suppress(FileNotFoundError):
            _check(storage, trial_file(trial, file))
    return result


def _check(storage: Storage, name: str) -> None:
    """Raises FileNotFoundError, and DamagedFileError.

    A local file is read completely, unless this node has done so since it last changed. In a bucket that would cost too
    much: there only its end is checked, which shows a truncated file; loading it checks the rest.
    """
    if not storage.is_local:
        storage.check_end(name)
        return
    path = Path(storage.path(name))
    try:
        what = remembered(path, default_cache(), "seals", _damage, until_next_start=True)
    except NoHomeError:
        what = _damage(path)
    if what:
        raise DamagedFileError(storage.display(name), what)


def _damage(path: Path) -> str:
    try:
        check_seal(path)
    except DamagedFileError as error:
        return error.what
    return ""
