"""The ready-made view in a real browser: MLflow's format for it is internal, so only looking can tell that it holds."""

import re

import pytest
from mlflow.tracking import MlflowClient

from orchestrator.planning.expand import expand
from orchestrator.recording.journal import Journal
from orchestrator.recording.mlflow.recorder import Recorder
from orchestrator.recording.mlflow.run_record import NOTE_TAG, RECOMMENDED_TAG
from orchestrator.recording.mlflow.server import mlflow_server
from orchestrator.recording.mlflow.shipper import Shipper
from orchestrator.recording.mlflow.views import experiment_tags, view_state, view_url
from orchestrator.sweep.plan import Plan, Trial
from orchestrator.sweepfile.load import load_sweep
from tests.support import made_up
from tests.support.browser import Browser, needs_browser, visible_text
from tests.support.places import ROOT
from tests.support.recorded import MLFLOW_WARNINGS, runs, storage_with_database
from trainables.storage import Storage

AXIS_TITLE = re.compile(r'class="[xy]title"[^>]*>([^<]+)<')
EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.filterwarnings(*MLFLOW_WARNINGS)


@needs_browser
def test_the_view_shows_the_runs_and_the_charts_of_a_sweep(tmp_path, database, browser: Browser):
    storage = storage_with_database(tmp_path / "storage", database)
    plan = expand(load_sweep(EXAMPLES / "digits.yaml"))
    record(storage, plan)
    recorded = runs(MlflowClient(f"sqlite:///{storage.root}/mlflow.db"), "digits").items()
    assert [trial for trial, run in recorded if RECOMMENDED_TAG in run.data.tags] == [plan.trials[0].id]
    axes = {"val_accuracy", "latency_p50_ms_batch_1", "artifact_bytes", "log2_batch_size", "examples"}
    words = [
        *("B=16 lr=0.00625 seed 0", "int8 of B=16 lr=0.00625 seed 0", "B=256 lr=0.1 seed 0"),
        *("Here stands the recommendation.", "trials: 9 completed", "its data or code: 1"),
        *("Compressed models", "Batch sizes"),
    ]

    def missing(page: str) -> set[str]:
        return {word for word in words if word not in page} | (axes - set(AXIS_TITLE.findall(page)))

    with mlflow_server(f"sqlite:///{storage.root}/mlflow.db") as (server, _):
        experiment = MlflowClient(server).get_experiment_by_name("digits")
        assert experiment is not None
        url = view_url(server, experiment.experiment_id)
        page = browser.visit(url, lambda page: not missing(page))
        columns = {plan.trials[0].id, "paretune.trial"}  # of the tags, the first: what is out of sight is not drawn
        table = browser.visit(url.replace("=CHART", "=TABLE"), lambda page: all(word in page for word in columns))
    assert missing(page) == set(), visible_text(page)[:2000]
    assert [word for word in columns if word not in table] == [], visible_text(table)[:2000]


def record(storage: Storage, plan: Plan) -> None:
    baselines = [trial for trial in plan.trials if trial.config.training.seed == 0]
    with Journal(storage, plan.sweep.name) as journal:
        recorder = Recorder(journal, f"sqlite:///{storage.root}/mlflow.db", plan)
        for trial in [*baselines, made_up.variant(baselines[0])]:  # which the plan does not know: 18 trials decide
            journal.started(trial)
            journal.ended(made_up.result(trial))
        assert recorder.close(note="Here stands the recommendation.", recommended=baselines[0].id) is None


def test_one_run_is_marked_as_recommended_whatever_came_before(tmp_path, database, monkeypatch):
    storage = storage_with_database(tmp_path / "storage", database)
    uri = f"sqlite:///{storage.root}/mlflow.db"
    client, (first, second) = MlflowClient(uri), (made_up.baseline(8), made_up.baseline(16))

    def marked() -> list[str]:
        return [trial for trial, run in runs(client, "s").items() if RECOMMENDED_TAG in run.data.tags]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with Journal(storage, "s") as journal:
        for trial in (first, second):
            journal.started(trial)
            journal.ended(made_up.result(trial))
        shipper = Shipper(journal, uri)
        shipper.connect()
        for trial in (first, second):
            shipper.ship(trial.id)
        for chosen in (first.id, first.id, second.id):
            shipper.recommend(chosen)
            assert marked() == [chosen]
        with monkeypatch.context() as patch:
            patch.setattr(MlflowClient, "set_tag", killed)
            with pytest.raises(KeyboardInterrupt):
                shipper.recommend(first.id)
        assert marked() == []  # never two
        again = Shipper(journal, uri)
        again.connect()
        again.recommend(first.id)
        assert marked() == [first.id]
        client.delete_run(runs(client, "s")[second.id].info.run_id)
        again.recommend(second.id)  # a person did not want to see it
        again.recommend(None)
        assert marked() == []


def test_a_finished_sweep_that_chooses_otherwise_says_so_in_mlflow_and_one_that_does_not_is_left(tmp_path, database):
    storage = storage_with_database(tmp_path / "storage", database)
    file, uri = tmp_path / "storage" / "mlflow.db", f"sqlite:///{storage.root}/mlflow.db"
    plan = expand(load_sweep(EXAMPLES / "digits.yaml"))
    first, second = plan.trials[:2]

    def conclude(note: str, recommended: str | None, *ended: Trial) -> bytes:
        with Journal(storage, "digits") as journal:
            recorder = Recorder(journal, uri, plan)
            for trial in ended:
                journal.started(trial)
                journal.ended(made_up.result(trial))
            assert recorder.close(note=note, recommended=recommended) is None
        return file.read_bytes()

    def shown() -> tuple[str, list[str]]:
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name("digits")
        assert experiment is not None
        marked = [trial for trial, run in runs(client, "digits").items() if RECOMMENDED_TAG in run.data.tags]
        return experiment.tags[NOTE_TAG].splitlines()[0], marked

    before = conclude("The first.", first.id, first, second)
    assert shown() == ("The first.", [first.id])
    assert conclude("The first.", first.id) == before
    after = conclude("The second.", second.id)  # another goal in the file, say: no trial is to be run
    assert shown() == ("The second.", [second.id])
    assert conclude("The second.", second.id) == after
    conclude("None meets the goals.", None)
    assert shown() == ("None meets the goals.", [])


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
