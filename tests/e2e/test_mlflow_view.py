"""The ready-made view in a real browser: MLflow's format for it is internal, so only looking can tell that it holds."""

import re
from pathlib import Path

import made_up
import pytest
from browser import needs_browser, visible_text, visit
from mlflow.tracking import MlflowClient
from recorded import MLFLOW_WARNINGS, storage_with_database

from orchestrator.plan import Plan
from orchestrator.planning.expand import expand
from orchestrator.recording.journal import Journal
from orchestrator.recording.mlflow_server import mlflow_server
from orchestrator.recording.recorder import Recorder
from orchestrator.recording.views import experiment_tags, view_state, view_url
from orchestrator.spec import load_sweep
from trainables.storage import Storage

AXIS_TITLE = re.compile(r'class="[xy]title"[^>]*>([^<]+)<')
EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.filterwarnings(*MLFLOW_WARNINGS)


@needs_browser
def test_the_view_shows_the_runs_and_the_charts_of_a_sweep(tmp_path, database):
    storage = storage_with_database(tmp_path / "storage", database)
    plan = expand(load_sweep(EXAMPLES / "digits.yaml"))
    record(storage, plan)
    axes = {"val_accuracy", "latency_p50_ms_batch_1", "artifact_bytes", "log2_batch_size", "examples"}
    words = [
        *("B=16 lr=0.00625 seed 0", "int8 of B=16 lr=0.00625 seed 0", "B=256 lr=0.1 seed 0"),
        *("Here stands the recommendation.", "trials: 10 completed", "Compressed models", "Batch sizes"),
    ]

    def missing(page: str) -> set[str]:
        return {word for word in words if word not in page} | (axes - set(AXIS_TITLE.findall(page)))

    with mlflow_server(f"sqlite:///{storage.root}/mlflow.db") as (server, _):
        experiment = MlflowClient(server).get_experiment_by_name("digits")
        assert experiment is not None
        page = visit(view_url(server, experiment.experiment_id), lambda page: not missing(page))
    assert missing(page) == set(), visible_text(page)[:2000]


def record(storage: Storage, plan: Plan) -> None:
    baselines = [trial for trial in plan.trials if trial.config.training.seed == 0]
    with Journal(storage, plan.sweep.name) as journal:
        recorder = Recorder(journal, f"sqlite:///{storage.root}/mlflow.db", plan)
        for trial in [*baselines, made_up.variant(baselines[0])]:
            journal.started(trial)
            journal.ended(made_up.result(trial))
        assert recorder.close(note="Here stands the recommendation.") is None


@pytest.mark.parametrize("example", ["digits.yaml", "stdlib_gpt.yaml"])
def test_the_tags_of_an_experiment_fit(example):
    """Within MLflow's limit, whatever a sweep says; older servers take a quarter of it."""
    plan = expand(load_sweep(EXAMPLES / example))
    tags = experiment_tags(plan, {}, note="x" * 100_000)
    assert len(tags["mlflow.sharedViewState.paretune"]) < 5_000
    assert len(tags["mlflow.note.content"]) == 20_000


@pytest.mark.parametrize("example", ["digits.yaml", "auto.yaml"])
def test_no_section_of_the_view_is_empty_and_no_chart_without_one(example):
    state = view_state(expand(load_sweep(EXAMPLES / example)))
    sections = [section["uuid"] for section in state["compareRunSections"]]
    charts = [chart["metricSectionId"] for chart in state["compareRunCharts"]]
    assert set(charts) == set(sections) - {"metrics"}  # which MLflow fills
    assert charts == sorted(charts, key=sections.index)
