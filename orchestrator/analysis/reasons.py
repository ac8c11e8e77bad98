"""Why a configuration is recommended, or nothing is: one value for each reason, with the figures that it rests on.

`orchestrator.analysis.narrowing` and `training_advice` find them, `orchestrator.wording.reasons` says them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.analysis.effort import Effort
from orchestrator.analysis.goals import GoalResult
from orchestrator.analysis.rows import Configuration, Row
from orchestrator.analysis.selection_rule import Tie
from orchestrator.analysis.statistics import Difference, Summary
from orchestrator.analysis.time_to_target import ToTarget
from trainables.config.training import Training

Latencies = Mapping[int, Summary]  # batch size -> median latency over the uncompressed parent's, both compiled


# -- nothing is recommended -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoTrials:
    """The sweep has none."""


@dataclass(frozen=True)
class NothingEnded:
    """No trial has ended yet."""


@dataclass(frozen=True)
class NoneMeasured:
    """No trial with a finite objective ran to its end."""

    statuses: tuple[tuple[str, int], ...]  # status, trials; the most frequent first


@dataclass(frozen=True)
class NoneWithinGoals:
    """What comes closest to the goals, and how far from each it is."""

    candidates: int
    all_miss: bool  # each misses a goal; otherwise of some it is only not determined that they meet all
    nearest: Configuration
    row: Row
    results: tuple[GoalResult, ...]  # of the nearest


# -- one is -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WithinGoals:
    within: int
    candidates: int
    results: tuple[GoalResult, ...]  # of the recommended; empty where there is no goal


@dataclass(frozen=True)
class LostSeeds:
    """Trials of a configuration that ended without the figures of a whole run; of a variant, its parent's too."""

    configuration: Configuration
    lost: int
    seeds: int
    statuses: tuple[str, ...]


@dataclass(frozen=True)
class SetAside:
    """These are within the goals, and lost seeds that others did not lose: a mean over the others flatters."""

    configurations: tuple[LostSeeds, ...]


@dataclass(frozen=True)
class AmongFastest:
    """Where the batch size was to be found: the choice is among those that are as fast to the target."""

    batch_sizes: tuple[int, ...]


@dataclass(frozen=True)
class BestObjective:
    own: Summary
    equal: int  # others that count as equal
    of: int  # those that could be chosen
    is_best_of_all: bool  # no trial shown, of those that could not be chosen, has a better one


@dataclass(frozen=True)
class AsGoodAsBest:
    own: Summary
    best: Summary
    leader: Configuration
    difference: Difference | None  # the recommended minus the leader
    margin: float  # the largest distance that counts as equal
    margin_is_goal: bool  # it is a goal's value, not what the validation rows can tell apart
    of: int
    is_best_of_all: bool


@dataclass(frozen=True)
class Faster:
    of: int  # candidates before this step
    left: int  # and after it
    latencies: Latencies  # of the recommended
    within_percent: bool  # those that are left are within 5 % of the fastest; otherwise within the intervals


@dataclass(frozen=True)
class Smaller:
    of: int
    left: int
    artifact_bytes: float


@dataclass(frozen=True)
class OnFront:
    of: int
    left: int


@dataclass(frozen=True)
class FewestSteps:
    """Not beaten in steps and examples of training."""

    of: int
    left: int
    effort: Effort | None


@dataclass(frozen=True)
class FasterTraining:
    of: int
    left: int
    seconds: float | None


@dataclass(frozen=True)
class TieBroken:
    of: int
    by: tuple[Tie, ...]  # what decided, in order


@dataclass(frozen=True)
class TrainWith:
    training: Training
    source: str | None  # of the learning rate


@dataclass(frozen=True)
class TimeToTarget:
    """What one batch size took, at the rate with the fewest steps to the target."""

    shown: Configuration  # any at this batch size and these settings
    row: ToTarget | None  # None: not reached


@dataclass(frozen=True)
class TimesToTarget:
    times: tuple[TimeToTarget, ...]  # ascending by batch size
    several_rates: bool  # were tried at one batch size
    before_confirmation: bool  # fresh seeds confirm some of them


@dataclass(frozen=True)
class BestSeed:
    """The trial is the best of several seeds: for being chosen so, it flatters itself."""

    row: Row
    value: float
    seeds: int


Reason = (
    NoTrials | NothingEnded | NoneMeasured | NoneWithinGoals
    | WithinGoals | SetAside | AmongFastest | BestObjective | AsGoodAsBest | Faster | Smaller | OnFront | FewestSteps
    | FasterTraining | TieBroken | TrainWith | TimesToTarget | BestSeed
)  # fmt: skip
