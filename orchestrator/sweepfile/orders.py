"""Whether the training data can be sorted as a sweep asks for: its columns are looked at before anything is spent."""

from __future__ import annotations

from orchestrator.plan import Plan
from trainables.config import ProbeConfig, SortedBy, TaskConfig
from trainables.data.fingerprint import default_cache


def check_orders(plan: Plan) -> None:
    """Raises ValueError for the first `data_order` whose column is not there. Looks only where rows are sorted."""
    asked: dict[str, tuple[TaskConfig, SortedBy]] = {}
    for trial in plan.trials:
        config = trial.config
        if not isinstance(config, ProbeConfig) and isinstance(order := config.training.data_order, SortedBy):
            asked[f"{config.task.options} {order.column}"] = (config.task, order)
    if not asked:
        return
    from orchestrator.sweepfile.preview import preview
    from trainables.data import DataError
    from trainables.data.order import row_order
    from trainables.data.sources import resolve
    from trainables.tasks import load_task
    from trainables.tasks.load import home_folder

    for chosen, order in asked.values():
        task = load_task(chosen.name, chosen.options, plan.sweep.facts.search_path)
        try:
            row_order(order, preview(resolve(task.train, home_folder(task, "train")), default_cache()))
        except DataError as error:
            raise ValueError(f"parameters.data_order: {error}") from None
