"""The time of a step at each micro-batch that fits, measured by all workers' processes together, as figures."""

from __future__ import annotations

from trainables.config.trial import ProbeConfig
from trainables.distributed.rendezvous import all_gather_object, rendezvous
from trainables.distributed.worker_context import WorkerContext
from trainables.estimate import Estimate
from trainables.measure.latency import median
from trainables.probe.process import StepTimes, TimingRequest, ask
from trainables.probe.step_timing import rows_of
from trainables.process.fresh_process import ChildError
from trainables.results import Report


def time_together(config: ProbeConfig, least: int, largest: int, worker: WorkerContext, threads: int) -> StepTimes:
    """The processes of all workers time the same steps together, with micro-batches from `least` to `largest`.

    Raises ChildError on all workers or on none.
    """
    throughput = config.throughput
    wanted = throughput.micro_batch_sizes if throughput is not None else ()
    sizes = tuple(size for size in wanted or doublings(largest) if least <= size <= largest) or (largest,)
    with rendezvous(worker) as meet_at:
        request = TimingRequest(
            config=config,
            device=str(worker.device),
            threads=threads,
            cache=str(worker.cache),
            micro_batch_sizes=sizes,
            rounds=throughput.rounds if throughput is not None else 1,
            rank=worker.rank,
            meet_at=meet_at,
        )
        try:
            timed, told = StepTimes.model_validate_json(ask(request, worker)), ("", "")
        except ChildError as error:
            timed, told = StepTimes(seconds={}), (f"timing: {error}", error.details)
        failures = all_gather_object(told, worker)
    for reason, details in failures:
        if reason:
            raise ChildError(reason, details)
    return timed


def doublings(largest: int) -> tuple[int, ...]:
    """1, 2, 4, ... and the largest itself."""
    return tuple(sorted({largest, *(2**i for i in range(largest.bit_length()))}))


def throughput_figures(timed: StepTimes, num_workers: int) -> dict[str, Estimate]:
    """Medians over the rounds, with their intervals; the throughput is that of all workers together."""
    figures = {}
    for size, seconds in timed.seconds.items():
        step = median(seconds)
        rows = size * num_workers
        figures[f"step_seconds_micro_batch_{size}"] = step
        figures[f"examples_per_second_micro_batch_{size}"] = Estimate(
            value=rows / step.value,
            low=None if step.high is None else rows / step.high,
            high=None if step.low is None else rows / step.low,
            n=step.n,
            note=step.note,
        )
    return figures


def rounds(timed: StepTimes, last: Report) -> tuple[Report, ...]:
    """The single timings, one report per round; timings of one round are close in time, so they can be paired."""
    return tuple(
        Report(
            step=last.step + number,
            examples=0,
            seconds=last.seconds,
            metrics={f"step_seconds_micro_batch_{size}": seconds for size, seconds in row.items()},
        )
        for number, row in enumerate(rows_of(timed.seconds), start=1)
    )
