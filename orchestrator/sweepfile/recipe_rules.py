"""The rules of optimisers and schedules: what is carried exists, decay can be left out, a warm-up ends."""

from __future__ import annotations

from typing import Any

from orchestrator.diagnostics.node import Placed
from orchestrator.planning.evidence import evidence_of
from orchestrator.sweepfile.partial_sweep import Draft
from trainables.config.optimizers import weight_decay_of
from trainables.config.schedules import WarmsUp
from trainables.config.training import Budget
from trainables.config.warmup import warmup_share


def check_recipes(draft: Draft) -> None:
    _what_is_carried_exists(draft)
    _warm_up_ends(draft)
    _decay_is_there_to_be_left_out(draft)
    _weights_can_be_averaged(draft)
    _rows_are_drawn_in_one_way(draft)


def _what_is_carried_exists(draft: Draft) -> None:
    """A rule for a setting that no trial has would have no effect, and nobody would notice."""
    scaled = draft.axes.scaled_learning_rate
    optimizers = [given.value for given in draft.axes.optimizer]
    schedules = [given.value for given in draft.axes.schedule]
    unit = draft.budget.value.unit if draft.budget else "examples"
    for index, name in enumerate(scaled.value.carry if scaled else ()):
        wrong, in_seconds = "", unit == "seconds"
        match name:
            case "beta1" | "beta2":
                there = any(name in evidence_of(o).carried for o in optimizers)
                needs = "adam, adamw or lamb" if name == "beta1" else "adam, adamw, lamb or rmsprop"
            case "weight_decay":
                there = any(name in evidence_of(o).carried and weight_decay_of(o) for o in optimizers)
                needs = "adamw, lion or muon with decay"
                wrong = "needs a number of examples, but the budget is in seconds" if in_seconds else ""
            case "ema":
                there, needs = any(given.value is not None for given in draft.axes.ema), "an ema"
            case "warmup":
                there = any(isinstance(s, WarmsUp) and s.warmup_fraction for s in schedules)
                needs = "the schedule warmup_cosine, or another with a warmup_fraction"
                wrong = "needs a number of steps, but the budget is in seconds" if in_seconds else ""
        if scaled and (wrong or not there):
            allowed = "a budget in examples, epochs or steps" if wrong else f"with {needs}"
            scaled.node.fail(wrong or "is a setting that no trial has", allowed=allowed, at=("carry", index))


def _warm_up_ends(draft: Draft) -> None:
    """A warm-up in steps or examples is over before the budget is, at every batch size."""
    budget, rows = draft.budget, draft.facts.train_rows if draft.facts else None
    if budget is None or (budget.value.unit == "epochs" and rows is None):
        return
    for given in draft.axes.schedule:
        if not isinstance(given.value, WarmsUp) or given.value.warmup_fraction is not None:
            continue
        at = ("warmup_steps" if given.value.warmup_steps else "warmup_examples",)
        if budget.value.unit == "seconds":
            given.node.fail("needs a number of steps, but the budget is in seconds", allowed="warmup_fraction", at=at)
        elif draft.axes.auto_batch_size and (at == ("warmup_steps",)) != (budget.value.unit == "steps"):
            given.node.fail("may outlast the budget at a batch size that is yet to be found", allowed="another", at=at)
        else:
            sizes = sorted(batch.value for batch in draft.axes.batch_size) or [1]
            _is_over(given, budget.value, sizes, rows, at)


def _is_over(given: Placed[Any], budget: Budget, sizes: list[int], rows: int | None, at: tuple[str]) -> None:
    for size in (sizes[0], sizes[-1]):  # examples end last at the smallest, steps at the largest
        try:
            warmup_share(given.value, budget, size, rows)
        except ValueError as error:
            given.node.fail(f"{error}, at batch_size {size}", allowed="less, or a larger budget", at=at)
            return


def _decay_is_there_to_be_left_out(draft: Draft) -> None:
    optimizers = [given.value for given in draft.axes.optimizer]
    if not optimizers or any(map(weight_decay_of, optimizers)):
        return
    for names in draft.axes.no_decay:
        if names.value:
            names.node.fail(
                "leaves out of weight decay, and no optimizer of the sweep has any",
                allowed="with a weight_decay above 0, such as optimizer: {name: adamw, weight_decay: 0.1}",
            )


def _weights_can_be_averaged(draft: Draft) -> None:
    if not any(given.value is not None for given in draft.axes.sync_every_steps):
        return
    for ema in draft.axes.ema:
        if ema.value is not None:
            ema.node.fail(
                "averages the weights of every step, which workers have apart with sync_every_steps",
                allowed="null, or no sync_every_steps",
            )


def _rows_are_drawn_in_one_way(draft: Draft) -> None:
    if all(given.value.name == "uniform" for given in draft.axes.sampling):
        return
    for order in draft.axes.data_order:
        if order.value.name != "stored":
            order.node.fail("has no effect where rows are drawn by class", allowed="stored, or sampling: uniform")
