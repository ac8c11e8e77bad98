"""`paretune run`, killed with `kill -9` at random moments and started again: as if nothing had happened.

Ten deaths, at night. PARETUNE_SEED chooses other moments.
"""

import os
import random
import signal
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest
import yaml
from mlflow.tracking import MlflowClient

from orchestrator.adaptive.resolve import further_trials
from orchestrator.planning.expand import expand
from orchestrator.recording.journal_view import read
from orchestrator.sweepfile.load import load_sweep
from tests.support.compiled import cache_in
from tests.support.recorded import MLFLOW_WARNINGS, check_complete, quiet_environment, runs, without_waiting
from trainables.results import Status, TrialResult
from trainables.seal import unsealed
from trainables.storage import Storage, trial_file

PATIENCE_S = 1500  # for one start to come as far as it should, on a machine that is busy with other things

pytestmark = [pytest.mark.timeout(3600), pytest.mark.filterwarnings(*MLFLOW_WARNINGS)]

SWEEP = """
name: mortal
task: digits_cnn
objective: {metric: val_accuracy, mode: max}
budget: {examples: 4000}
parameters:
  batch_size: {values: [32, 64, 128]}
  learning_rate: {base: 0.05, at_batch_size: 64, rule: linear}
  seed: {values: [0, 1]}
evaluations: 5
compression:
  parents: {top: 1}
  variants: [int8, {prune: {ratio: 0.5}}]
"""
RECORDS = 6 * (1 + 8 + 1) + 3 * 2  # of six baselines and three variants; pruning adds reports to these


def records(storage: Storage) -> int:
    return len(storage.read_lines("sweeps/mortal/journal.jsonl"))


def client_of(storage: Storage) -> MlflowClient:
    return MlflowClient(f"sqlite:///{storage.root}/mlflow.db")


def results(storage: Storage) -> dict[str, bytes]:
    """What finished trials left, by their ids."""
    names = [(trial, trial_file(trial, "result.json")) for trial in storage.names("trials")]
    return {trial: storage.read(name) for trial, name in names if storage.exists(name)}


