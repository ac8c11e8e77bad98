"""A driver of a scripted sweep, to be interrupted and killed: python drive_scripted.py STORAGE

Prints every event on a line of its own, and `interrupted` when it was.
"""

import os
import sys
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # scripted trials count CPUs
sys.path.insert(0, str(Path(__file__).parents[1]))

from scripted import RUNNER, scripted, sweep_of

from orchestrator.plan import Trial
from orchestrator.running.local_ray import RaySettings
from orchestrator.running.sweep import Interrupted, run_sweep
from trainables.results import Report, TrialResult
from trainables.storage import Storage

TRIALS = [scripted(seed, readings=6, sleep_s=0.5) for seed in range(3)]


class Printer:
    def started(self, trial: Trial) -> None:
        print("started", trial.id, flush=True)

    def report(self, trial_id: str, report: Report) -> None:
        print("report", trial_id, report.step, flush=True)

    def waits(self, trial_id: str, reason: str) -> None:
        print("waits", trial_id, reason, flush=True)

    def ended(self, result: TrialResult) -> None:
        print("ended", result.id, result.status, flush=True)


def main(storage: Storage) -> int:
    try:
        run_sweep(sweep_of(*TRIALS), storage, Printer(), runner=RUNNER, ray_settings=RaySettings(num_cpus=2))
    except Interrupted as interrupt:
        print("interrupted", interrupt, flush=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(Storage(sys.argv[1])))
