"""One driver at a time in a folder and in a bucket alike, and the next one after a driver that has died."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.recording import lease
from orchestrator.recording.journal import Journal
from orchestrator.recording.lease import Claim, Lease, SweepIsRunningError
from tests.support.bucket import bucket
from trainables.storage import Storage, StorageError, within


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with bucket() as uri:
        yield uri


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.setattr(lease, "RENEW_S", 0.2)
    monkeypatch.setattr(lease, "LEASE_POLL_SECONDS", 0.05)
    if request.param == "folder":
        return Storage(str(tmp_path / "storage"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return Storage(within(request.getfixturevalue("s3"), tmp_path.name))


def claims(storage: Storage) -> list[str]:
    return storage.names("sweeps/s/lease")


def leave(storage: Storage, machine: str, pid: int) -> None:
    """What a driver leaves that was killed."""
    claim = Claim(holder="process 1 on elsewhere", since="then", machine=machine, pid=pid, is_held=True, renewals=3)
    storage.write_sealed("sweeps/s/lease/0.json", claim.model_dump_json().encode())


def test_a_second_driver_is_told_who_runs_the_sweep_and_since_when(storage: Storage) -> None:
    first = Lease(storage, "s")
    with pytest.raises(SweepIsRunningError, match=r"sweep 's' in .* is being run by process \d+ on .* since \d{4}-"):
        Lease(storage, "s")
    Lease(storage, "another").close()
    first.check()
    first.close()
    Lease(storage, "s").close()
    assert claims(storage) == []


def test_of_drivers_that_start_together_one_runs_the_sweep(storage: Storage) -> None:
    def start(_: int) -> Lease | None:
        try:
            return Lease(storage, "s")
        except SweepIsRunningError:
            return None

    with ThreadPoolExecutor(4) as pool:
        (held,) = (found for found in pool.map(start, range(4)) if found is not None)
    held.check()
    held.close()


def test_a_driver_that_ended_on_this_machine_is_followed_at_once(storage: Storage) -> None:
    leave(storage, lease._machine(), pid=(1 << 22) + 1)  # no process has such a number
    started = Lease(storage, "s")
    assert len(claims(storage)) == 1
    started.close()


def test_a_driver_that_died_elsewhere_is_followed_when_its_lease_has_expired(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lease, "EXPIRES_S", 1.0)
    leave(storage, "another machine", pid=1)
    started = Lease(storage, "s")
    assert "waiting up to 1 s to see whether process 1 on elsewhere still runs it" in capsys.readouterr().err
    assert len(claims(storage)) == 1
    started.close()


def test_a_driver_that_was_cut_off_learns_that_another_has_taken_over(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "EXPIRES_S", 1.0)
    cut_off = Lease(storage, "s")
    with monkeypatch.context() as cut:
        cut.setattr(cut_off, "_write", refuse)
        second = Lease(storage, "s")
    until = time.monotonic() + 30
    while cut_off._lost_to is None and time.monotonic() < until:
        time.sleep(0.05)
    with pytest.raises(SweepIsRunningError):
        cut_off.check()
    second.check()
    cut_off.close()
    second.close()


def refuse(**_: object) -> None:
    raise StorageError("x", OSError("cut off"))


def test_a_journal_in_a_bucket_is_written_by_one_driver(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.2)
    storage = Storage(within(s3, tmp_path.name))
    with Journal(storage, "s"), pytest.raises(SweepIsRunningError):
        Journal(storage, "s")
    Journal(storage, "s").close()
