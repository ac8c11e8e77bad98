"""Files that a later step builds on carry a digest: whatever is changed in one is told, and nothing is built on it."""

from __future__ import annotations

import contextlib
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from orchestrator.analysis.caveats import progress
from orchestrator.analysis.plan_file import TableError, load_plan, save_plan, stored_plan
from orchestrator.analysis.result_file import load_result, save_result
from orchestrator.analysis.table import load_table
from orchestrator.running.ledger import Ledger
from orchestrator.wording.recommendation import caveats
from tests.support.scripted import Told, result_of, scripted, sweep_of
from tests.support.training_samples import Regression, bits, build, differing, worker
from trainables.data.table import Table, open_table
from trainables.error_text import TrialWarning
from trainables.measure.artifact import ArtifactError, export_model, load_model
from trainables.results import Report, TrialResult
from trainables.seal import DamagedFileError, check_seal, sealed, unsealed
from trainables.storage import Storage, sweep_file, trial_file
from trainables.training.checkpoint import TrainingState, from_bytes, to_bytes
from trainables.worker.messages import Advance, Finished, Start
from trainables.worker.runner import Runner

TRIALS = [scripted(seed) for seed in range(2)]


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def flips(content: bytes, number: int = 50) -> list[bytes]:
    """The content with one bit flipped, at random places."""
    places = np.random.default_rng(0).integers(8 * len(content), size=number)
    return [flipped(content, int(place)) for place in places]


def archive() -> bytes:
    return to_bytes({"weight": torch.arange(100.0)})


