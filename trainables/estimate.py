"""An estimate with its interval: means, shares, and the difference of two shares of the same rows."""

from __future__ import annotations

import math

from pydantic import field_validator

from trainables.config.base import FrozenResult

Z_95 = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


class Estimate(FrozenResult):
    """A number with its 95 % interval, or the reason why it has none."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None  # independent observations behind it
    note: str | None = None  # why there is no interval, or what the interval leaves out

    @field_validator("value")
    @classmethod
    def _one_nan(cls, value: float) -> float:
        """A NaN equals itself only as an object: with one for all, results that say the same are equal."""
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
        """The same of values of a metric, which may be a share: not of differences.

        Values that all are 0 or 1, as those of an accuracy, have a whole sum that is their sum of squares. Zeros alone
        are taken for an error rate's: that no row is wrong among a few does not mean that none ever is.
        """
        is_share = total == total_of_squares and float(total).is_integer() and n > 1
        return cls.of_share(round(total), n) if is_share else cls.of_mean(total, total_of_squares, n)

    @classmethod
    def of_share(cls, ones: int, n: int) -> Estimate:
        """The share of ones among `n` independent observations of 0 or 1; Wilson's score interval.

        The normal interval has no width when all are right, and says of 20 rows what it says of 20,000.
        Source: Wilson 1927, J. Am. Stat. Assoc. 22(158); recommended by Brown, Cai and DasGupta 2001, Stat. Sci. 16(2).
        scipy.stats has it too, and a test compares; but importing that takes 62 MiB of every process that evaluates an
        accuracy, in the midst of a trial whose memory is measured.
        """
        share, z2 = ones / n, Z_95**2
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
        return cls(value=share, low=max(0.0, min(share, middle - half)), high=min(1.0, max(share, middle + half)), n=n)

    @classmethod
    def of_paired_shares(cls, gained: int, lost: int, n: int) -> Estimate:
        """How much one share is above another, of the same `n` independent observations.

        `gained`: those that are 1 in the one and 0 in the other; `lost`: the other way round. The normal interval with
        one observation added to either, because none that differ among a few rows does not mean none at all.
        Source: Bonett and Price 2012, J. Educ. Behav. Stat. 37(4).
        """
        up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
        half = Z_95 * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
        value, low, high = (gained - lost) / n, max(-1.0, up - down - half), min(1.0, up - down + half)
        return cls(value=value, low=min(value, low), high=max(value, high), n=n)
