"""The text of a sweep that wants more workers than this machine has."""

from __future__ import annotations

from tests.support.sweep_text import sweep_text

PARAMETERS = "{{batch_size: 4096, micro_batch_size: 1, learning_rate: 0.1, num_workers: 4096, precision: {precision}}}"


def text(precision: str = "float32", **sections: str) -> str:
    parameters = PARAMETERS.format(precision=precision)
    budget = "{steps: 10}"
    return sweep_text(
        task="stdlib_gpt",
        objective="{metric: val_loss}",
        parameters=parameters,
        budget=budget,
        goals=None,
        compression=None,
        **sections,
    )
