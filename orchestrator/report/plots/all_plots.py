"""Every plot of the page, by its name."""

from __future__ import annotations

from orchestrator.analysis.comparison import SweepComparison
from orchestrator.report.plots.deployment import Plot, deployment_plots
from orchestrator.report.plots.rates import rate_plots
from orchestrator.report.plots.training import accuracy_plot, curve_plots, speed_plot, target_plots


def all_plots(comparison: SweepComparison) -> dict[str, Plot]:
    """All plots, in the order of the page."""
    plots = [
        *deployment_plots(comparison),
        *target_plots(comparison),
        accuracy_plot(comparison),
        *rate_plots(comparison),
        speed_plot(comparison),
        *curve_plots(comparison),
    ]
    return {plot.name: plot for plot in plots}
