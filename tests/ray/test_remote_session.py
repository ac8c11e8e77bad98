"""What is said of a job that has ended."""

from __future__ import annotations

import pytest

from orchestrator.commands.session import exit_code, job_ended_words
from orchestrator.remote.jobs import JobEnd


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        (JobEnd("SUCCEEDED", 0, ""), 0, "x has succeeded"),
        (JobEnd("STOPPED", None, "stopped"), 1, "x was stopped; submit again to resume the sweep"),
        (JobEnd("FAILED", 2, "log"), 2, "x ended as FAILED; the same command again resumes the sweep"),
        (JobEnd("FAILED", None, "no node"), 1, "x ended as FAILED: no node; the same command again resumes the sweep"),
    ],
)
def test_an_end_has_a_code_and_words(end: JobEnd, code: int, words: str) -> None:
    assert (exit_code(end), job_ended_words("x", end)) == (code, words)
