"""The plan for people: every trial with the numbers that determine its cost, and the totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from orchestrator.planning.plan_totals import (
    FIRST_STAGES,
    later_trials,
    pending_work,
    possible_parents,
    total_work,
    variants_at_most,
)
from orchestrator.planning.scaling import rules_of
from orchestrator.planning.variants import variant_trial
from orchestrator.planning.workload import Work, known_most, work_of
from orchestrator.report.tables import text_table, titled
from orchestrator.sweep.axes import AXES
from orchestrator.sweep.plan import PendingVariant, Plan, Stage, Trial
from orchestrator.sweep.spec import AutoBatchSize
from orchestrator.text import plural
from trainables.config.compression import describe_chain
from trainables.config.training import Training
from trainables.config.trial import ProbeConfig

PlanRow = Sequence[str]

UNKNOWN = "unknown"
NUMBERS = {"learning_rate", "workers", "seed", "steps", "examples"}  # columns
ALWAYS_SHOWN = ("precision", "num_workers")  # always have a column; another axis has one only if it is varied


@dataclass(frozen=True)
class PlanTable:
    """One table of the plan: column names, and rows of text."""

    title: str
    columns: PlanRow
    rows: tuple[PlanRow, ...]


def tables_of(plan: Plan) -> list[PlanTable]:
    """All tables of a plan, in the order in which they are shown."""
    probes = [probe_table(plan)] if any(trial.stage is Stage.PROBE for trial in plan.trials) else []
    stages = [stage_table(plan)] if plan.stages else []
    variants = [variant_table(plan)] if plan.pending else []
    return [*probes, baseline_table(plan), *stages, *variants]


def baseline_table(plan: Plan) -> PlanTable:
    """One row per baseline."""
    options = list(plan.sweep.task.swept)
    varied = [
        axis
        for axis in AXES
        if axis.name not in ALWAYS_SHOWN and len({getattr(trial.training, axis.name) for trial in _trained(plan)}) > 1
    ]
    columns = ["id", "batch_size = micro x accum x workers", "learning_rate", "rule", "precision", "workers", "seed"]
    rows = tuple(
        (
            trial.id,
            factorisation(trial.training),
            f"{trial.training.learning_rate:g}",
            trial.learning_rate_source,
            trial.training.precision,
            str(trial.training.num_workers),
            str(trial.training.seed),
            *(str(trial.config.task.options[option]) for option in options),
            *(axis.words(trial.training) for axis in varied),
            *_work_words([work_of(trial.config, plan.sweep.facts.train_rows)]),
        )
        for trial in _trained(plan)
    )
    what = plural(len(rows), "baseline") if _has_grid(plan) else f"{len(rows)} short run"
    budget = _trained(plan)[0].training.budget if plan.trials else plan.sweep.budget
    title = f"{what} of {plan.sweep.task.name}, budget {budget.amount:,g} {budget.unit} each"
    return PlanTable(title, (*columns, *options, *(axis.name for axis in varied), "steps", "examples"), rows)


def probe_table(plan: Plan) -> PlanTable:
    """One row per probe."""
    probes = [(trial.id, trial.config) for trial in plan.trials if isinstance(trial.config, ProbeConfig)]
    rows = tuple((id, c.optimizer.name, c.precision, str(c.num_workers)) for id, c in probes)
    return PlanTable(
        f"{len(rows)} probe{'s' if len(rows) > 1 else ''} of memory and throughput",
        ("id", "optimizer", "precision", "workers"),
        rows,
    )


def stage_table(plan: Plan) -> PlanTable:
    """One row per stage of a sweep whose later trials depend on results: the trials, and their upper bounds."""
    rows = tuple(
        (
            bound.stage.value,
            _at_most(bound.trials) if bound.stage not in FIRST_STAGES else f"{bound.trials}",
            _at_most(bound.examples) if bound.examples != 0 else "-",
            bound.words,
        )
        for bound in plan.stages
    )
    return PlanTable("Stages: later trials depend on results", ("stage", "trials", "examples", "what"), rows)


def variant_table(plan: Plan) -> PlanTable:
    """One row per variant. A variant's id is known in advance only if its parent is."""
    rows = []
    for pending in plan.pending:
        parents = possible_parents(plan, pending)
        trial = variant_trial(parents[0], pending.chain, plan) if len(parents) == 1 else None
        rows.append(
            (
                trial.id if trial else "(later)",
                parents[0].id if trial else pending.rule,
                _common([factorisation(parent.training) for parent in parents]),
                _common([f"{parent.training.learning_rate:g}" for parent in parents]),
                _common([parent.learning_rate_source or "as given" for parent in parents]),
                _common([parent.training.precision for parent in parents]),
                "1",  # a variant has one worker, whatever its parent had
                _seed_words(plan, pending),
                describe_chain(pending.chain),
                *_work_words([pending_work(plan, pending, parent) for parent in parents]),
            )
        )
    settings = ("batch_size", "learning_rate", "rule", "precision", "workers", "seed")
    columns = ("id", "parent", *settings, "chain", "steps", "examples")
    return PlanTable(
        f"{plural(len(rows), 'variant')}, each exported and measured in a fresh process", columns, tuple(rows)
    )


