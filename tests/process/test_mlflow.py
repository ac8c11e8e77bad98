"""Recording in MLflow, with real databases, servers and deaths: everything once, and never in the sweep's way."""

import random
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from orchestrator.recording.mlflow.server import mlflow_server
from tests.support import made_up
from tests.support.places import ROOT
from tests.support.recorded import (
    MLFLOW_WARNINGS,
    check_complete,
    quiet_environment,
    runs,
    storage_with_database,
    without_waiting,
)
from trainables.storage import Storage

SWEEP = "played"
RECORDS = 8 * (1 + 10 + 1)  # a start, ten reports and an end of each trial

pytestmark = pytest.mark.filterwarnings(*MLFLOW_WARNINGS)


@pytest.fixture
def storage(tmp_path: Path, database: Path) -> Storage:
    return storage_with_database(tmp_path / "a storage", database)


def uri(storage: Storage) -> str:
    return f"sqlite:///{storage.root}/mlflow.db"


def play(storage: Storage, cwd: Path, pace: float = 0.0, patience: float = 120.0, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests/support/play_sweep.py"), storage.uri, str(pace), str(patience)],
        cwd=cwd,
        env=quiet_environment(**env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_new_sweep_is_recorded_and_nothing_else_happens(tmp_path):
    """Also the first start with no database at all: no word printed, no file elsewhere, no call to the world."""
    storage, elsewhere = Storage(str(tmp_path / "storage")), tmp_path / "elsewhere"
    elsewhere.mkdir()
    output, errors = play(storage, elsewhere).communicate(timeout=300)
    assert output.splitlines()[1:] == ["told", "closed None"]
    assert without_waiting(errors) == []
    assert list(elsewhere.iterdir()) == []
    found = check_complete(storage, SWEEP, uri(storage))
    assert len(found) == 8
    variant = made_up.variant(made_up.baseline(8))
    run = found[variant.id]
    assert run.info.run_name == "int8 of B=8 lr=0.00625 seed 0"
    assert {
        key: value for key, value in run.data.tags.items() if key.startswith("paretune.") and "recording" not in key
    } == {
        "paretune.sweep": SWEEP,
        "paretune.trial": variant.id,
        "paretune.kind": "variant",
        "paretune.parent": made_up.baseline(8).id,
        "paretune.status": "completed",
        "paretune.task": "digits_cnn",
    }
    client = MlflowClient(uri(storage))
    model = client.download_artifacts(run.info.run_id, "model.pt2", str(elsewhere))
    assert Path(model).read_text() == variant.id


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.nightly)])
def test_a_driver_killed_at_any_moment_leaves_no_trace(storage, tmp_path, kills):
    """Real kills at random moments of the sweep, while records are on their way."""
    chance = random.Random(20)  # noqa: S311 - moments, not secrets
    for _ in range(kills):
        driver = play(storage, tmp_path, pace=0.05)
        enough = told(storage) + chance.randint(1, RECORDS // kills - 1)
        while told(storage) < enough:
            assert driver.poll() is None
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.2))
        driver.kill()
        output, _ = driver.communicate()
        assert "closed" not in output
    output, errors = play(storage, tmp_path).communicate(timeout=300)
    assert (output.splitlines()[-1], without_waiting(errors)) == ("closed None", [])
    assert len(check_complete(storage, SWEEP, uri(storage))) == 8


def told(storage: Storage) -> int:
    """How many records the journal has."""
    name = f"sweeps/{SWEEP}/journal.jsonl"
    return storage.read(name).count(b"\n") if storage.exists(name) else 0


@pytest.mark.nightly
@pytest.mark.parametrize("outage_s", [8, 60])
def test_an_outage_stops_nothing_and_loses_nothing(storage, tmp_path, monkeypatch, outage_s):
    """The server is away at the start, comes, goes for a while (a minute at night), and comes back."""
    monkeypatch.setenv("MLFLOW_ARTIFACTS_DESTINATION", str(tmp_path / "artifacts"))  # what outlives each server
    with mlflow_server(uri(storage)) as (server, _):
        pass
    port = int(server.rsplit(":", 1)[1])
    with play(storage, tmp_path, pace=outage_s / 32, MLFLOW_TRACKING_URI=server) as driver:
        try:
            with mlflow_server(uri(storage), port):
                client = MlflowClient(server)
                while not client.get_experiment_by_name(SWEEP) or not runs(client, SWEEP):
                    time.sleep(0.1)
            time.sleep(outage_s)
            assert driver.poll() is None  # it went on without the server
            with mlflow_server(uri(storage), port):
                output, errors = driver.communicate(timeout=300)
                begun = (
                    rf"paretune: MLflow at {server} (does not answer \(\w+\)|answers 5\d\d); the sweep continues; .*"
                )
                ended = f"paretune: MLflow at {server} records again; it has all missing records now"
                lines = without_waiting(errors)  # one when an outage begins, one when it ends
                assert lines
                assert all(re.fullmatch(begun, line) for line in lines[::2]), lines
                assert all(line == ended for line in lines[1::2]), lines
                slowest = re.fullmatch(r"slowest (\S+)\ntold\nclosed None\n", output)
                assert slowest is not None, output  # MLflow has printed nothing of its own
                assert float(slowest[1]) < 5  # seconds; a call to a dead server would have waited for its time-out
                assert len(check_complete(storage, SWEEP, server)) == 8
        finally:
            driver.kill()


def test_what_could_not_be_sent_is_counted_and_sent_the_next_time(storage, tmp_path):
    output, _ = play(storage, tmp_path, patience=2, MLFLOW_TRACKING_URI="http://127.0.0.1:9").communicate(timeout=120)
    last = output.splitlines()[-1]
    assert last.startswith(f"closed {RECORDS} records have not reached MLflow at http://127.0.0.1:9 (")
    assert last.endswith("Nothing is lost: the same command sends them when it is run again.")
    output, _ = play(storage, tmp_path).communicate(timeout=300)
    assert output.splitlines()[-1] == "closed None"
    check_complete(storage, SWEEP, uri(storage))


def test_a_database_that_refuses_is_one_line_and_a_file_with_the_rest(storage, tmp_path):
    """MLflow makes the missing table anew, as it was long ago, and logs a hundred lines at each refusal."""
    with closing(sqlite3.connect(storage.path("mlflow.db"))) as connection:
        connection.execute("DROP TABLE metrics")
        connection.commit()
    output, errors = play(storage, tmp_path, pace=0.05, patience=1).communicate(timeout=120)
    details = storage.path(f"sweeps/{SWEEP}/mlflow-failure.txt")
    why = f"OperationalError: table metrics has no column named step; details in {details}"
    assert output.splitlines()[-1] == (
        f"closed {RECORDS} records have not reached MLflow at {uri(storage)} ({why}). "
        "Nothing is lost: the same command tries again."
    )
    assert len(without_waiting(errors)) <= 1, errors
    assert "Traceback" in Path(details).read_text()


def test_a_finished_sweep_is_not_sent_again_unless_its_database_was_thrown_away(storage, tmp_path):
    play(storage, tmp_path).communicate(timeout=300)
    file = Path(storage.path("mlflow.db"))
    before = file.read_bytes()
    output, _ = play(storage, tmp_path).communicate(timeout=300)
    assert output.splitlines()[-1] == "closed None"
    assert file.read_bytes() == before
    file.unlink()
    output, _ = play(storage, tmp_path).communicate(timeout=300)
    assert output.splitlines()[-1] == "closed None"
    check_complete(storage, SWEEP, uri(storage))
