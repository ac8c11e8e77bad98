"""A storage that is full, read-only or out of reach: told, tried again, and raised only when it lasts."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.running import patience
from orchestrator.running.patience import Patience, PatientStorage, StorageFailsError
from tests.support.bucket import KEYS
from trainables.storage import Storage, StorageError


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "TRY_AGAIN_S", 0.0)


def failing(monkeypatch: pytest.MonkeyPatch, times: int, number: int = errno.ENOSPC) -> None:
    """So many flushes to the disk fail."""
    fsync, left = os.fsync, [times]

    def fail(file: int) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(number, os.strerror(number))
        fsync(file)

    monkeypatch.setattr(os, "fsync", fail)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize(
    "write",
    [lambda storage: storage.write("x", b"new"), lambda storage: storage.append_lines("x", ["new"])],
    ids=["file", "log"],
)
def test_what_the_storage_is_to_blame_for_is_named_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, write: Callable[[Storage], None]
) -> None:
    failing(monkeypatch, 1, number)
    with pytest.raises(StorageError) as caught:
        write(Storage(str(tmp_path)))
    assert str(caught.value) == f"the storage failed at {tmp_path}/x: {os.strerror(number)}"
    assert caught.value.errno == number


def test_a_bucket_out_of_reach_is_the_storages_fault_and_a_missing_file_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    keys = ":".join(KEYS.values())
    away = Storage(f"s3://{keys}@bucket/x?scheme=http&endpoint_override=127.0.0.1:9&region=us-east-1")
    with pytest.raises(StorageError, match="the storage failed at s3://bucket/x/y") as caught:
        away.read("y")
    assert "secret" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        Storage(str(tmp_path)).read("y")


def test_a_driver_waits_for_its_storage_and_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    storage = PatientStorage(str(tmp_path))
    failing(monkeypatch, 3)
    with pytest.raises(StorageError):  # a command that cannot be obeyed is answered at once
        storage.write("x", b"new")
    storage.be_patient(said.append)
    storage.append_lines("log", ["one"])
    assert said == [
        f"paused: the storage failed at {tmp_path}/log: No space left on device; retrying for up to 180 s",
        "the storage works again: the sweep continues",
    ]
    assert set(storage.read_lines("log")) == {"one"}


def test_patience_has_an_end_and_loses_nothing_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = PatientStorage(str(tmp_path))
    storage.write("x", b"old")
    storage.be_patient(lambda _: None)
    failing(monkeypatch, 1000)
    monkeypatch.setattr(patience, "PATIENCE_S", 0.05)
    with pytest.raises(StorageFailsError, match=r"No space left on device.* run the same command again to resume"):
        storage.write("x", b"new")
    assert storage.read("x") == b"old"


def test_of_several_that_wait_the_first_and_the_last_are_told() -> None:
    said: list[str] = []
    waiting = Patience(said.append)
    for trial in "ab":
        waiting.failed(trial, f"{trial} failed")
    for trial in "abc":
        waiting.works(trial)
    assert [sentence.split(";")[0] for sentence in said] == [
        "paused: a failed",
        "the storage works again: the sweep continues",
    ]
