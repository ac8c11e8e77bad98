"""The notebook of examples/ runs from its first cell to its last, with Ray and MLflow as a user has them."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.places import ROOT

NOTEBOOK = ROOT / "examples/from_python.ipynb"


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")  # of the client that runs the notebook, not of what is tested
def test_the_notebook_shows_its_progress_a_table_a_plot_and_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PARETUNE_STORAGE", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}}).execute()
    planned, ran, compared, trials, plot, model = [
        cell.outputs for cell in notebook.cells if cell.cell_type == "code" and "import paretune" not in cell.source
    ]
    assert "sqrt from 0.003 at 32" in planned[0].data["text/html"]
    progress = "".join(output.text for output in ran if output.output_type == "stream")
    assert progress.count("started  ") == 4
    assert "4 of 4 done" in progress
    assert "Recommended" in compared[0].data["text/html"]
    assert trials[0].data["text/html"].count("<tr>") == 5
    assert [trace["type"] for trace in plot[0].data["application/vnd.plotly.v1+json"]["data"]]
    assert model[0].data["text/plain"].startswith("tensor(")
    assert (tmp_path / "paretune-results/sweeps/notebook/plan.json").exists()
