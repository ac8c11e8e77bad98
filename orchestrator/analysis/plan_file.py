"""The plan of a sweep in its storage: everything that a comparison needs beside the results.

sweeps/<name>/plan.json     written by the driver when it starts, and again when parents of variants are chosen
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.sweep.metrics import RELATIVE_SUFFIX
from orchestrator.sweep.plan import Plan, Stage, Trial
from orchestrator.sweep.spec import Goal, Mode, Objective
from trainables.config.trial import AnyTrialConfig, TaskConfig, TrialConfig
from trainables.errors import InputError
from trainables.seal import DamagedFileError
from trainables.storage import Storage, sweep_file, trial_file

PLAN = "plan.json"


class TableError(InputError):
    """There is nothing to compare; the message names the way out."""


class Stored(BaseModel):
    """Base class that ignores unknown keys, as a newer version may write more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StoredTrial(Stored):
    id: str
    config: TrialConfig
    learning_rate_source: str | None = None
    stage: Stage = Stage.GRID


class StoredPlan(Stored):
    """The plan of a sweep: everything that a comparison needs beside the results."""

    name: str
    task: str
    objective: Objective
    goals: tuple[Goal, ...] = ()
    directions: dict[str, Mode] = {}  # better direction of the task's metrics, without prefix: {"accuracy": "max"}
    trials: tuple[StoredTrial, ...] = ()
    to_come: int = 0  # number of variants whose baseline is not chosen yet

    def direction(self, metric: str) -> Mode:
        """The better direction of `metric`. For unknown names smaller is better, as most of them are costs."""
        if metric == self.objective.metric:
            return self.objective.mode
        for prefix in ("best_val_", "best_train_", "val_", "train_", "test_"):
            name = metric.removeprefix(prefix)
            for known in (name, name.removesuffix(RELATIVE_SUFFIX)):  # a change has the same better direction
                if metric.startswith(prefix) and known in self.directions:
                    return self.directions[known]
        return "max" if metric in ("examples_per_second", "converted_fraction") else "min"


def stored_plan(plan: Plan, variants: Iterable[Trial] = (), to_come: int = 0) -> StoredPlan:
    """The stored form of a plan, with the variants whose parents are chosen, and the number of those that are not."""
    sweep = plan.sweep
    trials = {trial.id: trial for trial in (*plan.trials, *variants)}.values()  # the same variant may occur twice
    return StoredPlan(
        name=sweep.name,
        task=sweep.task.name,
        objective=sweep.objective,
        goals=sweep.goals,
        directions=sweep.facts.metrics,
        trials=tuple(
            StoredTrial(id=t.id, config=t.config, learning_rate_source=t.learning_rate_source, stage=t.stage)
            for t in trials
        ),
        to_come=to_come,
    )


def save_plan(storage: Storage, plan: StoredPlan) -> None:
    """Replace the sweep's stored plan, atomically."""
    storage.write_sealed(sweep_file(plan.name, PLAN), plan.model_dump_json(indent=1).encode())


class Change(StrEnum):
    """How a stored trial differs from all trials of a plan."""

    DATA = "data"
    CODE = "code"
    DATA_AND_CODE = "data and code"
    SETTINGS = "settings"


def left_behind(storage: Storage, plan: Plan) -> Counter[Change]:
    """The number of stored trials with a result that do not belong to this plan, by the kind of their difference.

    Empty if there is no readable stored plan. Trials that results may still add to this plan are not counted.
    """
    try:
        stored = load_plan(storage, plan.sweep.name)
    except TableError:
        return Counter()
    tasks = {_model(trial.config): trial.config.task for trial in plan.trials}
    others: dict[str, Change] = {}
    for trial in stored.trials:
        if trial.id not in plan.by_id and (change := _change(trial, tasks, others)):
            others[trial.id] = change
    return Counter(change for id, change in others.items() if storage.exists(trial_file(id, "result.json")))


def _change(trial: StoredTrial, tasks: Mapping[str, TaskConfig], others: Mapping[str, Change]) -> Change | None:
    """The difference between a stored trial and all of a plan's; None if the plan may still add the trial."""
    config, now = trial.config, tasks.get(_model(trial.config))
    if now is None:
        return Change.SETTINGS
    match now.data != config.task.data, now.code != config.task.code:
        case True, True:
            return Change.DATA_AND_CODE
        case True, False:
            return Change.DATA
        case False, True:
            return Change.CODE
    if config.kind == "variant":
        return others.get(config.parent)
    return Change.SETTINGS if trial.stage is Stage.GRID else None


def _model(config: AnyTrialConfig) -> str:
    """The model that is trained: the task and its options, without data and code."""
    return repr((config.task.name, sorted(config.task.options.items())))


def load_plan(storage: Storage, sweep: str) -> StoredPlan:
    """Raises TableError if the storage has no such sweep, or if its plan is missing or damaged."""
    anew = "`paretune run` with the sweep's file writes it again; ended trials do not run again"
    try:
        return StoredPlan.model_validate_json(storage.read_sealed(sweep_file(sweep, PLAN)))
    except FileNotFoundError:
        names = storage.names("sweeps")
        if sweep in names:
            gone = f"the plan of sweep {sweep!r} is missing: there is no {storage.display(sweep_file(sweep, PLAN))}"
            raise TableError(f"{gone}. {anew}.") from None
        there = f"it holds {', '.join(names)}" if names else "it holds no sweep yet"
        nearest = difflib.get_close_matches(sweep, names, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise TableError(
            f"no sweep {sweep!r} in storage {storage.label}: {there}{hint}. "
            "`paretune run` creates one; --storage names another place."
        ) from None
    except DamagedFileError as error:
        raise TableError(f"{error}. {anew}.") from error
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise TableError(
            f"the plan of sweep {sweep!r} in {storage.label} cannot be read: {problem}. {anew}."
        ) from error
