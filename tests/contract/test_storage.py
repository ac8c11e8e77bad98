"""What every storage promises, a folder and a bucket alike: whole files, names, logs that grow, local copies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tests.support.bucket import bucket
from tests.support.training_samples import Regression, bits, build, differing, tables, training
from trainables.distributed.worker_context import WorkerContext
from trainables.storage import Storage, checkpoint_file, remove_checkpoint, trial_file, within
from trainables.training.checkpoint import from_bytes
from trainables.training.loop import train


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with bucket() as uri:
        yield uri


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    if request.param == "folder":
        return Storage(str(tmp_path / "storage"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return Storage(within(request.getfixturevalue("s3"), tmp_path.name))


def test_a_file_is_there_whole_until_it_is_removed(storage: Storage) -> None:
    name = trial_file("0123456789ab", "result.json")
    assert not storage.exists(name)
    storage.remove(name)
    with pytest.raises(FileNotFoundError):
        storage.read(name)
    for content in (b"first", b"", b"x" * (6 << 20)):
        storage.write(name, content)
        assert storage.exists(name)
        assert storage.read(name) == content
    storage.remove(name)
    assert not storage.exists(name)
    assert storage.names("trials/0123456789ab") == []


def test_names_are_those_directly_in_a_folder(storage: Storage) -> None:
    assert storage.names("trials") == []
    for name in ("trials/b/x.json", "trials/a/y.json", "trials/a/z.pt", "sweeps/s/plan.json"):
        storage.write(name, b"1")
    assert storage.names("trials") == ["a", "b"]
    assert storage.names("trials/a") == ["y.json", "z.pt"]
    storage.remove("trials/a/y.json")
    assert storage.names("trials/a") == ["z.pt"]


def test_a_folder_may_come_into_being_while_it_is_listed(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    folders = [f"trials/{number}" for number in range(3000)]
    with ThreadPoolExecutor(1) as other:
        making = other.submit(lambda: [os.makedirs(storage.path(folder)) for folder in folders])
        for folder in folders:
            while not storage.exists(folder):
                assert storage.names(folder) == []
        making.result()


def test_a_log_grows_and_another_process_reads_it(storage: Storage) -> None:
    lines = [f"{number} {'é' * 1000}" for number in range(700)]  # more than fit into one part
    for start in range(0, 700, 70):
        storage.append_lines("sweeps/s/journal.jsonl", lines[start : start + 70])
    again = Storage(storage.uri)
    assert again.read_lines("sweeps/s/journal.jsonl") == lines
    again.append_lines("sweeps/s/journal.jsonl", ["after a restart"])
    assert Storage(storage.uri).read_lines("sweeps/s/journal.jsonl") == [*lines, "after a restart"]


def test_a_file_is_fetched_to_a_local_path(storage: Storage, tmp_path: Path) -> None:
    storage.write("trials/a/model.pt2", b"model")
    path = storage.fetch("trials/a/model.pt2", tmp_path / "copies" / "model.pt2")
    assert path.read_bytes() == b"model"


def test_a_training_goes_on_from_its_checkpoint(storage: Storage, tmp_path: Path) -> None:
    here, name = WorkerContext(storage, tmp_path / "cache"), checkpoint_file("0123456789ab")
    whole = build(Regression())
    list(train(whole, Regression(), tables(), training(), here))
    part = build(Regression())
    running = train(part, Regression(), tables(), training(), here, checkpoint=name)
    next(running)
    running.close()
    assert from_bytes(storage.read(name), torch.device("cpu"))["step"] > 0
    rest = build(Regression(), seed=9)
    list(train(rest, Regression(), tables(), training(), here, checkpoint=name))
    assert differing(bits(whole), bits(rest)) == []
    remove_checkpoint(storage, name)
    assert storage.names("trials/0123456789ab") == []
