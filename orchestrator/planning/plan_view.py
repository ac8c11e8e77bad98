"""The plan for people and for scripts: every trial with the numbers that decide its cost, and their totals."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.plan import PendingVariant, Plan, Stage, StageBound, Trial
from orchestrator.planning.expand import variant_trial
from orchestrator.planning.scaling import rule_words
from orchestrator.planning.workload import Work, chain_work, work_of
from orchestrator.problems import plural
from orchestrator.settings import SETTINGS
from orchestrator.spec import AutoBatchSize, ScaledLearningRate, TopParents
from orchestrator.stages.design import MAX_CONFIRMED
from trainables.config import AnyTrialConfig, ProbeConfig, VariantConfig, describe_chain
from trainables.training_config import Training

Row = Sequence[str]

FIRST_STAGES = (Stage.PROBE, Stage.SHORT_RUN)  # known when the plan is made
AXES_SHOWN_IF_VARIED = (
    "sharding",
    "data_order",
    "optimizer",
    "schedule",
    "batch_schedule",
    "gradient_clip_norm",
    "sync_every_steps",
)


@dataclass(frozen=True)
class PlanTable:
    """One table of the plan: column names, and rows of text."""

    title: str
    columns: Row
    rows: tuple[Row, ...]


def tables_of(plan: Plan) -> list[PlanTable]:
    """All there is to show of a plan."""
    probes = [probe_table(plan)] if any(trial.stage is Stage.PROBE for trial in plan.trials) else []
    stages = [stage_table(plan)] if plan.stages else []
    variants = [variant_table(plan)] if plan.pending else []
    return [*probes, baseline_table(plan), *stages, *variants]


def baseline_table(plan: Plan) -> PlanTable:
    """One row per baseline."""
    options = list(plan.sweep.task.swept)
    varied = [
        axis for axis in AXES_SHOWN_IF_VARIED if len({getattr(trial.training, axis) for trial in _trained(plan)}) > 1
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
            *(SETTINGS[axis](trial.training) for axis in varied),
            *_work_words([work_of(trial.config, plan.sweep.facts.train_rows)]),
        )
        for trial in _trained(plan)
    )
    what = plural(len(rows), "baseline") if _has_grid(plan) else f"{len(rows)} short run"
    budget = _trained(plan)[0].training.budget if plan.trials else plan.sweep.budget
    title = f"{what} of {plan.sweep.task.name}, budget {budget.amount:,g} {budget.unit} each"
    return PlanTable(title, (*columns, *options, *varied, "steps", "examples"), rows)


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
    """One row per stage of a sweep whose trials are asked for by results: what comes, and how much at most."""
    rows = tuple(
        (
            bound.stage.value,
            _at_most(bound.trials) if bound.stage not in FIRST_STAGES else f"{bound.trials}",
            _at_most(bound.examples) if bound.examples else "-",
            bound.words,
        )
        for bound in plan.stages
    )
    return PlanTable("What results ask for, stage after stage", ("stage", "trials", "examples", "what"), rows)


def variant_table(plan: Plan) -> PlanTable:
    """One row per variant. Its id is known in advance only where its parent is."""
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
                "1",  # whatever its parent had
                _seed_words(plan, pending),
                describe_chain(pending.chain),
                *_work_words([_pending_work(plan, pending, parent) for parent in parents]),
            )
        )
    settings = ("batch_size", "learning_rate", "rule", "precision", "workers", "seed")
    columns = ("id", "parent", *settings, "chain", "steps", "examples")
    return PlanTable(
        f"{plural(len(rows), 'variant')}, each exported and measured in a fresh process", columns, tuple(rows)
    )


def summary_lines(plan: Plan) -> list[str]:
    """The totals, and what a careful reader should know."""
    work, later = total_work(plan), later_trials(plan)
    variants = variants_at_most(plan)
    trials = len(plan.trials) + later + variants
    most = "at most " if later else ""
    before = len(plan.trials) + later
    first = plural(before, "baseline") if _has_grid(plan) else f"{before} before compression"
    parts = [f"{most}{plural(trials, 'trial')} ({first}, {plural(variants, 'variant')})"]
    if work.examples:
        steps = "" if later else f" in {work.steps:,} steps"  # of batch sizes that are not known yet
        parts.append(f"at most {work.examples:,} examples{steps}")
    if work.seconds:
        parts.append(f"at most {work.seconds:,.0f} s of training")
    return [
        f"total: {', '.join(parts)}",
        *(f"rule: {line}" for line in _rules(plan)),
        *(f"note: {note}" for note in plan.notes),
    ]


def plan_as_dict(plan: Plan) -> dict[str, Any]:
    """The plan for scripts: {"sweep", "task", "objective", "trials": [...], "pending": [...], "totals", "notes"}."""
    work, later, variants = total_work(plan), later_trials(plan), variants_at_most(plan)
    return {
        "sweep": plan.sweep.name,
        "task": plan.sweep.task.model_dump(mode="json"),
        "objective": plan.sweep.objective.model_dump(mode="json"),
        "budget": plan.sweep.budget.model_dump(mode="json"),
        "goals": [goal.model_dump(mode="json") for goal in plan.sweep.goals],
        "trials": [_trial_as_dict(plan, trial) for trial in plan.trials],
        "pending": [_pending_as_dict(plan, pending) for pending in plan.pending],
        "stages": [{**asdict(bound), "stage": bound.stage.value} for bound in plan.stages],
        "totals": {"trials": len(plan.trials) + later + variants, "baselines": len(plan.trials) + later}
        | {"variants": variants, **asdict(work)},
        "rules": _rules(plan),
        "notes": list(plan.notes),
    }


def plan_as_json(plan: Plan) -> str:
    return json.dumps(plan_as_dict(plan), indent=2)


def plain(table: PlanTable) -> str:
    """A table as aligned columns, for pipes and logs: nothing is cut, whatever the width."""
    lines = [table.columns, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.columns))]
    text = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join([table.title, *text])


def total_work(plan: Plan) -> Work:
    """An upper bound: a variant whose parent is not chosen yet counts as its dearest candidate would."""
    rows = plan.sweep.facts.train_rows
    total = sum((work_of(trial.config, rows) for trial in plan.trials), Work())
    total += Work(examples=sum(bound.examples for bound in _later(plan)))
    for pending in plan.pending:
        works = [_pending_work(plan, pending, parent) for parent in possible_parents(plan, pending)]
        total += Work(*(max(getattr(work, name) for work in works) for name in ("steps", "examples", "seconds")))
    return total


def later_trials(plan: Plan) -> int:
    """Baselines that results may still ask for, at most."""
    return sum(bound.trials for bound in _later(plan))


def variants_at_most(plan: Plan) -> int:
    """Those that are pending; of a sweep that finds its batch size, as many as there can be."""
    compression, auto = plan.sweep.compression, plan.sweep.parameters.batch_size
    if compression is None or not isinstance(auto, AutoBatchSize):
        return len(plan.pending)
    top = compression.parents.top if isinstance(compression.parents, TopParents) else MAX_CONFIRMED
    seeds = auto.confirm_seeds if compression.seeds == "all" else 1
    return min(top, MAX_CONFIRMED) * seeds * (1 + len(compression.variants))


def _later(plan: Plan) -> list[StageBound]:
    return [bound for bound in plan.stages if bound.stage not in FIRST_STAGES]


def _trained(plan: Plan) -> list[Trial]:
    return [trial for trial in plan.trials if not isinstance(trial.config, ProbeConfig)]


def _has_grid(plan: Plan) -> bool:
    return not isinstance(plan.sweep.parameters.batch_size, AutoBatchSize)


def _at_most(count: int) -> str:
    return f"at most {count:,}"


def possible_parents(plan: Plan, pending: PendingVariant) -> list[Trial]:
    """The baselines that may become a variant's parent."""
    index = pending.seed_index
    seeds = pending.choice.configurations
    ids = [trial for trials in seeds for trial in (trials if index is None else (trials[index],))]
    return [plan.by_id[trial] for trial in ids]


