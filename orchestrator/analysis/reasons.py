"""Why a configuration is recommended, or none: one value for each reason, with its figures.

`orchestrator.analysis.narrowing` and `training_advice` find them, `orchestrator.wording.reasons` makes sentences.
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
    """The sweep has no trials."""


@dataclass(frozen=True)
class NothingEnded:
    """No trial has ended yet."""


@dataclass(frozen=True)
class NoneMeasured:
    """No trial with a finite objective ran to its end."""

    statuses: tuple[tuple[str, int], ...]  # status, trials; the most frequent first


@dataclass(frozen=True)
class NoneWithinGoals:
    """No configuration meets all goals: the one that comes closest, with its distance from each goal."""

    candidates: int
    all_miss: bool  # True: each misses a goal. False: for some, a goal is not determined
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
    """A configuration with trials that ended without the figures of a whole run (for a variant, its parent's too)."""

    configuration: Configuration
    lost: int
    seeds: int
    statuses: tuple[str, ...]


@dataclass(frozen=True)
class SetAside:
    """Configurations within the goals that lost seeds which others did not lose: their remaining means are too good."""

    configurations: tuple[LostSeeds, ...]


@dataclass(frozen=True)
class AmongFastest:
    """With `batch_size: auto`: the choice is among the batch sizes that are tied as the fastest to the target."""

    batch_sizes: tuple[int, ...]


@dataclass(frozen=True)
class BestObjective:
    own: Summary
    equal: int  # number of others that are statistically tied with it
    of: int  # number of candidates
    is_best_of_all: bool  # whether no shown trial outside the candidates has a better objective


@dataclass(frozen=True)
class AsGoodAsBest:
    own: Summary
    best: Summary
    leader: Configuration
    difference: Difference | None  # the recommended minus the leader
    margin: float  # the largest difference that counts as tied
    margin_is_goal: bool  # the margin is a goal's value, not the resolution of the validation rows
    of: int
    is_best_of_all: bool


@dataclass(frozen=True)
class Faster:
    of: int  # candidates before this step
    left: int  # candidates after it
    latencies: Latencies  # of the recommended configuration
    within_percent: bool  # True: all that are left are within 5 % of the fastest. False: some only by intervals


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
    """The recommended configuration is not beaten in training steps and examples."""

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
    """The effort of one batch size, at the learning rate with the fewest steps to the target."""

    shown: Configuration  # any configuration with this batch size and these settings
    row: ToTarget | None  # None if the target was not reached


@dataclass(frozen=True)
class TimesToTarget:
    times: tuple[TimeToTarget, ...]  # ascending by batch size
    several_rates: bool  # whether several learning rates were tried at one batch size
    before_confirmation: bool  # whether fresh seeds confirm some of them later


@dataclass(frozen=True)
class BestSeed:
    """The trial is the best of several seeds, so its own figure is biased towards good."""

    row: Row
    value: float
    seeds: int


Reason = (
    NoTrials | NothingEnded | NoneMeasured | NoneWithinGoals
    | WithinGoals | SetAside | AmongFastest | BestObjective | AsGoodAsBest | Faster | Smaller | OnFront | FewestSteps
    | FasterTraining | TieBroken | TrainWith | TimesToTarget | BestSeed
)  # fmt: skip
