"""Estimates with intervals: means, shares, and the difference of two shares over the same rows."""

from __future__ import annotations

import math

from pydantic import field_validator

from trainables.config.base import FrozenResult

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


class Estimate(FrozenResult):
    """A number with its 95 % interval, or the reason for having none."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None  # independent observations behind it
    note: str | None = None  # why there is no interval, or which variation the interval does not cover

    @field_validator("value")
    @classmethod
    def _one_nan(cls, value: float) -> float:
        """Use one NaN object for all, as a NaN equals only itself as an object; then equal results compare equal."""
        return math.nan if math.isnan(value) else value

    @classmethod
    def exact(cls, value: float, note: str = "counted, not estimated") -> Estimate:
        return cls(value=value, note=note)

    @classmethod
    def of_mean(cls, total: float, total_of_squares: float, n: int) -> Estimate:
        """Mean of `n` independent observations, from their sum and sum of squares; normal interval."""
        mean = total / n
        if n < 2:
            return cls(value=mean, n=n, note="one observation")
        variance = max(0.0, (total_of_squares - n * mean * mean) / (n - 1))
        half = Z_95 * math.sqrt(variance / n)
        return cls(value=mean, low=mean - half, high=mean + half, n=n)

    @classmethod
    def of_values(cls, total: float, total_of_squares: float, n: int) -> Estimate:
        """The mean of a metric's values, which may be a share; not for differences.

        If all values are 0 or 1, as for an accuracy, their sum is a whole number and equals their sum of squares. If
        all are 0, they are taken for an error rate: no wrong row among a few does not mean that there never is one.
        """
        is_share = total == total_of_squares and float(total).is_integer() and n > 1
        return cls.of_share(round(total), n) if is_share else cls.of_mean(total, total_of_squares, n)

    @classmethod
    def of_share(cls, ones: int, n: int) -> Estimate:
        """The share of ones among `n` independent observations of 0 or 1; Wilson's score interval.

        The normal interval has no width if all rows are right, whether there are 20 rows or 20,000. Source: Wilson
        1927, J. Am. Stat. Assoc. 22(158); recommended by Brown, Cai and DasGupta 2001, Stat. Sci. 16(2). scipy.stats
        has it too, and a test compares both; but importing it takes 62 MiB in every process that evaluates an accuracy,
        in the middle of a trial whose memory is measured.
        """
        share, z2 = ones / n, Z_95**2
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
        return cls(value=share, low=max(0.0, min(share, middle - half)), high=min(1.0, max(share, middle + half)), n=n)

    @classmethod
    def of_paired_shares(cls, gained: int, lost: int, n: int) -> Estimate:
        """The difference of two shares over the same `n` independent observations.

        `gained`: number of observations that are 1 in the first and 0 in the second; `lost`: the opposite. The normal
        interval with one observation added to each, because no difference among a few rows does not mean none at all.
        Source: Bonett and Price 2012, J. Educ. Behav. Stat. 37(4).
        """
        up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
        half = Z_95 * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
        value, low, high = (gained - lost) / n, max(-1.0, up - down - half), min(1.0, up - down + half)
        return cls(value=value, low=min(value, low), high=max(value, high), n=n)
