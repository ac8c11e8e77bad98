"""The choices of settings other than batch size and learning rate, each tracked across batch sizes.

A setting under `carry` (see orchestrator.planning.scaling) has another value at each batch size, but is one choice. The
choice is identified by its position, since a grid has the same choices in the same order at every batch size. If a
batch size has fewer (two warm-ups may become equal there), positions do not match, and the values identify the choice.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from orchestrator.analysis.table import Place, SweepTable
from orchestrator.sweep.labels import Settings
from trainables.config.trial import TrainedConfig

CARRIED = {"optimizer", "schedule", "ema"}  # settings that `carry` may change with the batch size


@dataclass(frozen=True)
class SettingsChoice:
    settings: Settings  # at the first batch size that has it
    batch_size: int | None  # that batch size, if values differ between batch sizes; None if they are the same at all
    example: TrainedConfig = field(compare=False, repr=False)  # a configuration with these settings


def settings_choices(table: SweepTable) -> dict[Place, SettingsChoice]:
    """(batch size, settings) -> the choice that they belong to."""
    examples: dict[int, dict[Place, TrainedConfig]] = defaultdict(dict)
    for baseline in table.baselines:
        examples[baseline.training.batch_size].setdefault(table.place_of(baseline), baseline.config)
    if not CARRIED & set(table.settings) or len({len(own) for own in examples.values()}) > 1:
        return {
            place: SettingsChoice(place.settings, None, example)
            for own in examples.values()
            for place, example in own.items()
        }
    choices: dict[Place, SettingsChoice] = {}
    for alike in zip(*(own.items() for own in examples.values()), strict=True):
        first, example = alike[0]
        same = len({place.settings for place, _ in alike}) == 1
        choice = SettingsChoice(first.settings, None if same else first.batch_size, example)
        choices |= {place: choice for place, _ in alike}
    return choices