def test_a_sealed_archive_is_an_archive_for_all_who_know_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(archive())
    check_seal(tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt") as opened:
        assert opened.testzip() is None
    for mapped in (False, True):
        assert torch.load(tmp_path / "x.pt", weights_only=True, mmap=mapped)["weight"].sum() == 4950


@pytest.mark.parametrize("content", [sealed(b'{"value": 0.1}'), sealed(b'{\n "value": 0.1\n}'), archive()])
def test_every_single_bit_and_every_cut_is_seen(content: bytes) -> None:
    changed = [flipped(content, bit) for bit in range(0, 8 * len(content), max(1, len(content) // 300))]
    cut = [content[:size] for size in range(0, len(content), max(1, len(content) // 300))]
    for damaged in changed + cut + [content + b"\n", content + b"}", b""]:
        with pytest.raises(DamagedFileError, match="here is damaged"):
            unsealed(damaged, "here")


def test_only_what_has_room_for_a_digest_is_sealed() -> None:
    for content in (b"", b"16", b"[1]", archive()):  # the last one is sealed already
        with pytest.raises(ValueError, match="can be sealed"):
            sealed(content)


# -- a checkpoint -----------------------------------------------------------------------------------------------------


def test_of_fifty_bits_flipped_in_a_checkpoint_every_one_is_told_and_none_is_taken_over(tmp_path: Path) -> None:
    here, model = worker(tmp_path), build(Regression())

    def state(model: nn.Module) -> TrainingState:
        return TrainingState(model, torch.optim.SGD(model.parameters(), 0.1), torch.amp.GradScaler("cpu"), step=3)

    state(model).save(here, "checkpoint.pt")
    kept = here.storage.read("checkpoint.pt")
    loaded_by_torch = 0
    for damaged in flips(kept):
        here.storage.write("checkpoint.pt", damaged)
        other = build(Regression(), seed=1)
        before, fresh = bits(other), state(other)
        fresh.step = 0
        with pytest.warns(
            TrialWarning, match=r"/checkpoint\.pt is damaged: .*; the training started again from the beginning"
        ):
            fresh.resume(here, "checkpoint.pt")
        assert (fresh.step, differing(bits(other), before)) == (0, [])
        with contextlib.suppress(Exception):
            from_bytes(damaged, torch.device("cpu"))
            loaded_by_torch += 1
    assert loaded_by_torch > 0  # which is why there is a digest


def test_what_is_warned_of_while_a_trial_runs_is_in_its_result(tmp_path: Path) -> None:
    def trial(*_: object) -> Iterator[Report | TrialResult]:
        warnings.warn("the checkpoint is damaged", TrialWarning, stacklevel=2)
        yield Report(step=1, examples=1, seconds=1, metrics={})
        yield result_of(TRIALS[0], 0.5)

    runner = Runner(trial, worker(tmp_path))
    for _ in range(2):  # each trial its own
        with pytest.warns(TrialWarning):
            runner.obey(Start(trial=TRIALS[0].id, config=TRIALS[0].config))
        answer = runner.obey(Advance())
        assert isinstance(answer, Finished)
        assert answer.result.warnings == ("the checkpoint is damaged",)


# -- a model, a result, a plan ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = export_model(nn.Linear(20, 20), (torch.randn(2, 20),), tmp_path_factory.mktemp("model") / "model.pt2")
    return path.read_bytes()


def test_a_damaged_model_is_not_loaded(model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    for damaged in [*flips(model, 10), model[:1000]]:
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match="is not an exported model that this version reads"):
            load_model(path)


@pytest.fixture
def storage(tmp_path: Path, model: bytes) -> Storage:
    """Of a sweep of two trials, both ended."""
    storage = Storage(str(tmp_path / "storage"))
    save_plan(storage, stored_plan(sweep_of(*TRIALS)))
    for trial in TRIALS:
        storage.write(trial_file(trial.id, "model.pt2"), model)
        save_result(storage, result_of(trial, 0.5).model_copy(update={"files": {"model": "model.pt2"}}))
    return storage


RESULT, MODEL = (trial_file(TRIALS[0].id, name) for name in ("result.json", "model.pt2"))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (RESULT, lambda content: content.replace(b'"value": 0.5', b'"value": 0.9')),
        (RESULT, lambda content: content[:-20]),
        (RESULT, lambda content: content.replace(b'"sha256"', b'"sha257"')),
        (MODEL, lambda content: content[:1000]),
        (MODEL, lambda content: flipped(content, 4 * len(content))),
    ],
    ids=["digits of a result", "a result that was cut", "a result without a digest", "a model that was cut", "a model"],
)
def test_a_trial_whose_result_or_model_is_damaged_is_named_and_run_again(
    storage: Storage, name: str, damage: Callable[[bytes], bytes]
) -> None:
    storage.write(name, damage(storage.read(name)))
    compared = load_table(storage, "scripted")
    assert [row.status for row in compared.rows] == ["waiting", "completed"]
    (caveat,) = progress(compared)
    (sentence,) = caveats(compared, [caveat])
    assert sentence.startswith(f"{storage.path(name)} is damaged: ")
    assert "until `paretune run` has produced it again" in sentence
    told: list[str] = []
    ledger = Ledger(sweep_of(*TRIALS), storage, Told(), tell=told.append)
    ledger.load()
    assert [trial.id for trial in ledger.open_trials()] == [TRIALS[0].id]
    (said,) = told
    assert said.startswith(f"{storage.path(name)} is damaged: ")
    ledger.ended(result_of(TRIALS[0], 0.7))
    (warning,) = ledger.results[TRIALS[0].id].warnings
    assert warning.endswith("the trial ran again and replaced it")
    again = load_result(storage, TRIALS[0].id)
    assert again is not None
    assert again.metrics["val_accuracy"].value == 0.7


def test_a_model_that_somebody_has_removed_takes_no_result_away(storage: Storage) -> None:
    storage.remove(MODEL)
    assert [row.status for row in load_table(storage, "scripted").rows] == ["completed", "completed"]


def test_a_plan_that_is_damaged_or_gone_is_told_with_the_way_out(storage: Storage) -> None:
    name = sweep_file("scripted", "plan.json")
    storage.write(name, storage.read(name).replace(b"completed", b"completes").replace(b"0.1", b"0.2"))
    with pytest.raises(TableError, match=r"plan\.json is damaged: .* `paretune run` .* writes it again"):
        load_plan(storage, "scripted")
    storage.remove(name)
    with pytest.raises(TableError, match=r"plan of sweep 'scripted' is missing: there is no .*plan\.json\. `pare"):
        load_plan(storage, "scripted")


# -- converted data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_ours", [True, False], ids=["built in", "a user's"])
def test_a_flipped_bit_in_converted_data_is_told_and_the_data_converted_anew(tmp_path: Path, is_ours: bool) -> None:
    cache, source = tmp_path / "cache", "builtin://diabetes/test"
    if not is_ours:
        source = str(tmp_path / "x.parquet")
        pq.write_table(pa.table({"x": list(range(1000))}), source)
    whole = {name: column.clone() for name, column in everything(open_table(source, cache)).items()}
    files = [path for path in cache.rglob("*") if path.suffix in (".arrow", ".parquet")]
    assert len(files) == (4 if is_ours else 1)  # three splits in their own form, and one of them converted
    for file in (path for path in files if "test" in path.name or path.suffix == ".arrow"):
        for damaged in flips(file.read_bytes(), 5):
            file.write_bytes(damaged)
            with pytest.warns(TrialWarning, match="was damaged; it was written again") as told:
                again = everything(open_table(source, cache))
            assert [str(file) in str(warning.message) for warning in told] == [True]
            assert all(torch.equal(again[name], whole[name]) for name in whole)


def everything(table: Table) -> dict[str, torch.Tensor]:
    return {name: table.column(name) for name in table.columns}
