"""Figures as text: units, significant digits, intervals. The name of a metric tells its unit."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from orchestrator.analysis.pooling import Scale
from orchestrator.analysis.statistics import Difference, Summary, Verdict
from orchestrator.sweep.spec import Objective
from orchestrator.text import plural as plural


def unit_of(metric: str) -> tuple[float, str]:
    """(divisor, unit) for showing a metric: bytes as kB, seconds as s. A plain number has no unit."""
    if metric.endswith("_bytes"):
        return 1000.0, "kB"
    if re.search(r"_ms(_|$)", metric):  # latency_p50_ms_batch_1, and not a mean squared error
        return 1.0, "ms"
    if metric.endswith("_seconds"):
        return 1.0, "s"
    return 1.0, ""


def number(value: float, digits: int = 3) -> str:
    """A number with `digits` significant digits, but never cut before the decimal point: 0.0123, 4.56, 12,345."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    scientific = f"{value:.{digits - 1}e}"
    exponent = int(scientific.partition("e")[2])  # of the rounded number: 99.96 is 100
    if not -5 < exponent < 15:
        return scientific
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def quantity(metric: str, value: float, digits: int = 3) -> str:
    """A metric's value with its unit: `112 kB`, `0.41 ms`, `0.962`."""
    divisor, unit = unit_of(metric)
    return f"{number(value / divisor, digits)} {unit}".rstrip()


def with_interval(value: float, half_width: float | None, divisor: float = 1.0) -> str:
    """`0.962 ± 0.014`, `0.972 ± 0.006`: the value gets as many decimals as its interval; `0.962` without one.

    Digits of the interval as the Particle Data Group rounds errors: two if they begin with 10 to 35, one otherwise.
    """
    value /= divisor
    if half_width is None or not math.isfinite(half_width) or not math.isfinite(value):
        return number(value)
    half_width /= divisor
    if half_width == 0:
        return f"{number(value)} ± 0"
    exponent = math.floor(math.log10(half_width))
    leading = half_width / 10**exponent
    decimals = max(0, (1 if leading < 3.55 else 0) - exponent)
    if decimals >= 7:
        return f"{value:.3e} ± {half_width:.1e}"
    return f"{value:z,.{decimals}f} ± {half_width:,.{decimals}f}"  # z: what rounds to zero has no sign


def summary_words(metric: str, summary: Summary | None, *, unit: bool = True) -> str:
    """A configuration's figure, with its interval if it has one; `-` if there is none."""
    if summary is None:
        return "-"
    divisor, name = unit_of(metric)
    text = with_interval(summary.mean, summary.half_width, divisor)
    return f"{text} {name}".rstrip() if unit else text


def signed(metric: str, value: float) -> str:
    """A difference, with its sign: `+0.003`, `-12 kB`."""
    return ("+" if value >= 0 else "") + quantity(metric, value, 2)


def paired_words(difference: Difference) -> str:
    """The basis of a verdict over seeds: `paired over 2 seeds, variance pooled over 8 configurations (...)`."""
    pairs, spread = f"paired over {difference.pairs} seeds", difference.spread
    if spread is None:
        return pairs
    if spread.outlying:
        return f"{pairs}; variance not pooled, as one of the two varies far more over seeds than other configurations"
    if spread.configurations == 2:
        return pairs
    scale = "" if spread.scale is Scale.PLAIN else f" on the {spread.scale} scale"
    return (
        f"{pairs}, variance pooled over {spread.configurations} configurations{scale} "
        f"({spread.degrees:.3g} degrees of freedom)"
    )


def one_seed_words(difference: Difference) -> str:
    """What is known, and what is not, about two configurations with one seed each."""
    if difference.p_rows is None:
        return "not determined (one seed)"
    unknown = "one seed cannot show whether the settings differ"
    p_value = f"(p = {difference.p_rows:.2g})"
    if difference.rows_verdict is Verdict.NO_DIFFERENCE:
        return f"not determined (one seed): the validation rows do not tell these two trained models apart {p_value}"
    return f"these two trained models differ on the validation rows {p_value}; {unknown}"


def target_words(objective: Objective) -> str:
    """`val_accuracy 0.95`; without a target the metric alone."""
    return objective.metric if objective.target is None else f"{objective.metric} {objective.target:g}"


def enumeration(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
