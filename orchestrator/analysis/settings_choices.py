"""The choices of what a sweep varies beside batch size and learning rate, each followed over the batch sizes.

A setting that is carried from one batch size to another (see orchestrator.planning.scaling) has another value at each,
and is yet one choice. It is found by its place, since a grid has the same choices in the same order at every batch
size. Where one batch size has fewer (two warm-ups may be carried to the same one), the place tells nothing, and the
values stand for themselves.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from orchestrator.analysis.table import Place, SweepTable
from orchestrator.sweep.labels import Settings
from trainables.config.trial import TrainedConfig

CARRIED = {"optimizer", "schedule"}  # settings that `carry` may change with the batch size


@dataclass(frozen=True)
class SettingsChoice:
    settings: Settings  # at the first batch size that has it
    batch_size: int | None  # which that is, where the values are others at another; None: the same at all
    example: TrainedConfig = field(compare=False, repr=False)  # with these settings


def settings_choices(table: SweepTable) -> dict[Place, SettingsChoice]:
    """Every batch size and its settings -> which of the sweep's choices they are."""
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
