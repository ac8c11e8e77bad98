"""`batch_size: auto` from its first results to the confirmation: the next trials, given the results so far.

    probe, short run     ->  sizes, workers and precision of the fit, limit of the micro-batch
    fit, beyond the edge ->  at the middle size first, then at the smaller ones around the best rate there, then at the
                             larger ones that should reach the target within the budget; one more size if the knee was
                             missed; then the predicted optimum, and that of the cheapest workers and precision
    confirmation         ->  nothing: the verdict is the comparison's (orchestrator.analysis.batch_verdict)

A stage begins when every trial of the previous one has ended. If a probe or the short run fails, the search continues
without its result: sizes are then spread over the whole range, and micro-batches are as large as the file allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from orchestrator.adaptive.compute_options import ComputeOption, optimum, probed_ways
from orchestrator.adaptive.rate_edges import Results, best_rate, beyond_edges, rate_score
from orchestrator.adaptive.rates import multiplier_at, rule_rate
from orchestrator.analysis.batch_verdict import contenders
from orchestrator.analysis.plan_file import stored_plan
from orchestrator.analysis.predict_batch import Fit, FromProbe, Prediction, fit, noise_scale, unresolved
from orchestrator.analysis.table import SweepTable, make_table
from orchestrator.planning.auto_design import MAX_CONFIRMED, auto_settings, closest_size, fresh_seeds, ladder, spread
from orchestrator.planning.grid import SeedGroup, baselines
from orchestrator.sweep.plan import Plan, Stage, Trial
from trainables.config.batching import steps_for

PRIOR_SPREAD = 8.0  # largest expected ratio between noise scale and critical batch size, in either direction
MIN_FITTED_RANGE = 16.0  # least ratio of largest to smallest fitted size: close sizes do not determine a knee
STEEP, FLAT = 0.7, 0.3  # exponents of steps against batch size: 1 far below the critical batch size, 0 far above
BUDGET_MARGIN = 1.25  # least ratio of the budget to a batch size's expected need, for it to be worth trying
FAR_RATIO = 1.5  # least ratio between two fitted batch sizes: closer ones add little information


@dataclass(frozen=True)
class NextTrials:
    """The next trials. `chosen` is set once no trial is missing: the configurations to compress, best first."""

    trials: tuple[Trial, ...]
    missing: tuple[str, ...]
    chosen: tuple[SeedGroup, ...] = ()


def proceed(plan: Plan, results: Results) -> NextTrials:
    """All trials beyond the plan's own that follow from these results. Pure."""
    if missing := _missing(plan.trials, results):
        return NextTrials((), missing)
    ways = probed_ways(plan, results)
    way = max(ways, key=lambda way: way.examples_per_second)  # for the fit: steps to the target do not depend on it
    wanted = fit_sizes(plan, results)
    middle = wanted[len(wanted) // 2]
    sizes = [middle, *(size for size in wanted if size < middle)]
    tuned, missing = _tuned(plan, results, sizes, way)
    if missing:
        return NextTrials(tuned, missing)
    sizes += larger_sizes(wanted, sizes, in_reach(plan, sizes, _fit(plan, tuned, results)))
    tuned, missing = _tuned(plan, results, sizes, way)
    if missing:
        return NextTrials(tuned, missing)
    found = _fit(plan, tuned, results)
    if (size := one_more_size(sorted(sizes), found, in_reach(plan, sizes, found))) is not None:
        tuned, missing = _tuned(plan, results, [*sizes, size], way)
        if missing:
            return NextTrials(tuned, missing)
    table = _table(plan, tuned, results)
    confirming = _confirmation(plan, table, ways, way)
    trials = (*tuned, *confirming)
    if missing := _missing(confirming, results):
        return NextTrials(trials, missing)
    return NextTrials(trials, (), _chosen(plan, trials, results))


def fit_sizes(plan: Plan, results: Results) -> list[int]:
    """A few sizes, well spread: around the noise scale if it is resolved, else over the whole range."""
    auto, _ = auto_settings(plan.sweep)
    sizes = ladder(plan.sweep)
    low, high = float(sizes[0]), float(sizes[-1])
    estimate = noise_scale(_table(plan, (), results).short_runs)
    if estimate is not None and not unresolved(estimate):
        low = max(low, min(high, (estimate.low or estimate.value) / PRIOR_SPREAD))
        high = min(high, max(low, (estimate.high or estimate.value) * PRIOR_SPREAD))
        low = max(sizes[0], min(low, high / MIN_FITTED_RANGE))
        high = min(sizes[-1], max(high, low * MIN_FITTED_RANGE))
    return spread(sizes, auto.fit_sizes, low, high)


def in_reach(plan: Plan, tried: Sequence[int], tuned: Fit) -> list[int]:
    """The batch sizes that should reach the target well before the budget ends, ascending; all if nothing is known.

    Examples to the target lie on a line, E(B) = S_min (B + B_c), fitted by least squares to the sizes that reached it.
    No size beyond one that failed to reach it is in reach. A size that is not in reach could not be confirmed either.
    """
    sweep = plan.sweep
    sizes = ladder(sweep)
    if tuned.rows:
        missed = [size for size in tried if size > tuned.rows[-1].batch_size]
        sizes = [size for size in sizes if size < min(missed, default=math.inf)]
    if len(tuned.rows) < 2:
        return sizes
    known = [row.batch_size for row in tuned.rows]
    slope, start = np.polyfit(known, [row.examples.mean for row in tuned.rows], 1)

    def reaches(size: int) -> bool:
        steps = steps_for(sweep.budget, size, sweep.facts.train_rows)
        return size <= known[-1] or steps is None or BUDGET_MARGIN * (start + slope * size) <= steps * size

    return [size for size in sizes if reaches(size)]


def larger_sizes(wanted: Sequence[int], tried: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """The requested sizes beyond those tried, if they are in reach; if no distant one is, a size in between."""
    larger = sorted({min(size, max(sizes)) for size in wanted if size > max(tried)})
    if not larger or larger[-1] >= FAR_RATIO * max(tried):
        return larger
    between = closest_size(sizes, math.sqrt(min(tried) * max(tried)))
    return [] if between in tried else [between]


def one_more_size(tried: Sequence[int], tuned: Fit, sizes: Sequence[int]) -> int | None:
    """One more batch size for the fit; None if the sizes tried are enough, or if no size would help.

    It lies between the sizes that reached the target within the budget and those that did not; or further out, if steps
    still fall as 1/B at the largest size, or no longer fall at the smallest. `sizes`: the sizes in reach.
    """
    reached = [row.batch_size for row in tuned.rows]
    if not reached:
        return None
    wanted: list[float] = []
    above = [size for size in tried if size > max(reached)]
    below = [size for size in tried if size < min(reached)]
    if above:
        wanted.append(math.sqrt(max(reached) * min(above)))
    elif below:
        wanted.append(math.sqrt(min(reached) * max(below)))
    elif len(tuned.rows) > 1:
        if _slope(tuned, -2) > STEEP:
            wanted.append(min(sizes[-1], reached[-1] * PRIOR_SPREAD))
        elif _slope(tuned, 0) < FLAT:
            wanted.append(max(sizes[0], reached[0] / PRIOR_SPREAD))
    size = closest_size(sizes, wanted[0]) if wanted else None
    return None if size is None or any(1 / FAR_RATIO < size / other < FAR_RATIO for other in tried) else size


def _slope(tuned: Fit, index: int) -> float:
    """-d log S / d log B between two neighbours: 1 for perfect scaling."""
    first, second = tuned.rows[index], tuned.rows[index + 1]
    falls = math.log(first.steps.mean / second.steps.mean)
    return falls / math.log(second.batch_size / first.batch_size)


def sizes_to_confirm(tuned: Fit, sizes: Sequence[int]) -> list[int]:
    """The predicted optimum and a size on either side: half and twice as large, up to 4 times if it is uncertain.

    At an end of the range both others lie on its inner side. Without a prediction, the fastest measured size is used.
    """
    if not tuned.rows or not sizes:
        return []
    found = tuned.prediction
    best = min(tuned.rows, key=lambda row: row.seconds.mean)
    centre = closest_size(sizes, found.batch_size if found else best.batch_size)
    low = max(centre / 4, min(centre / 2, (found.low if found else None) or centre))
    high = min(centre * 4, max(centre * 2, (found.high if found else None) or centre))
    below, above = [s for s in sizes if s < centre], [s for s in sizes if s > centre]
    chosen = [centre, *([closest_size(below, low)] if below else []), *([closest_size(above, high)] if above else [])]
    if len(chosen) == 2:
        further = [s for s in below if s < min(chosen)] or [s for s in above if s > max(chosen)]
        target = centre / 4 if below else centre * 4
        chosen += [closest_size(further, target)] if further else []
    return sorted(chosen)


def _within_budget(plan: Plan, tuned: Fit) -> list[int]:
    """Sizes at which fresh seeds should reach the target well before the budget ends, by the fitted curve.

    Stricter than `in_reach`, which selects sizes worth trying: a size that barely reached the target is excluded too.
    """
    sweep, kept = plan.sweep, []
    for size in ladder(sweep):
        expected = tuned.steps(size)
        steps = steps_for(sweep.budget, size, sweep.facts.train_rows)
        if expected is not None and (steps is None or steps >= BUDGET_MARGIN * expected):
            kept.append(size)
    return kept


def _confirmation(
    plan: Plan, table: SweepTable, ways: Sequence[ComputeOption], fitted: ComputeOption
) -> tuple[Trial, ...]:
    """Confirming trials on common fresh seeds: at and around the optimum of the fastest compute option, and at the
    optimum of the cheapest.

    `fitted`: the compute option of the fit. Its optimum uses its own measured step times, not those of its probe.
    """
    tuned = fit(table, resamples=200)
    within = _within_budget(plan, tuned)
    optima = [found for way in ways if (found := optimum(way, tuned, within)) is not None]
    fastest = min(optima, key=lambda found: found.seconds, default=None)
    cheapest = min(optima, key=lambda found: found.worker_seconds, default=None)
    way, around = fitted, tuned
    is_known = any(found.way is fitted for found in optima)  # an option without timings cannot lose to a timed one
    if fastest is not None and is_known and fastest.way is not fitted:
        way = fastest.way
        predicted = Prediction(fastest.batch_size, None, None, FromProbe(), fastest.seconds)
        around = replace(tuned, prediction=predicted)
    sizes = sizes_to_confirm(around, within) or [row.batch_size for row in tuned.rows[:1]]
    chosen = [(size, way) for size in sizes]
    if cheapest is not None and cheapest.way is not way:
        chosen.append((cheapest.batch_size, cheapest.way))
    trials: list[Trial] = []
    for size, way in chosen[:MAX_CONFIRMED]:
        multiplier = multiplier_at(size, table, plan.sweep)
        trials += _trials(plan, Stage.CONFIRMATION, size, (multiplier,), fresh_seeds(plan.sweep), way)
    return tuple(trials)


def _tuned(
    plan: Plan, results: Results, sizes: Sequence[int], way: ComputeOption
) -> tuple[tuple[Trial, ...], tuple[str, ...]]:
    """The trials that tune the learning rate at each size, and those of them that have not ended.

    At the first size they are around the rule's rate; at the others, which wait for it, around the best one found. So a
    file with a poor learning rate costs extra trials at one size only, not at every size.
    """
    _, rate = auto_settings(plan.sweep)
    seeds, objective = plan.sweep.parameters.seed[:1], plan.sweep.objective
    central_first = sorted(rate.multipliers, key=lambda multiplier: abs(math.log(multiplier)))  # likely the best
    grid = list(_trials(plan, Stage.FIT, sizes[0], tuple(central_first), seeds, way))
    edges = beyond_edges(grid, results, objective, rate.extend)
    if not edges.missing:
        by_rate = {t.training.learning_rate: [results[t.id]] for t in (*grid, *edges.added)}
        best = best_rate(by_rate, objective)
        centre = 1.0 if best is None else best / rule_rate(plan.sweep, sizes[0])
        multipliers = tuple(float(f"{multiplier * centre:.6g}") for multiplier in central_first)
        grid += [t for size in sizes[1:] for t in _trials(plan, Stage.FIT, size, multipliers, seeds, way)]
        edges = beyond_edges(grid, results, objective, rate.extend)
    return (*grid, *edges.added), edges.missing


def _trials(
    plan: Plan, stage: Stage, size: int, multipliers: tuple[float, ...], seeds: tuple[int, ...], way: ComputeOption
) -> tuple[Trial, ...]:
    return baselines(
        plan.sweep,
        stage,
        batch_size=size,
        multipliers=multipliers,
        seeds=seeds,
        num_workers=way.num_workers,
        precision=way.precision,
        micro_batch_limit=way.micro_batch_limit,
    )


def _chosen(plan: Plan, trials: Sequence[Trial], results: Results) -> tuple[SeedGroup, ...]:
    """The confirmed configurations, fastest to the target first; those of the fit if none was confirmed."""
    by_id = {trial.id: trial for trial in trials}
    found = contenders(_table(plan, trials, results))
    if found:
        ordered = sorted(found, key=lambda c: (not c.is_whole, c.mean_log_seconds, c.configuration.key))
        return tuple(tuple(by_id[row.id] for row in c.configuration.rows) for c in ordered)
    objective = plan.sweep.objective
    scores = {t.id: rate_score([results[t.id]], objective) or (math.inf, 0.0, 0.0) for t in trials}
    return tuple((trial,) for trial in sorted(trials, key=lambda t: scores[t.id]))


def _fit(plan: Plan, trials: Sequence[Trial], results: Results) -> Fit:
    return fit(_table(plan, trials, results), resamples=1)


def _table(plan: Plan, trials: Sequence[Trial], results: Results) -> SweepTable:
    return make_table(stored_plan(plan, trials), results)


def _missing(trials: Iterable[Trial], results: Results) -> tuple[str, ...]:
    return tuple(trial.id for trial in trials if trial.id not in results)
