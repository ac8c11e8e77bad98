"""Labels of trials, with the settings that vary in a sweep beside batch size, learning rate, compression and seed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from orchestrator.sweep.axes import AXES
from orchestrator.sweep.spec import Sweep
from trainables.config.compression import describe_chain
from trainables.config.training import Training
from trainables.config.trial import AnyTrialConfig, ProbeConfig, TrainedConfig, VariantConfig

OPTION = "task."

Settings = tuple[Hashable, ...]  # one trial's values of the settings that its sweep varies, in a common order

# Settings that may vary: name in a sweep file and in a training -> text for one training
SETTINGS: dict[str, Callable[[Training], str]] = {
    **{axis.name: axis.words for axis in AXES},
    "budget": lambda t: f"{t.budget.amount:g} {t.budget.unit}",
}


def swept_settings(sweep: Sweep) -> tuple[str, ...]:
    """Names of the `SETTINGS`, and of task options as `task.<option>`, for which the file gives several values."""
    options = [f"{OPTION}{key}" for key in sweep.task.swept]
    return (*options, *(name for name in SETTINGS if len(getattr(sweep.parameters, name, ())) > 1))


def varying_settings(configs: Iterable[TrainedConfig]) -> list[str]:
    """Names of the settings and task options that differ between these trials."""
    configs = list(configs)
    options = dict.fromkeys(f"{OPTION}{key}" for config in configs for key in config.task.options)
    names = [*options, *SETTINGS]
    return [name for name in names if len({setting_of(config, name) for config in configs}) > 1]


def settings_of(config: TrainedConfig, names: Iterable[str]) -> Settings:
    """The values of the named settings, by which trials are grouped."""
    return tuple(setting_of(config, name) for name in names)


def setting_of(config: TrainedConfig, name: str) -> Hashable:
    """A value of the training, or of a task option; None for an option that is not given."""
    if not name.startswith(OPTION):
        value: Hashable = getattr(config.training, name)
        return value
    given = config.task.options.get(name.removeprefix(OPTION))
    return type(given), given  # 1, 1.0 and True are three values of an option


def settings_words(config: TrainedConfig, names: Iterable[str]) -> str:
    """The named settings of one trial: `group, bfloat16, 2 workers`."""
    return ", ".join(setting_words(config, name) for name in names)


def setting_words(config: TrainedConfig, name: str) -> str:
    """An option as text: a word stands alone, a number follows the option's name: `channels 32`."""
    if not name.startswith(OPTION):
        return SETTINGS[name](config.training)
    key = name.removeprefix(OPTION)
    value = config.task.options.get(key, "by default")
    return f"{key} {value}" if key not in config.task.options or not isinstance(value, str) else value


def describe(config: AnyTrialConfig, settings: Iterable[str] = ()) -> str:
    """The label of a trial, including these settings: `batch 32, rate 0.025, dropout 0.1, int8, seed 0`."""
    if isinstance(config, ProbeConfig):
        return probe_words(config)
    words = [f"batch {config.training.batch_size}", f"rate {config.training.learning_rate:.4g}"]
    words += [setting_words(config, name) for name in settings]
    if isinstance(config, VariantConfig):
        words.append(describe_chain(config.chain))
    return ", ".join([*words, f"seed {config.training.seed}"])


def probe_words(config: ProbeConfig) -> str:
    """The label of a probe: `probe, adam, bfloat16, 2 workers`."""
    words = ["probe", config.optimizer.name, config.precision]
    return ", ".join([*words, f"{config.num_workers} workers"] if config.num_workers > 1 else words)
