"""Plays a driver that trains nothing: tells a made-up sweep to the journal and the recorder, at a given pace.

    python play_sweep.py STORAGE SECONDS_BETWEEN_EVENTS SECONDS_TO_CLOSE

Run again, it does what a real driver does: a trial with an end is not run again, another one goes on from its last
report. Prints how long the slowest telling took and what the recorder said when it was closed; on the standard error,
every host outside this machine that was looked up.
"""

import importlib
import socket
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from orchestrator.recording.journal import Journal
from orchestrator.recording.mlflow.recorder import Recorder
from tests.support import made_up
from trainables.storage import Storage, trial_file

SWEEP = "played"


def main(storage: Storage, pace: float, patience: float) -> None:
    baselines = [made_up.baseline(batch_size, seed) for batch_size in (8, 32, 128) for seed in (0, 1)]
    slowest = 0.0
    with Journal(storage, SWEEP) as journal:
        recorder = Recorder(journal)
        importlib.import_module("mlflow")  # as Ray Tune does when it counts its callbacks
        for trial in [*baselines, *map(made_up.variant, baselines[:2])]:
            log = journal.trials.get(trial.id)
            if log and log.ended:
                continue
            events = [
                lambda trial=trial: storage.write(trial_file(trial.id, "model.pt2"), trial.id.encode()),
                lambda trial=trial: journal.started(trial),
                *(
                    lambda trial=trial, report=report: journal.report(trial.id, report)
                    for report in made_up.reports(trial)
                    if not log or report.step not in log.steps
                ),
                lambda trial=trial: journal.ended(made_up.result(trial)),
            ]
            for tell in events:
                start = time.monotonic()
                tell()
                slowest = max(slowest, time.monotonic() - start)
                time.sleep(pace)
        print(f"slowest {slowest:.3f}")
        print("told", flush=True)
        print(f"closed {recorder.close(patience)}", flush=True)


def name_strangers() -> None:
    look_up = socket.getaddrinfo

    def watched(host: Any, *rest: Any, **more: Any) -> Any:
        if host not in ("127.0.0.1", "localhost", "::1", None):
            print(f"looked up {host}", file=sys.stderr)
        return look_up(host, *rest, **more)

    socket.getaddrinfo = watched


if __name__ == "__main__":
    name_strangers()
    main(Storage(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