def factorisation(training: Training) -> str:
    """`128 = 64 x 1 x 2`: micro-batch, accumulation steps, workers."""
    factors = (training.micro_batch_size, training.accumulation_steps, training.num_workers)
    return f"{training.batch_size} = {' x '.join(map(str, factors))}"


def _rules(plan: Plan) -> list[str]:
    """How settings are carried over batch sizes, with the sources; nothing, where rates are given as they are."""
    rate = plan.sweep.parameters.learning_rate
    return list(rule_words(rate)) if isinstance(rate, ScaledLearningRate) else []


def _trial_as_dict(plan: Plan, trial: Trial) -> dict[str, Any]:
    config = trial.config
    chain = config.chain if isinstance(config, VariantConfig) else ()
    work = work_of(config, plan.sweep.facts.train_rows)
    return {
        "id": trial.id,
        "kind": config.kind,
        "parent": config.parent if isinstance(config, VariantConfig) else None,
        "options": config.task.options,
        **_settings_as_dict(config),
        "learning_rate_source": trial.learning_rate_source,
        "chain": [step.model_dump(mode="json") for step in chain],
        "stage": trial.stage.value,
        "steps": work.steps,
        "examples": work.examples,
    }


def _settings_as_dict(config: AnyTrialConfig) -> dict[str, Any]:
    if isinstance(config, ProbeConfig):
        return config.model_dump(mode="json", exclude={"kind", "task"})
    return config.training.model_dump(mode="json")


