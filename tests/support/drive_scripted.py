"""A driver of a scripted sweep, to be interrupted and killed: python drive_scripted.py STORAGE [ADDRESS]

Prints every event on a line of its own, and `interrupted` when it was. With an address, it joins that cluster.
"""

import os
import sys
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = ""  # scripted trials count CPUs
sys.path.insert(0, str(Path(__file__).parents[2]))

from orchestrator.adaptive.resolve import Outlook
from orchestrator.running.executor import Interrupted, NobodyAtWorkError, run_sweep
from orchestrator.running.ray_connection import RaySettings
from orchestrator.running.tuner import RayExecutor
from orchestrator.sweep.plan import Trial
from tests.support.scripted import RUNNER, scripted, sweep_of
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

    def planned(self, outlook: Outlook) -> None:
        pass

    def ended(self, result: TrialResult) -> None:
        print("ended", result.id, result.status, flush=True)


def main(storage: Storage, address: str | None = None) -> int:
    settings = RaySettings(address=address, num_cpus=None if address else 2)
    try:
        run_sweep(sweep_of(*TRIALS), storage, Printer(), RayExecutor(settings, RUNNER))
    except NobodyAtWorkError as error:
        print("nobody at work:", error, flush=True)
        return 1
    except Interrupted as interrupt:
        print("interrupted", interrupt, flush=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(Storage(sys.argv[1]), *sys.argv[2:]))
