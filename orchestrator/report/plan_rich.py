"""The plan in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from orchestrator.report.plan_table import PlanTable

RIGHT_ALIGNED = {"learning_rate", "workers", "seed", "steps", "examples"}


def print_table(table: PlanTable) -> None:
    """Columns fold at the terminal's width; ids never do, since people copy them."""
    grid = Table(title=table.title, title_justify="left", title_style="bold", header_style="bold", box=None)
    for column in table.columns:
        right = column in RIGHT_ALIGNED
        grid.add_column(column, justify="right" if right else "left", no_wrap=column == "id", overflow="fold")
    for row in table.rows:
        grid.add_row(*row)
    Console().print(grid, "")
