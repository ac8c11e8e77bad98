"""The tasks of `auto_vs_grid.py`, each with its grid, as sweep files."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Question:
    """One task, and the grid that a careful person would run for it."""

    task: str
    metric: str
    target: float
    examples: int
    batch_sizes: tuple[int, ...]
    rate: str
    optimizer: str
    multipliers: tuple[float, ...] = (0.25, 0.5, 1, 2, 4)
    seeds: tuple[int, ...] = (0, 1, 2)
    evaluations: int = 50
    confirm_seeds: int = 4
    options: str = "{}"  # of the task

    def shortened(self) -> Question:
        """Seconds instead of minutes."""
        return replace(
            self,
            examples=self.examples // 3,
            batch_sizes=self.batch_sizes[::3],
            multipliers=(0.5, 1, 2),
            seeds=(0,),
            evaluations=20,
            confirm_seeds=2,
        )

    def sweep_text(self, *, auto: bool) -> str:
        if auto:
            sizes = f"smallest: {self.batch_sizes[0]}, largest: {self.batch_sizes[-1]}"
            batch = f"{{auto: {{{sizes}, confirm_seeds: {self.confirm_seeds}}}}}"
            axes = f"learning_rate: {{{self.rate}}}"
        else:
            batch = f"{{values: {list(self.batch_sizes)}}}"
            axes = f"learning_rate: {{{self.rate}, multipliers: {list(self.multipliers)}}}"
            axes += f"\n  seed: {{values: {list(self.seeds)}}}"
        return "\n".join(
            [
                f"name: {self.task}-{'auto' if auto else 'grid'}",
                f"task: {{name: {self.task}, options: {self.options}}}",
                f"objective: {{metric: {self.metric}, target: {self.target}}}",
                f"budget: {{examples: {self.examples}}}",
                f"evaluations: {self.evaluations}",
                "parameters:",
                f"  batch_size: {batch}",
                f"  {axes}",
                f"  optimizer: {self.optimizer}",
            ]
        )


QUESTIONS = {
    "digits_cnn": Question(
        "digits_cnn",
        "val_loss",
        0.2,
        16_000,
        (8, 16, 32, 64, 128, 256, 512),
        "base: 0.05, at_batch_size: 64, rule: linear",
        "{name: sgd, momentum: 0.9}",
    ),
    "stdlib_gpt": Question(
        "stdlib_gpt",
        "val_loss",
        2.6,  # after a third of the budget or more, so that there is something to time
        6_000,
        (4, 8, 16, 32, 64, 128, 256),
        "base: 1.2e-2, at_batch_size: 64, rule: sqrt",
        "adam",
        evaluations=25,  # they take longer than the training between them
        options="{features: 32, heads: 2, layers: 1}",
    ),
    "digits_transformer": Question(
        "digits_transformer",
        "val_loss",
        0.25,
        24_000,
        (8, 16, 32, 64, 128, 256, 512),
        "base: 1e-3, at_batch_size: 64, rule: sqrt",
        "adam",
    ),
}
