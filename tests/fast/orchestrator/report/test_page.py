"""The page's words and figures are data to it, never HTML."""

from __future__ import annotations

import json
import re

from orchestrator.analysis.comparison import compare
from orchestrator.analysis.table import make_table
from orchestrator.report.page import to_page
from tests.support.sample_sweep import sample_plan, sample_results

HOSTILE = "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>"


def test_names_reasons_and_warnings_are_escaped_wherever_they_are_shown() -> None:
    plan = sample_plan().model_copy(update={"name": f"a: {HOSTILE}", "task": HOSTILE})
    results = {result.id: result for result in sample_results(sample_plan())}
    for id, result in results.items():
        results[id] = result.model_copy(update={"reason": HOSTILE, "warnings": (HOSTILE,)})
    page = to_page(compare(make_table(plan, results)))
    assert page.startswith("<!DOCTYPE html>")
    assert HOSTILE not in page
    assert "<script>window.pwned" not in page
    assert "<h1>Sweep a: &lt;/script&gt;" in page


def test_a_figure_cannot_end_its_script() -> None:
    """Its texts carry markup of Plotly's: the `<` of it, as of any other, is written as JSON's number."""
    plan = sample_plan(chains=(), seeds=(0,))
    page = to_page(compare(make_table(plan, {result.id: result for result in sample_results(plan)})))
    figures = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    assert any("<b>" in str(json.loads(figure)) for figure in figures)
    assert not any("<" in figure for figure in figures)


def test_the_recommended_configuration_is_marked_in_its_table() -> None:
    plan = sample_plan()
    page = to_page(compare(make_table(plan, {result.id: result for result in sample_results(plan)})))
    assert page.count('<tr class="chosen">') == 1
