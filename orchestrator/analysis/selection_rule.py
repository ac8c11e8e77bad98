"""The rule of the recommendation. It looks at figures and returns a decision; the sentences are made elsewhere.

Among the candidates (those within the goals), seven steps, each keeping a part of what the one before left:

    objective  The leader has the best mean objective. Kept: whatever is not detectably worse than it (paired by seed,
               t-test at 5 % with the variance pooled over other trainings, Holm over all candidates; the sign test
               where all seeds differ by the same and no other training tells) and whose mean is no further from it
               than the validation data can resolve: the half-width of the leader's own interval over validation rows,
               or the value of a max-degradation goal on the objective where that is smaller. The second condition is
               there because few seeds detect little, and "not detected" alone would let a clearly poorer model
               through.
    latency    Kept: at most 5 % slower than the fastest, or not told from it: their intervals overlap. Speed is the
               geometric mean, over the two measured batch sizes, of the latency over the parent's compiled latency,
               taken in alternation.
    size       Kept: at most 5 % larger on disk than the smallest.
    front      Kept: those on the Pareto front, if any is left: within 5 % in every cost, it may yet be beaten in all.
    work       Kept: what no other beats in training to the objective's target (to its end, where there is none): with
               as few steps and as few examples, and 5 % fewer of one.
    seconds    Kept: what is not slower to train than the fastest, by an interval and half as many seconds again
               (`effort.py`).
    tie        The best mean objective; of equal ones the fewest bytes, the fewest examples and steps of training, the
               smallest batch size, the lowest latency, in this order; then the configuration's key, so that the answer
               does not depend on order.

What the clock says comes after what it does not change: the same results on another day give the same recommendation.
A step on a figure that no candidate has is passed over; a candidate that lacks a figure the others have is dropped.
With one seed a difference in the objective is not determined, and the first step rests on its second condition alone.
When not to trust it: 5 % is a convention for "the same to a user", not a test; goals are how a user says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    """What decides between candidates that every step before left, in this order."""

    MEAN = "mean"
    SIZE = "size"
    EXAMPLES = "examples"
    STEPS = "steps"
    BATCH_SIZE = "batch size"
    SPEED = "speed"
    KEY = "key"  # says nothing of them: they are equal in every figure


@dataclass(frozen=True)
class Candidate:
    """One configuration, as far as the rule needs it. A figure that was not measured is None."""

    key: str
    objective: Values  # seed -> value, at least one
    resolution: float  # what the validation rows can tell apart, in the objective's unit
    speed: float | None = None  # latency over the parent's; lower is faster
    artifact_bytes: float | None = None
    effort: Effort | None = None  # of its training
    on_front: bool = False  # nobody beats it in the objective, size and latencies
    batch_size: int | None = None
    rows: Mapping[int, Estimate] = field(default_factory=dict)  # seed -> the objective with its interval over rows
    speed_interval: tuple[float, float] | None = None  # None: not known

    @property
    def mean(self) -> float:
        return sum(self.objective.values()) / len(self.objective)

    def is_slower(self, other: Candidate) -> bool:
        """By more than 5 % and, where both intervals are known, by more than these allow for; without a figure: yes."""
        if self.speed is None or other.speed is None:
            return self.speed is None
        if self.speed <= SAME * other.speed:
            return False
        mine, theirs = self.speed_interval, other.speed_interval
        return mine is None or theirs is None or mine[0] > theirs[1]


@dataclass(frozen=True)
class Choice:
    """What the rule decided, and at which step it let go of each of the others."""

    chosen: Candidate
    leader: Candidate
    margin: float  # the largest distance from the leader that was accepted
    margin_is_goal: bool  # it is a goal's value, not what the validation rows can tell apart
    differences: dict[str, Difference | None]  # each candidate minus the leader; Holm's p-values
    candidates: dict[str, Candidate]
    dropped: dict[str, Step] = field(default_factory=dict)
    kept: dict[Step, int] = field(default_factory=dict)  # how many candidates each step left, for steps that were taken
    settled: dict[str, Tie] = field(default_factory=dict)  # what decided against those dropped at the last step

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

    `beside`: of two candidates' keys, the objectives (seed -> value) that may tell how far seeds spread; by default the
    other candidates', which must then be trainings of their own. Raises ValueError for no candidates.
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
    choice = Choice(leader, leader, margin, margin_is_goal, by_key, {c.key: c for c in candidates})

    remaining = list(candidates)

    def keep(step: Step, condition: Callable[[Candidate], bool]) -> None:
        nonlocal remaining
        choice.dropped.update({c.key: step for c in remaining if not condition(c)})
        remaining = [c for c in remaining if condition(c)]
        choice.kept[step] = len(remaining)

    def keep_lowest(step: Step, figure: Callable[[Candidate], float | None]) -> None:
        figures = [value for c in remaining if (value := figure(c)) is not None]
        if figures and math.isfinite(lowest := min(figures)):
            keep(step, lambda c: (value := figure(c)) is not None and value <= SAME * lowest)

    def as_good(candidate: Candidate) -> bool:
        difference = choice.differences.get(candidate.key)
        worse = difference is not None and difference.verdict is Verdict.WORSE
        return candidate is leader or (not worse and sign * (leader.mean - candidate.mean) <= margin * (1 + ROUNDING))

    keep(Step.OBJECTIVE, as_good)
    speeds = {c.speed: c for c in sorted(remaining, key=lambda c: c.key) if c.speed is not None}
    if speeds and math.isfinite(lowest := min(speeds)):
        keep(Step.LATENCY, lambda c: not c.is_slower(speeds[lowest]))
    keep_lowest(Step.SIZE, lambda c: c.artifact_bytes)
    if any(c.on_front for c in remaining):
        keep(Step.FRONT, lambda c: c.on_front)
    efforts = {c.key: c.effort for c in remaining if c.effort is not None}
    if any(math.isfinite(effort.steps) for effort in efforts.values()):
        keep(Step.WORK, lambda c: c.effort is not None and not any(o.beats(c.effort) for o in efforts.values()))
        fastest = min((c.effort for c in remaining if c.effort is not None), key=lambda effort: effort.seconds)
        keep(Step.SECONDS, lambda c: c.effort is not None and not c.effort.is_slower(fastest))
    chosen = _break_tie(remaining, sign, choice.settled)
    keep(Step.TIE, lambda c: c is chosen)
    return replace(choice, chosen=chosen)


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
    """The one that is taken; `settled` is filled with what decided against each of the others."""
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
