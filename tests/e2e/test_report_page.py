"""The page in a real browser: everything is drawn, nothing is loaded, nothing sticks out, nothing is executed."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.analysis.comparison import compare
from orchestrator.analysis.plan_file import StoredPlan
from orchestrator.analysis.table import make_table
from orchestrator.report.page import to_page
from tests.support.browser import Browser, needs_browser
from tests.support.sample_sweep import sample_plan, sample_results
from trainables.results import Status, TrialResult

HOSTILE = "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'>"

# The page tells its frame what it has become; the frame writes it where its document shows it.
PROBE = """<script>
const errors = [];
addEventListener('error', event => errors.push(String(event.message)));
addEventListener('securitypolicyviolation', event => errors.push(event.violatedDirective + ' ' + event.blockedURI));
addEventListener('load', () => setTimeout(() => parent.postMessage(JSON.stringify({
  errors, width: innerWidth, wanted: document.documentElement.scrollWidth, pwned: String(window.pwned),
  plots: document.querySelectorAll('.plot').length,
  drawn: document.querySelectorAll('.plot .main-svg .plotbg, .plot .main-svg .cartesianlayer').length,
  sticking: [...document.querySelectorAll('.plot svg')].filter(
    svg => svg.getBoundingClientRect().right > svg.closest('.card').getBoundingClientRect().right + 1).length,
  asked_for: performance.getEntriesByType('resource').map(entry => entry.name).filter(url => !url.startsWith('data:')),
  text: document.body.innerText}), '*'), 1500));
</script>"""
FRAME = """<body style="margin:0"><iframe src="page.html" style="width:{width}px;height:6000px;border:0"></iframe>
<pre id="out"></pre>
<script>addEventListener('message', event => document.getElementById('out').textContent = event.data)</script>"""
SAID = re.compile(r'<pre id="out">(.+?)</pre>', re.DOTALL)


def visit(browser: Browser, page: str, folder: Path, width: int) -> dict[str, Any]:
    """Open a page in a frame of a width; return what it says of itself."""
    (folder / "page.html").write_text(page.replace("<head>", f"<head>{PROBE}", 1), encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
    document = browser.visit((folder / "frame.html").as_uri(), lambda found: SAID.search(found) is not None)
    found = SAID.search(document)
    assert found is not None, "the page did not finish loading"
    said: dict[str, Any] = json.loads(html.unescape(found[1]))
    return said


def page_of(plan: StoredPlan, results: dict[str, TrialResult]) -> str:
    return to_page(compare(make_table(plan, results)))


def sample_page(**options: object) -> str:
    plan = sample_plan(**options)  # type: ignore[arg-type]
    return page_of(plan, {result.id: result for result in sample_results(plan)})


@needs_browser
@pytest.mark.parametrize("width", [400, 1280])
def test_everything_is_drawn_and_fits(browser: Browser, tmp_path: Path, width: int) -> None:
    said = visit(browser, sample_page(), tmp_path, width)
    assert said["errors"] == []
    assert said["asked_for"] == []
    assert said["width"] == width
    assert said["wanted"] <= width
    assert said["plots"] == 11  # 3 of deployment, 3 to the target, accuracy, rates, throughput, 2 of curves
    assert said["drawn"] >= said["plots"]
    assert said["sticking"] == 0
    for words in (
        "Recommended: batch",
        "Runner-up:",
        "Critical batch size",
        "To keep in mind",
        "Test data: not read yet",
    ):
        assert words in said["text"]


@needs_browser
def test_words_from_outside_stay_words(browser: Browser, tmp_path: Path) -> None:
    plan = sample_plan().model_copy(update={"name": f"a{HOSTILE}", "task": HOSTILE})
    results = {result.id: result for result in sample_results(sample_plan())}
    first = plan.trials[0].id
    results[first] = results[first].model_copy(update={"reason": HOSTILE, "warnings": (HOSTILE,)})
    said = visit(browser, page_of(plan, results), tmp_path, 1000)
    assert said["errors"] == []
    assert said["pwned"] == "undefined"
    assert "window.pwned = 1" in said["text"]
    assert said["plots"] == 11


@pytest.mark.parametrize(
    ("options", "sentences"),
    [
        ({"target": None}, ["The sweep's objective has no target"]),
        ({"target": 0.9999}, ["No trial reached val_accuracy 0.9999."]),
        ({"batch_sizes": (32,)}, ["not determined (1 batch size reached the target"]),
        ({"batch_sizes": (8, 512)}, ["No learning rate was tried at several batch sizes"]),
    ],
)
def test_what_cannot_be_drawn_is_said(options: dict[str, object], sentences: list[str]) -> None:
    page = html.unescape(sample_page(**options))
    for sentence in sentences:
        assert sentence in page


def test_many_rates_are_drawn_without_figures_and_failures_are_marked() -> None:
    few, many = (sample_page(multipliers=[2 ** (k / 4) for k in range(-n, n)], seeds=(0,)) for n in (1, 4))
    assert "is in bold" in few
    assert "has a ring" in many
    plan = sample_plan(chains=(), seeds=(0,))
    results = {result.id: result for result in sample_results(plan)}
    first = plan.trials[0].id
    results[first] = results[first].model_copy(update={"status": Status.DIVERGED, "metrics": {}})
    assert json.dumps(["✗"]) in page_of(plan, results)


def test_a_sweep_that_has_not_begun_has_a_page_too() -> None:
    page = html.unescape(page_of(sample_plan(), {}))
    for sentence in (
        "No recommendation",
        "No trial has ended yet.",
        "No compressed model has been measured",
        "No baseline has ended yet.",
        "No throughput has been measured yet.",
    ):
        assert sentence in page


def test_the_page_refers_to_nothing_outside_itself() -> None:
    page = sample_page()
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)  # what is left is ours, not the drawing library
    assert "http" not in own.replace('http-equiv="Content-Security-Policy"', "")
    assert not re.search(r"<(?:link|script|img|iframe)[^>]+(?:src|href)=\"(?!data:)", own)
    assert "default-src 'none'" in own