def summary_lines(plan: Plan) -> list[str]:
    """The totals, the rules for learning rates, and the notes."""
    work, later = total_work(plan), later_trials(plan)
    variants = variants_at_most(plan)
    trials = len(plan.trials) + later + variants
    most = "at most " if later else ""
    before = len(plan.trials) + later
    first = plural(before, "baseline") if _has_grid(plan) else f"{before} before compression"
    parts = [f"{most}{plural(trials, 'trial')} ({first}, {plural(variants, 'variant')})"]
    if work.seconds:
        parts.append(f"at most {work.seconds:,.0f} s of training")
    elif work.examples is None:
        parts.append("examples and steps unknown: the number of rows is known once the task is imported")
    elif work.examples:
        steps = "" if work.steps is None else f" in {work.steps:,} steps"
        parts.append(f"at most {work.examples:,} examples{steps}")
    return [
        f"total: {', '.join(parts)}",
        *(f"rule: {line}" for line in rules_of(plan)),
        *(f"note: {note}" for note in plan.notes),
    ]


def print_plan(plan: Plan, console: Console) -> None:
    """All tables, each below its title, then the summary.

    Columns fold in a narrow terminal; ids never do, since people copy them.
    """
    for table in tables_of(plan):
        columns = set(table.columns)
        grid = text_table(table.columns, table.rows, left=columns - NUMBERS, fold=columns - {"id"})
        console.print(titled(table.title, grid), "")
    for line in summary_lines(plan):
        console.print(Text(line), soft_wrap=True)


def _trained(plan: Plan) -> list[Trial]:
    return [trial for trial in plan.trials if not isinstance(trial.config, ProbeConfig)]


def _has_grid(plan: Plan) -> bool:
    return not isinstance(plan.sweep.parameters.batch_size, AutoBatchSize)


def _at_most(count: int | None) -> str:
    return UNKNOWN if count is None else f"at most {count:,}"


def factorisation(training: Training) -> str:
    """`128 = 64 x 1 x 2`: micro-batch, accumulation steps, workers."""
    factors = (training.micro_batch_size, training.accumulation_steps, training.num_workers)
    return f"{training.batch_size} = {' x '.join(map(str, factors))}"


def _seed_words(plan: Plan, pending: PendingVariant) -> str:
    return "first" if pending.seed_index is None else str(plan.sweep.parameters.seed[pending.seed_index])


def _work_words(works: Sequence[Work]) -> tuple[str, str]:
    """(steps, examples), as far as they are known; the largest of several possibilities."""
    if any(work.seconds for work in works):
        return f"for {max(work.seconds for work in works):g} s", UNKNOWN
    return _most([work.steps for work in works]), _most([work.examples for work in works])


def _most(counts: Sequence[int | None]) -> str:
    most = known_most(counts)
    if most is None:
        return UNKNOWN
    return f"{most:,}" if len(set(counts)) == 1 else f"up to {most:,}"


def _common(texts: Sequence[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else "parent's"
