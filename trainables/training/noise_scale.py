"""The gradient noise scale: the batch size above which a gradient is more signal than noise.

    B_simple = tr(Sigma) / |G|^2        McCandlish et al. 2018 (arXiv 1812.06162), eq. 2.9 and appendix A.1

Sigma is the covariance of one example's gradient, G the mean gradient. With an effective batch of B = K b made of K
parts of b examples, n_b the mean over the parts of |g_part|^2 and n_B = |mean of the g_part|^2, these are unbiased:

    |G|^2     = (K n_B - n_b) / (K - 1)
    tr(Sigma) = B (n_b - n_B) / (K - 1)

Numerator and denominator are averaged separately over many steps and divided once, because the mean of the steps'
ratios is strongly biased. If |G|^2 is not detectably different from zero, the ratio is "unresolved"; it is never
clamped. Its interval then has no upper end; the lower end is the smallest possible value, which may suffice to show
that a batch is small.

Parts of unequal sizes b_k count with K = B mean(1/b_k), which is the number of parts when they are equal: the formulas
only use that E|g_b|^2 = |G|^2 + tr(Sigma)/b. So does a variant that divides only a small batch, for tr(Sigma), and
takes |G|^2 from the norm n_W of a larger one of W examples: |G|^2 = n_W - tr(Sigma)/W.

Doubts. The gradients must be those before clipping and after unscaling. Batch norm makes the examples of a part depend
on each other, which breaks the derivation. Parts drawn without replacement from N rows estimate |G_N|^2 - tr(Sigma)/N
in the place of |G_N|^2, G_N being the gradient over exactly those rows: give `dataset_rows` to correct it. And it is a
prior for a good batch size, not a verdict: within one training run it may change tenfold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trainables.config.training import Training

LEAST_STEPS = 3  # measured, for an interval; counted by their weights, so more of them where old ones fade
LEAST_DIVIDED_ROWS = 4  # of a batch in one piece, for it to be divided
GROWING_EVERY_STEPS = 4  # or more, as far apart as makes so many measurements of the budget:
GROWING_MEASUREMENTS = 64


def steps_between_measurements(training: Training, growth: int = 1, train_rows: int | None = None) -> int | None:
    """Every how many steps a run measures its noise scale once its batch has grown this much; None: at none.

    A batch that grows with the noise waits for an estimate, which takes four measurements or more: at the usual
    distance between them a short run is over before. So it is measured more often, which a short run feels (see
    `benchmarks/noise_scale.py --every 4`) and a long one does not. `train_rows`: for a budget in epochs.
    """
    wanted = training.noise_scale
    together = 1 if training.sync_every_steps else training.num_workers  # workers that make one gradient
    divided = training.accumulation_steps * together * growth == 1
    rows = training.batch_size // (training.num_workers // together)
    if wanted is None or (divided and rows < LEAST_DIVIDED_ROWS):
        return None
    every = wanted.divided_every_steps if divided else wanted.every_steps
    if training.batch_schedule.name != "grow_with_noise":
        return every
    rows_per_epoch = (train_rows or 0) if training.budget.unit == "epochs" else 1
    steps = training.budget.amount * rows_per_epoch / (training.batch_size * growth)
    return min(every, max(GROWING_EVERY_STEPS, int(steps / GROWING_MEASUREMENTS)))


def student_95(freedom: float) -> float:
    """Two-sided 95 % quantile of Student's t; `freedom`, the degrees of freedom, need not be whole."""
    from scipy.special import stdtrit  # a plan imports this module, and needs no quantile

    return float(stdtrit(freedom, 0.975))


@dataclass(frozen=True)
class NoiseScaleEstimate:
    """B_simple with its 95 % interval, and the averages behind it.

    Unresolved, there are only the averages and, where the noise alone is known, the least that B_simple can be: `low`.
    """

    examples: float | None  # B_simple
    low: float | None
    high: float | None  # None with a low end: the interval has no upper end
    gradient_norm_squared: float  # |G|^2
    covariance_trace: float  # tr(Sigma)
    steps: int
    unresolved: str | None = None

    @property
    def at_least(self) -> float | None:
        """B_simple or, unresolved, the least that it can be; None where nothing is known."""
        return self.low if self.examples is None else self.examples


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

    def estimate(self) -> NoiseScaleEstimate:
        """The ratio of the averages. Its interval is Fieller's (1954): all ratios r for which S - r G may be zero.

        With Student's quantile, as few steps say little of how much steps differ.
        """
        if self._steps == 0:
            return NoiseScaleEstimate(None, None, None, math.nan, math.nan, 0, "no step was measured")
        w = self._weight
        g, s = self._g / w, self._s / w
        effective = w * w / self._weight_squared  # Kish's effective number of steps
        if effective < LEAST_STEPS:
            return NoiseScaleEstimate(
                None, None, None, g, s, self._steps, f"{self._steps} steps are too few for an interval"
            )
        shrink = 1 / (effective - 1)  # variance of a mean from the variance of the steps
        var_g = max(0.0, self._gg / w - g * g) * shrink
        var_s = max(0.0, self._ss / w - s * s) * shrink
        cov = (self._gs / w - g * s) * shrink
        t2 = student_95(effective - 1) ** 2
        # (s - r g)^2 <= t^2 (var_s - 2 r cov + r^2 var_g), a quadratic in r
        a, b, c = g * g - t2 * var_g, g * s - t2 * cov, s * s - t2 * var_s
        root = math.sqrt(max(0.0, b * b - a * c))
        if g <= 0 or a <= 0:
            reason = "the mean gradient is not large enough relative to its uncertainty"
            if g <= 0:
                reason = (
                    "the mean gradient is not detectably different from zero: its squared norm is estimated below zero"
                )
            low = (
                (b - root) / a if a < 0 < c and s > 0 else None
            )  # beyond it there is no end; negative ratios cannot be
            return NoiseScaleEstimate(None, low, None, g, s, self._steps, reason)
        return NoiseScaleEstimate(s / g, max(0.0, (b - root) / a), (b + root) / a, g, s, self._steps)