def _pending_as_dict(plan: Plan, pending: PendingVariant) -> dict[str, Any]:
    parents = possible_parents(plan, pending)
    trial = variant_trial(parents[0], pending.chain, plan) if len(parents) == 1 else None
    works = [_pending_work(plan, pending, parent) for parent in parents]
    return {
        "key": pending.key,
        "id": trial.id if trial else None,
        "kind": "variant",
        "parent": parents[0].id if trial else None,
        **_settings_in_common(parents),
        "rule": pending.rule,
        "candidates": list(pending.candidates),
        "chain": [step.model_dump(mode="json") for step in pending.chain],
        "description": describe_chain(pending.chain),
        "steps_at_most": max(work.steps for work in works),
        "examples_at_most": max(work.examples for work in works),
    }


def _settings_in_common(parents: Sequence[Trial]) -> dict[str, Any]:
    """What is known of a variant before its parent is: the settings that all possible parents share, else None."""
    first, *others = [
        {**_settings_as_dict(parent.config), "learning_rate_source": parent.learning_rate_source} for parent in parents
    ]
    return {name: value if all(other[name] == value for other in others) else None for name, value in first.items()}


def _pending_work(plan: Plan, pending: PendingVariant, parent: Trial) -> Work:
    return chain_work(pending.chain, parent.training, plan.sweep.facts.train_rows)


def _seed_words(plan: Plan, pending: PendingVariant) -> str:
    return "first" if pending.seed_index is None else str(plan.sweep.parameters.seed[pending.seed_index])


def _work_words(works: Iterable[Work]) -> tuple[str, str]:
    """(steps, examples), as far as they are known; the most of several possibilities."""
    works = list(works)
    if any(work.seconds for work in works):
        return f"for {max(work.seconds for work in works):g} s", "?"
    steps, examples = {work.steps for work in works}, {work.examples for work in works}
    return _most(steps), _most(examples)


def _most(numbers: set[int]) -> str:
    return f"{max(numbers):,}" if len(numbers) == 1 else f"up to {max(numbers):,}"


def _common(texts: Sequence[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else "parent's"
