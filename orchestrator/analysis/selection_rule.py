"""The rule that selects the recommended configuration. It reads figures and returns a decision; `wording` speaks.

The rule starts with the candidates that are within the goals. Seven steps follow; each keeps some of the remaining:

    objective  The leader has the best mean objective. A candidate is kept if it is not detectably worse than the
               leader (paired by seed, t-test at 5 % with the variance pooled over other trainings, Holm over all
               candidates; the sign test if all seeds differ by the same amount and no other training has a variance),
               and if its mean is no further from the leader's than the validation data can resolve. The resolution is
               the half-width of the leader's own interval over validation rows, or the value of a max-degradation
               goal on the objective if that is smaller. The second condition exists because a test over few seeds
               detects little: alone, it would let a clearly poorer model through.
    latency    Keeps candidates at most 5 % slower than the fastest, or whose interval overlaps the fastest's. Speed is
               the geometric mean, over the two measured batch sizes, of the latency divided by the compiled parent's
               latency, both timed in alternation.
    size       Keeps candidates at most 5 % larger on disk than the smallest.
    front      Keeps candidates on the Pareto front, if any is left: one that is within 5 % of the best in every cost
               may still be beaten in all of them.
    work       Keeps candidates whose training to the objective's target (to its end, without a target) no other beats;
               a training beats another if it needs no more steps and no more examples, and 5 % fewer of one.
    seconds    Keeps candidates that do not train detectably slower than the fastest: slower means at least 1.5 times
               the seconds, by an interval (`effort.py`).
    tie        The best mean objective; of equal ones the fewest bytes, the fewest examples and steps of training, the
               smallest batch size, the lowest latency, in this order; then the configuration's key, so that the answer
               does not depend on the order of the candidates.

Training times come last, because they vary from day to day: the same results give the same recommendation.
If no candidate has a step's figure, the step is skipped; if only some have it, those without it are dropped.
With one seed, a difference in the objective is not determined, and the first step uses its second condition alone.
When not to trust it: 5 % is a convention for "the same to a user", not a test. A user who disagrees sets goals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.analysis.effort import SAME, Effort
from orchestrator.analysis.pooling import ROUNDING, Values
from orchestrator.analysis.statistics import Difference, Verdict, corrected, on_rows, paired_difference
from orchestrator.sweep.metrics import sign_of
from orchestrator.sweep.spec import Mode
from trainables.estimate import Estimate


class Step(StrEnum):
    OBJECTIVE = "objective"
    LATENCY = "latency"
    SIZE = "size"
    FRONT = "front"
    WORK = "work"
    SECONDS = "seconds"
    TIE = "tie"


class Tie(StrEnum):
    """The figures that decide between the candidates left after all other steps, in this order."""

    MEAN = "mean"
    SIZE = "size"
    EXAMPLES = "examples"
    STEPS = "steps"
    BATCH_SIZE = "batch size"
    SPEED = "speed"
    KEY = "key"  # arbitrary: the candidates are equal in every figure


@dataclass(frozen=True)
class Candidate:
    """The figures of one configuration that the rule needs. A figure that was not measured is None."""

    key: str
    objective: Values  # seed -> value, at least one
    resolution: float  # smallest difference that the validation rows resolve, in the objective's unit
    speed: float | None = None  # latency over the parent's; lower is faster
    artifact_bytes: float | None = None
    effort: Effort | None = None  # of its training
    on_front: bool = False  # on the Pareto front of objective, size and latencies
    batch_size: int | None = None
    rows: Mapping[int, Estimate] = field(default_factory=dict)  # seed -> the objective with its interval over rows
    speed_interval: tuple[float, float] | None = None  # None: not known

    @property
    def mean(self) -> float:
        return sum(self.objective.values()) / len(self.objective)

    def is_slower(self, other: Candidate) -> bool:
        """Slower by more than 5 %, and with disjoint intervals if both are known. True if it has no figure itself."""
        if self.speed is None or other.speed is None:
            return self.speed is None
        if self.speed <= SAME * other.speed:
            return False
        mine, theirs = self.speed_interval, other.speed_interval
        return mine is None or theirs is None or mine[0] > theirs[1]


@dataclass(frozen=True)
class Choice:
    """The rule's decision, and the step at which it dropped each of the other candidates."""

    chosen: Candidate
    leader: Candidate
    margin: float  # the largest distance from the leader that was accepted
    margin_is_goal: bool  # the margin is a goal's value, not the resolution of the validation rows
    differences: dict[str, Difference | None]  # each candidate minus the leader; Holm's p-values
    candidates: dict[str, Candidate]
    dropped: dict[str, Step] = field(default_factory=dict)
    kept: dict[Step, int] = field(default_factory=dict)  # how many candidates each step left, for steps that were taken
    settled: dict[str, Tie] = field(default_factory=dict)  # the figure that decided against those dropped at the tie

    @property
    def is_best(self) -> bool:
        """Whether no candidate has a better mean objective than the chosen one."""
        return self.chosen is self.leader or math.isclose(self.chosen.mean, self.leader.mean, rel_tol=ROUNDING)


