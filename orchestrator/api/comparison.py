"""The comparison of a sweep, for a notebook or a script: the value of `paretune.run` and `paretune.compare`."""

from __future__ import annotations

import html
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.analysis.comparison import SweepComparison as SweepComparison
from orchestrator.analysis.comparison import TestReading
from orchestrator.analysis.recommend import Recommendation
from trainables.errors import InputError
from trainables.storage import Storage

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure
    from torch import nn


class Comparison:
    """The results of a sweep. Its text form is the output of `paretune compare`."""

    def __init__(self, found: SweepComparison, storage: Storage) -> None:
        self._found, self._storage = found, storage

    @property
    def name(self) -> str:
        """The sweep's."""
        return self._found.table.plan.name

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial, indexed by its id: kind, settings, figures, and whether it is on the Pareto front.

        The columns are those of `paretune compare --format csv`: a figure `x` with a 95 % interval has `x_low` and
        `x_high` beside it; `configuration` is the same for trials that differ only by seed.
        """
        from orchestrator.report.export import to_table

        frame: pd.DataFrame = to_table(self._found).to_pandas()
        return frame.set_index("id")

    @property
    def pareto(self) -> pd.DataFrame:
        """The rows of `trials` on the Pareto front: variants by objective, size and latencies; without variants,
        baselines by objective and seconds of training.
        """
        return self.trials.loc[list(self._found.pareto)]

    @property
    def recommendation(self) -> Recommendation:
        """The recommended configuration, with reasons and caveats. Its `row` is None if nothing is recommended."""
        return self._found.recommendation

    @property
    def test(self) -> TestReading | None:
        """The recommended trial's figures on the test data, which `run` reads once."""
        return self._found.test_of_recommended

    @property
    def plots(self) -> tuple[str, ...]:
        """The names that `plot` accepts."""
        from orchestrator.report.plots.all_plots import all_plots

        return tuple(all_plots(self._found))

    def plot(self, name: str) -> Figure:
        """One plot of the sweep's page, as a Plotly figure. Raises InputError, with the reason, if there is none."""
        from orchestrator.report.plots.all_plots import all_plots

        plots = all_plots(self._found)
        if name not in plots:
            raise InputError(f"there is no plot {name!r}; there are: {', '.join(plots)}")
        plot = plots[name]
        if plot.figure is None:
            raise InputError(f"plot {name!r} has nothing to show: {plot.missing}")
        figure: Figure = plot.figure
        return figure.update_layout(title={"text": html.escape(plot.title)}, margin={"t": 60})

    def report(self, output: str | Path | None = None) -> Path:
        """Write the HTML page of the sweep, by default to `<name>.html` here. Returns its path."""
        from orchestrator.commands.compare import write_page

        return write_page(self._found, output)

    def load_model(self, device: str = "cpu") -> nn.Module:
        """The recommended model. Raises InputError if nothing is recommended, or if its trial has no stored model."""
        from orchestrator.api.models import model_of_trial

        row = self.recommendation.row
        if row is None:
            raise InputError(f"nothing is recommended in sweep {self.name!r}, so there is no model to load")
        return model_of_trial(row.id, self._storage, device)

    def to_dict(self) -> dict[str, Any]:
        """The content of `paretune compare --format json`, as a dict."""
        from orchestrator.report.export import to_dict

        return to_dict(self._found)

    def __str__(self) -> str:
        return self.text()

    def text(self, *, details: bool = False) -> str:
        """The output of `paretune compare`: the main points, or with `details` every figure and reason."""
        from orchestrator.commands.compare import comparison_text

        return comparison_text(self._found, details=details)

    def __repr__(self) -> str:
        row = self.recommendation.row
        return f"<Comparison of {self.name}: {len(self.trials)} trials, recommended: {row.id if row else 'none'}>"

    def _repr_html_(self) -> str:
        """The form in a notebook."""
        return f'<pre style="white-space: pre; overflow-x: auto">{html.escape(str(self))}</pre>'
