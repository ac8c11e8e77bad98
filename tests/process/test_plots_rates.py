"""The plot of learning rates against batch sizes: every rate that was tried is there, also one without a figure."""

from __future__ import annotations

import pytest

from orchestrator.analysis.comparison import compare
from orchestrator.analysis.table import make_table
from orchestrator.report.plots.rates import FAILED_MARK, STOPPED, rate_plots
from tests.support.sample_sweep import sample_plan, sample_results
from trainables.results import Status


@pytest.mark.parametrize(("status", "mark"), [(Status.STOPPED_EARLY, STOPPED), (Status.DIVERGED, FAILED_MARK)])
def test_a_rate_without_a_figure_says_why(status: Status, mark: str) -> None:
    plan = sample_plan()
    lost = plan.trials[0].config.training
    results = {}
    for result in sample_results(plan):
        training = result.config.training  # type: ignore[union-attr]
        same = (training.batch_size, training.learning_rate) == (lost.batch_size, lost.learning_rate)
        if same and result.kind == "baseline":
            result = result.model_copy(update={"status": status, "metrics": {}})
        results[result.id] = result
    (plot,) = rate_plots(compare(make_table(plan, results)))
    assert plot.figure is not None
    (unread,) = [trace for trace in plot.figure.data if trace.type == "scatter"]
    marks = [(text, str(x)) for text, x in zip(unread.text, unread.x, strict=True)]
    assert marks == [(mark, str(lost.batch_size))]
    assert f"{mark} " in plot.caption or f"{mark} marks" in plot.caption