def choose(
    candidates: Sequence[Candidate],
    mode: Mode,
    tolerance: float | None = None,
    beside: Callable[[str, str], Sequence[Values]] | None = None,
) -> Choice:
    """Apply the rule. `tolerance`: the value of a max-degradation goal on the objective, if there is one.

    `beside`: returns, for two candidates' keys, the objectives (seed -> value) from which the variance over seeds is
    pooled. By default these are the other candidates', which must then be independent trainings. Raises ValueError if
    there are no candidates.
    """
    sign = sign_of(mode)
    leader = max(
        candidates, key=lambda c: (sign * c.mean, -(math.inf if c.artifact_bytes is None else c.artifact_bytes), c.key)
    )
    others = [c for c in candidates if c is not leader]
    differences = corrected([_difference(c, leader, candidates, mode, beside) for c in others])
    margin_is_goal = tolerance is not None and tolerance < leader.resolution
    margin = tolerance if tolerance is not None and margin_is_goal else leader.resolution
    by_key = {c.key: d for c, d in zip(others, differences, strict=True)}

    def as_good(candidate: Candidate) -> bool:
        difference = by_key.get(candidate.key)
        worse = difference is not None and difference.verdict is Verdict.WORSE
        return candidate is leader or (not worse and sign * (leader.mean - candidate.mean) <= margin * (1 + ROUNDING))

    narrowed = _Narrowed(list(candidates))
    narrowed.keep(Step.OBJECTIVE, as_good)
    _keep_fast(narrowed)
    _keep_small(narrowed)
    if any(c.on_front for c in narrowed.remaining):
        narrowed.keep(Step.FRONT, lambda c: c.on_front)
    _keep_cheap_to_train(narrowed)
    settled: dict[str, Tie] = {}
    chosen = _break_tie(narrowed.remaining, sign, settled)
    narrowed.keep(Step.TIE, lambda c: c is chosen)
    return Choice(
        chosen=chosen,
        leader=leader,
        margin=margin,
        margin_is_goal=margin_is_goal,
        differences=by_key,
        candidates={c.key: c for c in candidates},
        dropped=narrowed.dropped,
        kept=narrowed.kept,
        settled=settled,
    )


@dataclass
class _Narrowed:
    """The candidates that the steps so far have left, and the step at which each of the others was dropped."""

    remaining: list[Candidate]
    dropped: dict[str, Step] = field(default_factory=dict)
    kept: dict[Step, int] = field(default_factory=dict)

    def keep(self, step: Step, condition: Callable[[Candidate], bool]) -> None:
        self.dropped.update({c.key: step for c in self.remaining if not condition(c)})
        self.remaining = [c for c in self.remaining if condition(c)]
        self.kept[step] = len(self.remaining)


def _keep_fast(narrowed: _Narrowed) -> None:
    speeds = {c.speed: c for c in sorted(narrowed.remaining, key=lambda c: c.key) if c.speed is not None}
    if speeds and math.isfinite(lowest := min(speeds)):
        narrowed.keep(Step.LATENCY, lambda c: not c.is_slower(speeds[lowest]))


def _keep_small(narrowed: _Narrowed) -> None:
    sizes = [c.artifact_bytes for c in narrowed.remaining if c.artifact_bytes is not None]
    if sizes and math.isfinite(lowest := min(sizes)):
        narrowed.keep(Step.SIZE, lambda c: c.artifact_bytes is not None and c.artifact_bytes <= SAME * lowest)


def _keep_cheap_to_train(narrowed: _Narrowed) -> None:
    """First by steps and examples, then by seconds. Both steps are skipped where no candidate reached the target."""
    efforts = [c.effort for c in narrowed.remaining if c.effort is not None]
    if not any(math.isfinite(effort.steps) for effort in efforts):
        return
    narrowed.keep(Step.WORK, lambda c: c.effort is not None and not any(o.beats(c.effort) for o in efforts))
    fastest = min((c.effort for c in narrowed.remaining if c.effort is not None), key=lambda effort: effort.seconds)
    narrowed.keep(Step.SECONDS, lambda c: c.effort is not None and not c.effort.is_slower(fastest))


def _difference(
    one: Candidate,
    leader: Candidate,
    candidates: Sequence[Candidate],
    mode: Mode,
    beside: Callable[[str, str], Sequence[Values]] | None,
) -> Difference | None:
    """Over seeds; with one seed, over the validation rows."""
    others = [c.objective for c in candidates if c is not one and c is not leader]
    pool = others if beside is None else beside(one.key, leader.key)
    difference = paired_difference(one.objective, leader.objective, mode, pool)
    seed = next(iter(one.objective.keys() & leader.objective.keys()), None)
    return difference if seed is None else on_rows(difference, one.rows.get(seed), leader.rows.get(seed))


def _break_tie(remaining: Sequence[Candidate], sign: float, settled: dict[str, Tie]) -> Candidate:
    """Return the chosen candidate; fill `settled` with the figure that decided against each of the others."""
    figures: dict[Tie, Callable[[Candidate], float | None]] = {  # lower is better
        Tie.MEAN: lambda c: -sign * c.mean,
        Tie.SIZE: lambda c: c.artifact_bytes,
        Tie.EXAMPLES: lambda c: c.effort.examples if c.effort else None,
        Tie.STEPS: lambda c: c.effort.steps if c.effort else None,
        Tie.BATCH_SIZE: lambda c: c.batch_size,
        Tie.SPEED: lambda c: c.speed,
    }
    equal = list(remaining)
    for tie, figure in figures.items():
        found = {c.key: math.inf if (value := figure(c)) is None else value for c in equal}
        lowest = min(found.values())
        beaten = {key for key, value in found.items() if value > lowest + ROUNDING * abs(lowest)}
        settled.update(dict.fromkeys(beaten, tie))
        equal = [c for c in equal if c.key not in beaten]
    chosen = min(equal, key=lambda c: c.key)
    settled.update({c.key: Tie.KEY for c in equal if c is not chosen})
    return chosen
