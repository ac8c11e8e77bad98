"""The result of one trial, as the storage keeps it: trials/<id>/result.json, sealed.

A result whose content does not fit its digest is none, and neither is one whose model or weights are damaged: who
compares would recommend a model that nobody can use. A file that is gone is another matter: somebody has made room.
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
    """None if there is none. Raises DamagedFileError for a damaged one, or one with a damaged file."""
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

    A local file is read whole, unless this node has done so since it was last touched. In a bucket that would cost too
    much: there its end tells whether it was cut off, and whoever loads it checks the rest.
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
