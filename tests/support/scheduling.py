"""Which tests run in one process when pytest-xdist divides them: those of a file, and files that share something.

pytest-xdist has groups of its own (`--dist loadgroup`), which have no effect: version 3.8 writes them into an
attribute of a test that pytest 9.2 no longer reads. Every test is a group by itself then, and no message tells.
"""

from __future__ import annotations

import re

from xdist.scheduler import LoadFileScheduling

TOGETHER = {
    "ray": re.compile(r"tests/(ray/|contract/test_executor\.py)"),  # one Ray
    "browser": re.compile(r"tests/e2e/test_(mlflow_view|report_page)\.py"),  # one Chromium
}


def group_of(nodeid: str) -> str:
    """The name of the tests that run in one process, one after another: a file's, unless files share something."""
    file = nodeid.partition("::")[0]
    return next((name for name, files in TOGETHER.items() if files.match(file)), file)


class ByWhatIsShared(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
