"""`batch_size: auto` against the full grid (batch sizes x learning rates x seeds): what each spends, and what it picks.

    python benchmarks/auto_vs_grid.py [--tasks digits_cnn stdlib_gpt] [--judge-seeds 16] [--short]

For every task both are run here, one trial at a time, in this process and on this machine; then the two picks are
trained side by side with seeds that neither has seen, in alternation. Printed are
    examples      all that were trained on, and auto's as a share of the grid's          (goal: at most a quarter)
    picks         the configuration with the fewest seconds to the target, as each of them sees it
    ratio         auto's pick over the grid's, in seconds to the target: geometric mean over the judging seeds, with
                  its 95 % interval                                                      (goal: at most 1.10)
`--short` only shows that it works: a smaller grid, budget and number of seeds, which mean nothing. Ends with 1 if a
goal is missed.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from statistics import fmean

import torch
from auto_vs_grid_tasks import QUESTIONS, Question
from record import recorded

from orchestrator.adaptive import early_answer as answered
from orchestrator.analysis.evidence import Evidence
from orchestrator.analysis.plan_file import stored_plan
from orchestrator.analysis.rows import Configuration
from orchestrator.analysis.statistics import paired_difference
from orchestrator.analysis.table import make_table
from orchestrator.analysis.target_crossing import Crossing, target_crossing
from orchestrator.analysis.time_to_target import crossings
from orchestrator.planning.expand import expand
from orchestrator.running.ledger import Ledger
from orchestrator.running.observer import Observers
from orchestrator.sweep.plan import Plan, Stage, Trial
from orchestrator.sweep.spec import Objective
from orchestrator.sweepfile.load import load_sweep
from orchestrator.wording.not_determined import why_no_verdict
from trainables.config.batching import steps_for
from trainables.config.training import Training
from trainables.config.trial import BaselineConfig, trial_id
from trainables.distributed.worker_context import WorkerContext
from trainables.estimate import Estimate
from trainables.results import Report, Status, TrialResult
from trainables.storage import Storage
from trainables.trial import run_trial
from trainables.worker.messages import Advance, Finished, Reading, Start
from trainables.worker.runner import Runner

SHARE_GOAL, RATIO_GOAL = 0.25, 1.10
FIRST_JUDGING_SEED = 1000


# -- running trials, one after another --------------------------------------------------------------------------------


class Here:
    """Runs trials in this process, each to its end before the next: nothing disturbs what is timed."""

    def __init__(self, folder: Path) -> None:
        self.storage = Storage(str(folder / "storage"))
        self._runner = Runner(run_trial, WorkerContext(self.storage, folder / "cache"))

    def readings(self, trial: Trial) -> Generator[Report, None, TrialResult]:
        """Each as it comes; the result in the end. What is not asked for is not run."""
        answer = self._runner.obey(Start(trial=trial.id, config=trial.config))
        history: list[Report] = []
        while isinstance(answer, Reading):
            history.append(answer.report)
            yield answer.report
            answer = self._runner.obey(Advance())
        self._runner.let_go()
        if isinstance(answer, Finished):
            return answer.result
        error = answer.failure.error
        return TrialResult(id=trial.id, config=trial.config, status=Status.FAILED, reason=error, history=tuple(history))

    def run(self, trial: Trial, ledger: Ledger, metric: str) -> None:
        """As much of the trial as is asked for: all of its training, but not the export of its model."""
        readings = self.readings(trial)
        history: list[Report] = []
        ledger.started(trial.id)
        try:
            while not ledger.has_answered(trial.id):
                history.append(next(readings))
                ledger.report(trial.id, history[-1])
                if trial.stage in (Stage.PROBE, Stage.SHORT_RUN):
                    continue
                if history[-1].step == steps_for(trial.training.budget, trial.training.batch_size):
                    figures = {metric: Estimate.exact(history[-1].metrics[metric])}
                    ledger.ended(
                        TrialResult(
                            id=trial.id,
                            config=trial.config,
                            status=Status.COMPLETED,
                            history=tuple(history),
                            metrics=figures,
                        )
                    )
                    return
            ledger.ended_as(trial.id, Status.STOPPED_EARLY, answered.REASON)
        except StopIteration as end:
            ledger.ended(end.value)

    def until_target(self, trial: Trial, objective: Objective) -> Crossing | None:
        """Where it reached the target; what would come after is not run."""
        history: list[Report] = []
        for report in self.readings(trial):
            history.append(report)
            if (where := target_crossing(history, objective)) is not None:
                return where
        return None

    def sweep(self, plan: Plan) -> tuple[list[Trial], dict[str, TrialResult]]:
        """Every trial that the plan asks for: they and their results."""
        ledger = Ledger(plan, self.storage, Observers(()))
        ledger.load()
        start = time.perf_counter()
        while not ledger.is_complete:
            self.run(ledger.open_trials()[0], ledger, plan.sweep.objective.metric)
            print(f"\r  {plan.sweep.name}: {len(ledger.results)} trials, {time.perf_counter() - start:.0f} s", end="")
        print()
        return list(ledger.trials.values()), dict(ledger.results)


# -- what each of them says -------------------------------------------------------------------------------------------


def pick_of_grid(configurations: Iterable[Configuration], plan: Plan) -> Training | None:
    """The fewest seconds to the target, geometric mean over the seeds, of those with every seed there."""
    found = []
    for configuration in configurations:
        where = crossings(configuration, plan.sweep.objective)
        if len(where) == len(configuration.rows):
            seconds = fmean(math.log(crossing.seconds) for crossing in where.values())
            found.append((seconds, configuration.key, configuration.training))
    return min(found)[2] if found else None


def examples_of(results: Iterable[TrialResult]) -> int:
    return sum(result.history[-1].examples for result in results if result.history)


def judge(here: Here, plan: Plan, picks: Sequence[Training], seeds: int) -> list[dict[int, Crossing]]:
    """Each pick trained with fresh seeds, in alternation: seed -> where it reached the target."""
    found: list[dict[int, Crossing]] = [{} for _ in picks]
    task = next(trial.config.task for trial in plan.trials)
    objective = plan.sweep.objective
    for number in range(seeds):
        order = range(len(picks)) if number % 2 == 0 else reversed(range(len(picks)))
        for index in order:
            training = picks[index].model_copy(update={"seed": FIRST_JUDGING_SEED + number})
            config = BaselineConfig(task=task, training=training)
            if (where := here.until_target(Trial(trial_id(config), config, "judged"), objective)) is not None:
                found[index][number] = where
    return found


def compare(question: Question, judging_seeds: int) -> bool:
    """Run one question and print it. Whether both goals were met."""
    with tempfile.TemporaryDirectory(prefix="auto-vs-grid-") as name:
        folder = Path(name)
        plans = []
        for kind in ("grid", "auto"):
            file = folder / f"{kind}.yaml"
            file.write_text(question.sweep_text(auto=kind == "auto"))
            plans.append(expand(load_sweep(file)))
        here = Here(folder)
        target = f"{question.metric} {question.target:g}"
        print(
            f"{question.task}: to {target}, {len(plans[0].trials)} trials of {question.examples:,} examples in the grid"
        )
        tables, spent = [], []
        for plan in plans:
            trials, results = here.sweep(plan)
            tables.append(make_table(stored_plan(plan, trials), results))
            spent.append(examples_of(results.values()))
        share = spent[1] / spent[0]
        print(f"  examples: grid {spent[0]:,}, auto {spent[1]:,}: {100 * share:.1f} % (goal: 25 %)")
        verdict = Evidence(tables[1]).batch
        chosen = verdict.fastest.configuration.training if verdict and verdict.fastest else None
        best = pick_of_grid(tables[0].baselines, plans[0])
        if chosen is None or best is None:
            reason = why_no_verdict(tables[1], verdict.undetermined) if verdict and chosen is None else None
            print(f"  nothing to compare: {reason or 'grid without a pick'}")
            return False
        for who, pick in (("grid", best), ("auto", chosen)):
            print(f"  {who} picks batch {pick.batch_size}, rate {pick.learning_rate:.4g}")
        return _judged(judge(here, plans[0], (best, chosen), judging_seeds), judging_seeds) and share <= SHARE_GOAL


def _judged(found: Sequence[dict[int, Crossing]], seeds: int) -> bool:
    best, chosen = ({n: math.log(where.seconds) for n, where in each.items()} for each in found)
    difference = paired_difference(chosen, best, "min")
    print(f"  reached by {len(best)} (grid) and {len(chosen)} (auto) of {seeds} judging seeds")
    if difference is None:
        return False
    interval = ""
    if difference.low is not None and difference.high is not None:
        interval = f" ({math.exp(difference.low):.3f} to {math.exp(difference.high):.3f})"
    ratio = math.exp(difference.mean)
    print(f"  seconds to the target, auto over grid: {ratio:.3f}{interval} (goal: {RATIO_GOAL:g})")
    return ratio <= RATIO_GOAL and len(chosen) >= len(best)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", nargs="+", choices=list(QUESTIONS), default=["digits_cnn", "stdlib_gpt"])
    parser.add_argument("--judge-seeds", type=int, default=16)
    parser.add_argument("--short", action="store_true", help="only show that it works")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    questions = [QUESTIONS[name] for name in arguments.tasks]
    if arguments.short:
        questions = [question.shortened() for question in questions]
    met = [compare(question, 2 if arguments.short else arguments.judge_seeds) for question in questions]
    return 0 if all(met) or arguments.short else 1


if __name__ == "__main__":
    sys.exit(recorded(main))
