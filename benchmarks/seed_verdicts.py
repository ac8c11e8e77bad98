"""How often a comparison over few seeds is wrong, and how much it sees: `python benchmarks/seed_verdicts.py`.

Configurations that differ in nothing but how far their seeds spread are compared as a sweep compares them; of 100 pairs
so many are called different (at most 6 are to be), of 100 intervals so many cover the truth, and of 100 configurations
that are really 6 standard deviations apart so many are told. Beside it: the two configurations' own seeds alone. Under
`any`: of 100 sweeps, those in which anything is called worse than the best, after Holm; the best was chosen by the
figures that it is compared on, which no correction over the others makes up for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from record import recorded

from orchestrator.analysis.statistics import Difference, corrected, paired_difference

SPREADS = (
    "equal",
    "half three times",
    "half ten times",
    "one three times",
    "one ten times",
    "lognormal 0.5",
    "one hundred times",
)


def spreads(kind: str, count: int, draw: np.random.Generator) -> np.ndarray:
    """Standard deviations over seeds, shape [configurations]."""
    found = np.ones(count)
    match kind.split():
        case ["half", times, _]:
            found[count // 2 :] = {"three": 3, "ten": 10}[times]
        case ["one", times, _]:
            found[-1] = {"three": 3, "ten": 10, "hundred": 100}[times]
        case ["lognormal", sigma]:
            found = np.exp(draw.normal(0, float(sigma), count))
    return found


def compared(values: np.ndarray, one: int, other: int, *, pooled: bool = True) -> Difference:
    """Of `values`, shape [configurations, seeds]."""
    rows = [dict(enumerate(row)) for row in values.tolist()]
    others = [row for index, row in enumerate(rows) if index not in (one, other)] if pooled else []
    difference = paired_difference(rows[one], rows[other], "max", others)
    assert difference is not None
    return difference


def share(wrong: Sequence[bool]) -> str:
    return f"{100 * sum(wrong) / len(wrong):5.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000)
    draws = parser.parse_args().draws
    print("seeds configurations spread             false  alone  covered    any  told  alone")
    for seeds in (2, 3, 5):
        for count in (3, 4, 8, 16):
            for kind in SPREADS:
                draw = np.random.default_rng([seeds, count, SPREADS.index(kind)])
                found: dict[str, list[bool]] = {
                    name: [] for name in ("false", "own", "covered", "any", "told", "told own")
                }
                for _ in range(draws):
                    values = draw.normal(size=(count, seeds)) * spreads(kind, count, draw)[:, None]
                    one, other = draw.choice(count, 2, replace=False)
                    difference = compared(values, one, other)
                    found["false"].append((difference.p_value or 0) < 0.05)
                    found["own"].append((compared(values, one, other, pooled=False).p_value or 0) < 0.05)
                    found["covered"].append((difference.low or 0) <= 0 <= (difference.high or 0))
                    best = int(values.mean(1).argmax())
                    against = corrected([compared(values, i, best) for i in range(count) if i != best])
                    found["any"].append(any(d is not None and (d.p_value or 0) < 0.05 for d in against))
                    values[one] += 6
                    found["told"].append((compared(values, one, other).p_value or 0) < 0.05)
                    found["told own"].append((compared(values, one, other, pooled=False).p_value or 0) < 0.05)
                figures = "  ".join(share(each) for each in found.values())
                print(f"{seeds:5} {count:14} {kind:18} {figures}", flush=True)


if __name__ == "__main__":
    sys.exit(recorded(main))