def wait_for(driver: subprocess.Popen[bytes], storage: Storage, wanted: int) -> None:
    """Until the journal has so many records, or the driver has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while driver.poll() is None and records(storage) < wanted:
        assert time.monotonic() < deadline, f"{records(storage)} of {wanted} records after {PATIENCE_S} s"
        time.sleep(0.02)


@pytest.mark.nightly
@pytest.mark.parametrize("deaths", [10])
def test_a_sweep_whose_driver_is_killed_again_and_again(tmp_path, deaths):
    chance = random.Random(int(os.environ.get("PARETUNE_SEED", "7")))  # noqa: S311 - moments, not secrets
    file, storage = tmp_path / "mortal.yaml", Storage(str(tmp_path / "storage"))
    file.write_text(SWEEP)
    command = [sys.executable, "-m", "orchestrator", "run", str(file), "--storage", storage.uri, "--plain"]
    environment = quiet_environment(PARETUNE_CACHE=str(cache_in(tmp_path)))

    moments = sorted(chance.sample(range(1, RECORDS), deaths))
    killed, before = 0, dict[str, bytes]()
    for number, moment in enumerate(moments):
        with (tmp_path / f"killed-{number}.log").open("wb") as log:
            driver = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(driver, storage, moment)
            time.sleep(chance.uniform(0, 0.5))
        finally:
            driver.send_signal(signal.SIGKILL)
            killed += driver.wait() == -signal.SIGKILL
        found = results(storage)
        assert {trial: found.get(trial) for trial in before} == before  # what was finished is not run again
        before = found

    last = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert last.returncode == 0, last.stdout + last.stderr
    assert killed == deaths

    after = results(storage)
    assert {trial: after.get(trial) for trial in before} == before
    ended = {trial: TrialResult.model_validate_json(unsealed(content, trial)) for trial, content in after.items()}
    assert {result.status for result in ended.values()} == {Status.COMPLETED}
    plan = expand(load_sweep(file))
    planned = {trial.id for trial in (*plan.trials, *further_trials(plan, ended))}
    assert set(ended) == planned
    assert len(planned) == 6 + 3

    journal = read(storage, "mortal")
    for trial, result in ended.items():
        assert journal.trials[trial].result() == result
        assert result.kind == "variant" or len(result.history) == 8
    assert set(check_complete(storage, "mortal", f"sqlite:///{storage.root}/mlflow.db")) == planned


def test_after_sigterm_and_after_control_c_the_command_that_is_printed_goes_on(tmp_path):
    file, storage = tmp_path / "mortal.yaml", Storage(str(tmp_path / "storage"))
    sweep = yaml.safe_load(SWEEP)
    sweep["parameters"] = {"batch_size": 64, "learning_rate": 0.05, "seed": {"values": [0, 1, 2]}}
    file.write_text(yaml.safe_dump({key: sweep[key] for key in sweep if key != "compression"}))
    bin_folder = Path(sys.executable).parent
    environment = quiet_environment(PARETUNE_CACHE=str(cache_in(tmp_path)))
    environment["PATH"] = f"{bin_folder}{os.pathsep}{environment['PATH']}"
    command = again = ["paretune", "run", str(file), "--storage", storage.uri, "--plain"]
    ended = dict[str, bytes]()
    for number, exit_code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        pipe = subprocess.PIPE
        driver = subprocess.Popen(again, env=environment, stdout=pipe, stderr=pipe, text=True, process_group=0)
        wait_for(driver, storage, records(storage) + 3)
        os.killpg(driver.pid, number)  # to all in its group, as a terminal and `timeout` do
        _, errors = driver.communicate(timeout=PATIENCE_S)
        assert driver.returncode == exit_code, errors
        assert len(without_waiting(errors.strip())) == 2, errors  # and nobody else says anything
        said, advice = without_waiting(errors.strip())
        assert said.startswith("paretune: stopped with ")
        assert advice == f"Go on with: {' '.join(command)}"
        assert "RUNNING" not in {run.info.status for run in runs(client_of(storage), "mortal").values()}
        ended |= results(storage)
        again = advice.removeprefix("Go on with: ").split()
    last = subprocess.run(again, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, cwd=tmp_path)
    assert last.returncode == 0, last.stdout + last.stderr
    after = results(storage)
    assert len(after) == 3
    assert {trial: after[trial] for trial in ended} == ended


def test_nothing_of_a_killed_driver_lives_on(tmp_path):
    """Its Ray ends with it: neither a worker that trains nor a server that waits is left on the machine.

    And before, while it runs, no other machine can reach any of them.
    """
    file, storage = tmp_path / "mortal.yaml", Storage(str(tmp_path / "storage"))
    file.write_text(SWEEP)
    command = [sys.executable, "-m", "orchestrator", "run", str(file), "--storage", storage.uri, "--plain"]
    mark = f"test-{os.getpid()}-{time.time_ns()}"
    environment = quiet_environment(PARETUNE_CACHE=str(cache_in(tmp_path)), PARETUNE_TEST_MARK=mark)
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(driver, storage, 3)
        assert driver.poll() is None
        running = descendants(mark)
        assert len(running) > 1
        heard = [(pid, address) for pid in running for address in listens_at(pid)]
        assert heard
        assert [(running[pid], address) for pid, address in heard if not is_loopback(address)] == []
    finally:
        driver.kill()
        driver.wait()
    deadline = time.monotonic() + 180  # Ray's own agents wait a minute for their daemon to come back
    while (left := descendants(mark)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert left == {}


def listens_at(pid: int) -> list[str]:
    """The addresses, without ports, where a process waits for connections."""
    try:
        connections = psutil.Process(pid).net_connections("inet")
    except psutil.Error:  # it has just ended
        return []
    return [connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN]


def is_loopback(address: str) -> bool:
    return ip_address(address.removeprefix("::ffff:")).is_loopback


def descendants(mark: str) -> dict[int, str]:
    """Living processes that have inherited the mark in their environment, with their commands."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
        except OSError:  # it has just ended
            continue
    return found
