"""How near to the limit, after how many probes and how many failures: our probe against what other tools do.

    python benchmarks/memory_probe.py [--models 3000] [--real] [--limit-mib 1024]

doubling    1, 2, 4, ... until memory runs out; the last that fitted (the "power" mode of several trainers)
bisection   doubling, then halving the gap between fits and does not (their "binsearch" mode)
halving     from a large start down until it fits (the retry decorators of training scripts)
Simulated devices follow a line, or one that bends by a fifth at small sizes, as caching allocators make it; limits are
spread evenly over 3 to 100,000 rows on a logarithmic scale. A failed probe costs a process and can take others down.
With --real the same policies run on this machine: a small transformer in fresh processes, within a limit of resident
memory (or of the CUDA allocator where there is one); "true" is then what bisection finds.
Ends with 1 if ours misses its goals: 95 % of the limit and at most 5 probes, both in the median.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable
from statistics import fmean, median

import numpy as np
from record import recorded

from trainables.data.fingerprint import default_cache
from trainables.probe.memory_search import find_limit

Measure = Callable[[int], int | None]  # rows -> peak bytes, None where memory ran out
Policy = Callable[[Measure, int, int], int]  # (measure, capacity in bytes, most rows) -> rows found

START_OF_HALVING = 2048
MOST_PROBES_OF_BISECTION = 25
GOAL_SHARE, GOAL_PROBES = 0.95, 5


def ours(measure: Measure, capacity: int, most: int) -> int:
    return find_limit(measure, capacity, most)[0].micro_batch_size


def doubling(measure: Measure, capacity: int, most: int) -> int:
    size, found = 1, 0
    while size <= most and measure(size) is not None:
        size, found = 2 * size, size
    return found


def bisection(measure: Measure, capacity: int, most: int) -> int:
    found = doubling(measure, capacity, most)
    low, high = found, 2 * found or 1  # high does not fit, or is too large
    for _ in range(MOST_PROBES_OF_BISECTION):
        middle = (low + high) // 2
        if middle == low:
            break
        if middle <= most and measure(middle) is not None:
            low = middle
        else:
            high = middle
    return low


def halving(measure: Measure, capacity: int, most: int) -> int:
    size = min(START_OF_HALVING, most)
    while size and measure(size) is None:
        size //= 2
    return size


POLICIES: dict[str, Policy] = {"ours": ours, "doubling": doubling, "bisection": bisection, "halving": halving}


class Counted:
    """A device that counts what is asked of it."""

    def __init__(self, measure: Measure) -> None:
        self.measure, self.probes, self.failures = measure, 0, 0

    def __call__(self, rows: int) -> int | None:
        peak = self.measure(rows)
        self.probes += 1
        self.failures += peak is None
        return peak


def simulated(capacity: int, fixed: float, limit: int, bend: float) -> Measure:
    per_row = (capacity - fixed) / (limit + 0.5)

    def measure(rows: int) -> int | None:
        flat = 1 - bend * math.exp(-rows / (limit / 20))
        peak = math.ceil((fixed + per_row * rows * flat) / 512) * 512
        return peak if peak <= capacity else None

    return measure


def simulate(models: int, bend: float) -> dict[str, list[tuple[float, int, int]]]:
    """Policy -> (found / true, probes, failures) of every model."""
    generator = np.random.default_rng(0)
    outcomes: dict[str, list[tuple[float, int, int]]] = {name: [] for name in POLICIES}
    for _ in range(models):
        capacity = int(10 ** generator.uniform(9, 11))
        fixed, limit = capacity * generator.uniform(0.02, 0.8), int(10 ** generator.uniform(0.5, 5))
        for name, policy in POLICIES.items():
            device = Counted(simulated(capacity, fixed, limit, bend))
            found = policy(device, capacity, 10**9)
            outcomes[name].append((found / limit, device.probes, device.failures))
    return outcomes


def show(title: str, outcomes: dict[str, list[tuple[float, int, int]]]) -> None:
    print(f"\n{title}")
    print(f"  {'':<10}{'found/true':>12}{'worst 5 %':>11}{'probes':>8}{'mean':>7}{'ran out, mean':>15}")
    for name, figures in outcomes.items():
        shares, probes, failures = zip(*figures, strict=True)
        worst = float(np.quantile(shares, 0.05))
        print(
            f"  {name:<10}{median(shares):>12.3f}{worst:>11.3f}{median(probes):>8.0f}"
            f"{fmean(probes):>7.2f}{fmean(failures):>15.2f}"
        )


def real(limit_mib: int) -> dict[str, list[tuple[float, int, int]]]:
    """Every policy on the same task and limit, each with processes of its own."""
    import torch

    from trainables.config.optimizers import AdamW
    from trainables.config.trial import ProbeConfig, TaskConfig
    from trainables.distributed.worker_context import WorkerContext
    from trainables.probe.probe import in_processes
    from trainables.storage import Storage

    capacity, cuda = limit_mib * 2**20, torch.cuda.is_available()
    task = TaskConfig(name="stdlib_gpt", data="of the benchmark", code="of the benchmark")
    config = ProbeConfig(task=task, optimizer=AdamW(), memory_limit_bytes=capacity)
    results: dict[str, tuple[int, int, int]] = {}
    cache = default_cache()
    with tempfile.TemporaryDirectory() as folder:
        worker = WorkerContext(Storage(folder), cache, device=torch.device("cuda", 0) if cuda else torch.device("cpu"))
        for name, policy in POLICIES.items():
            measure = in_processes(config, worker, threads=1)
            device = Counted(lambda rows, measure=measure: measure(rows).peak_bytes)  # type: ignore[misc]
            results[name] = (policy(device, capacity, config.max_micro_batch_size), device.probes, device.failures)
            print(f"  {name}: {results[name][0]} rows")
    true = max(found for found, _, _ in results.values())
    return {name: [(found / true, probes, failures)] for name, (found, probes, failures) in results.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--models", type=int, default=3000)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--limit-mib", type=int, default=1024)
    arguments = parser.parse_args()
    good = True
    for title, bend in (("on a line", 0.0), ("bent at small sizes", 0.2)):
        outcomes = simulate(arguments.models, bend)
        show(f"{arguments.models} simulated devices, {title}", outcomes)
        shares, probes, _ = zip(*outcomes["ours"], strict=True)
        good &= median(shares) >= GOAL_SHARE and median(probes) <= GOAL_PROBES and max(shares) <= 1
    if arguments.real:
        print()
        outcomes = real(arguments.limit_mib)
        show(f"this machine, {arguments.limit_mib} MiB", outcomes)
        share, probes_taken, _ = outcomes["ours"][0]
        good &= share >= GOAL_SHARE and probes_taken <= GOAL_PROBES
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(recorded(main))
