"""The requirements that a sweep has for its task, so that the dry run can test them before any trial runs."""

from __future__ import annotations

from trainables.config.base import FrozenConfig
from trainables.config.compression import Compression, Distill, FineTune, Int8, Prune
from trainables.config.optimizers import CustomOptimizer, Optimizer, Sgd
from trainables.config.schedules import Constant, CustomSchedule, Schedule
from trainables.config.training import Precision


class Requirements(FrozenConfig):
    precisions: tuple[Precision, ...] = ("float32",)
    num_workers: int = 1  # the largest number in any trial
    compresses: bool = False  # whether the model must be exportable
    chains: tuple[tuple[Compression, ...], ...] = ()  # of all variants, each once, as `structural` leaves them
    optimizers: tuple[Optimizer, ...] = (Sgd(),)
    schedules: tuple[Schedule, ...] = (Constant(),)
    no_decay: tuple[tuple[str, ...], ...] = ((),)
    layer_decay: tuple[float | None, ...] = (None,)

    @property
    def is_usual(self) -> bool:
        """Whether every method is asked for as it is by default, each but once in a chain."""
        return all(
            step == type(step)() and step not in chain[:place]
            for chain in self.chains
            for place, step in enumerate(chain)
        )

    @property
    def modules(self) -> tuple[str, ...]:
        """Of the user's functions that settings name, whatever the task is."""
        factories = [one.factory for one in self.optimizers if isinstance(one, CustomOptimizer)]
        functions = [one.function for one in self.schedules if isinstance(one, CustomSchedule)]
        return tuple(dict.fromkeys(name.partition(":")[0] for name in factories + functions))

    @property
    def needs_the_model(self) -> bool:
        """Whether something is asked that not every model has, or that a user's own function must do."""
        special = any(one.name in ("muon", "custom") for one in (*self.optimizers, *self.schedules))
        return special or (self.no_decay, self.layer_decay) != (((),), (None,))


def structural(chain: tuple[Compression, ...]) -> tuple[Compression, ...]:
    """A chain without the settings of its trainings, which decide how good a variant is, not whether it can be made."""
    return tuple(map(_structural, chain))


def _structural(step: Compression) -> Compression:
    match step:
        case Prune():
            return Prune(ratio=step.ratio, round_to=step.round_to)
        case Distill():
            return Distill(width=step.width)
        case Int8():
            return Int8(mode=step.mode)
        case FineTune():
            return FineTune()
