"""The site of the documentation is built without a warning, and a browser that opens it asks no other machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.snippets import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def test_every_page_of_the_site_is_there_and_carries_all_that_it_shows(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    fetched = (
        r'<(?:script|img|iframe|source)[^>]+src="(?:https?:)?//|<link[^>]+rel="stylesheet"[^>]+href="(?:https?:)?//'
    )
    assert [page.name for page in pages if re.search(fetched, page.read_text())] == []


def test_what_is_generated_and_what_is_included_is_on_the_pages(site: Path) -> None:
    assert "gradient_clip_norm" in (site / "reference/sweep-file/index.html").read_text()
    assert "BreastCancer" in (site / "guides/own-task/index.html").read_text()
    assert "paretune doctor" in (site / "reference/command-line/index.html").read_text()
    assert not list(site.rglob("*.py"))
