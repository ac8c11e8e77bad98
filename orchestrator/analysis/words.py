"""Figures in words: units, sensible digits, intervals. The unit of a metric is read off its name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence

from orchestrator.analysis.statistics import Summary
from orchestrator.problems import plural as plural
from orchestrator.spec import Objective
from trainables.config import TrainedConfig
from trainables.training_config import BatchSchedule, DataOrder, Optimizer, Schedule, Training

OPTION = "task."

# What a table says beside batch size and learning rate, where a sweep varies it: name -> the words for one training
SETTINGS: dict[str, Callable[[Training], str]] = {
    "precision": lambda t: t.precision,
    "workers": lambda t: plural(t.num_workers, "worker"),
    "optimizer": lambda t: _options(t.optimizer),
    "schedule": lambda t: _options(t.schedule),
    "sharding": lambda t: t.sharding,
    "data order": lambda t: _options(t.data_order),
    "batch schedule": lambda t: _options(t.batch_schedule),
    "synchronisation": lambda t: "every step" if t.sync_every_steps is None else f"every {t.sync_every_steps} steps",
    "clipping": lambda t: "no clipping" if t.gradient_clip_norm is None else f"clip {t.gradient_clip_norm:g}",
    "budget": lambda t: f"{t.budget.amount:g} {t.budget.unit}",
}


def unit_of(metric: str) -> tuple[float, str]:
    """(divisor, unit) in which a metric is shown: bytes as kB, seconds as s. A plain number has no unit."""
    if metric.endswith("_bytes"):
        return 1000.0, "kB"
    if re.search(r"_ms(_|$)", metric):  # latency_p50_ms_batch_1, and not a mean squared error
        return 1.0, "ms"
    if metric.endswith("_seconds"):
        return 1.0, "s"
    return 1.0, ""


def number(value: float, digits: int = 3) -> str:
    """A number on its own: `digits` significant digits, whole above that, thousands marked: 0.0123, 4.56, 12,345."""
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


def target_words(objective: Objective) -> str:
    """`val_accuracy 0.95`; without a target the metric alone."""
    return objective.metric if objective.target is None else f"{objective.metric} {objective.target:g}"


def listing(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def varying_settings(configs: Iterable[TrainedConfig]) -> list[str]:
    """Names of the `SETTINGS`, and of the task's options as `task.<option>`, that differ between these trials."""
    configs = list(configs)
    options = dict.fromkeys(f"{OPTION}{key}" for config in configs for key in config.task.options)
    names = [*options, *SETTINGS]
    return [name for name in names if len({_setting_words(config, name) for config in configs}) > 1]


def settings_words(config: TrainedConfig, names: Iterable[str]) -> str:
    """The named settings of one trial: `group, bfloat16, 2 workers`."""
    return ", ".join(_setting_words(config, name) for name in names)


def _setting_words(config: TrainedConfig, name: str) -> str:
    """A word stands for itself; a number needs the name of its option: `channels 32`."""
    if not name.startswith(OPTION):
        return SETTINGS[name](config.training)
    key = name.removeprefix(OPTION)
    value = config.task.options.get(key, "by default")
    return f"{key} {value}" if key not in config.task.options or not isinstance(value, str) else value


def _options(choice: Optimizer | Schedule | BatchSchedule | DataOrder) -> str:
    """A choice and what is set otherwise than by default: `adamw weight_decay=0.1`."""
    changed = choice.model_dump(exclude={"name"}, exclude_defaults=True)
    return " ".join([choice.name, *(f"{key}={_plain(value)}" for key, value in changed.items())])


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, int | float) else str(value)
