"""The gradient noise scale: how large a batch must be before its gradient is more signal than noise.

    B_simple = tr(Sigma) / |G|^2        McCandlish et al. 2018 (arXiv 1812.06162), eq. 2.9 and appendix A.1

Sigma is the covariance of one example's gradient, G the mean gradient. With an effective batch of B = K b made of K
parts of b examples, n_b the mean over the parts of |g_part|^2 and n_B = |mean of the g_part|^2, these are unbiased:

    |G|^2     = (K n_B - n_b) / (K - 1)
    tr(Sigma) = B (n_b - n_B) / (K - 1)

Numerator and denominator are averaged apart over many steps and divided once: the mean of the steps' ratios is badly
wrong. When |G|^2 cannot be told from zero the ratio is "unresolved", and says so; it is never clamped. Parts of unequal
sizes b_k count with K = B mean(1/b_k), which is the number of parts when they are equal: the formulas only use that
E|g_b|^2 = |G|^2 + tr(Sigma)/b. So does a variant that divides only a small batch, for tr(Sigma), and takes |G|^2 from
the norm n_W of a larger one of W examples: |G|^2 = n_W - tr(Sigma)/W.

Doubts. The gradients must be those before clipping and after unscaling. Batch norm makes the examples of a part depend
on each other, which breaks the derivation. Parts drawn without replacement from N rows estimate |G_N|^2 - tr(Sigma)/N
in the place of |G_N|^2, G_N being the gradient over exactly those rows: give `dataset_rows` to correct it. And it is a
prior for a good batch size, not a verdict: within one training run it may change tenfold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trainables.results import Z_95


@dataclass(frozen=True)
class NoiseScale:
    """B_simple with its 95 % interval, and the averages behind it. All None but the averages when unresolved."""

    examples: float | None  # B_simple
    low: float | None
    high: float | None  # None with a low end: the interval has no upper end
    gradient_norm_squared: float  # |G|^2
    covariance_trace: float  # tr(Sigma)
    steps: int
    unresolved: str | None = None


class NoiseScaleMeter:
    """Averages the two estimators over steps. `half_life`, in steps, lets old steps fade; None weighs all alike.

    Keeps weighted sums only: first and second moments of the pair (|G|^2, tr Sigma), enough for Fieller's interval.
    """

    def __init__(self, *, half_life: float | None = None, dataset_rows: int | None = None) -> None:
        self._keep = 1.0 if half_life is None else 0.5 ** (1 / half_life)
        self._rows = dataset_rows
        self._steps = 0
        self._weight = self._weight_squared = 0.0
        self._g = self._s = self._gg = self._ss = self._gs = 0.0

    def add(
        self,
        part_norm_squared: float,
        batch_norm_squared: float,
        *,
        parts: float,
        batch_size: int,
        larger: tuple[float, int] | None = None,
    ) -> None:
        """One step: n_b, n_B, K and B of the module's formulas, and (n_W, W) where there is a larger batch.

        Raises ValueError unless K is above 1.
        """
        if parts <= 1:
            raise ValueError(f"the noise scale needs parts smaller than the batch; with K = {parts:g} there are none")
        noise = batch_size * (part_norm_squared - batch_norm_squared) / (parts - 1)
        whole_norm_squared, whole_size = larger or (batch_norm_squared, batch_size)
        signal = whole_norm_squared - noise / whole_size
        if self._rows is not None:
            signal += noise / self._rows
        keep = self._keep
        self._steps += 1
        self._weight = keep * self._weight + 1
        self._weight_squared = keep * keep * self._weight_squared + 1
        self._g = keep * self._g + signal
        self._s = keep * self._s + noise
        self._gg = keep * self._gg + signal * signal
        self._ss = keep * self._ss + noise * noise
        self._gs = keep * self._gs + signal * noise

    def state(self) -> list[float]:
        """All that was seen, for a checkpoint."""
        return [self._steps, self._weight, self._weight_squared, self._g, self._s, self._gg, self._ss, self._gs]

    def restore(self, state: Sequence[float]) -> None:
        """Go on from what `state` gave."""
        steps, *sums = state
        self._steps = int(steps)
        self._weight, self._weight_squared, self._g, self._s, self._gg, self._ss, self._gs = sums

    def estimate(self) -> NoiseScale:
        """The ratio of the averages. Its interval is Fieller's (1954): all ratios r for which S - r G may be zero."""
        if self._steps == 0:
            return NoiseScale(None, None, None, math.nan, math.nan, 0, "no step was measured")
        w = self._weight
        g, s = self._g / w, self._s / w
        effective = w * w / self._weight_squared  # Kish's effective number of steps
        if effective < 3:
            return NoiseScale(None, None, None, g, s, self._steps, f"{self._steps} steps are too few for an interval")
        shrink = 1 / (effective - 1)  # variance of a mean from the variance of the steps
        var_g = max(0.0, self._gg / w - g * g) * shrink
        var_s = max(0.0, self._ss / w - s * s) * shrink
        cov = (self._gs / w - g * s) * shrink
        z2 = Z_95**2
        if g <= 0:
            reason = "the mean gradient cannot be told from zero: its squared norm is estimated below zero"
            return NoiseScale(None, None, None, g, s, self._steps, reason)
        # (s - r g)^2 <= z^2 (var_s - 2 r cov + r^2 var_g), a quadratic in r
        a, b, c = g * g - z2 * var_g, g * s - z2 * cov, s * s - z2 * var_s
        root = math.sqrt(max(0.0, b * b - a * c))
        if a <= 0:
            reason = "the mean gradient is not large enough beside its own uncertainty"
            return NoiseScale(None, None, None, g, s, self._steps, reason)
        return NoiseScale(s / g, max(0.0, (b - root) / a), (b + root) / a, g, s, self._steps)
