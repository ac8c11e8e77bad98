"""How long a run took, folder by folder, file by file, and which tests took long: for people to read and compare."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from pathlib import Path

import pytest

SHOWN_S = 1.0  # a test that takes less is not listed by itself


class Durations:
    """A plugin of pytest: adds up set-up, call and tear-down of every test, and writes them when the run ends."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid.partition("@")[0]] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Replaces what the file has of the test files that ran, and leaves the rest."""
        stored = json.loads(self._file.read_text()) if self._file.exists() else {"files": {}, "tests": {}}
        files: defaultdict[str, float] = defaultdict(float)
        for test, seconds in self._seconds.items():
            files[test.partition("::")[0]] += seconds
        files = stored["files"] | {file: round(seconds, 1) for file, seconds in files.items()}
        tests = {test: s for test, s in stored["tests"].items() if test.partition("::")[0] not in self._files()}
        tests |= {test: round(s, 1) for test, s in self._seconds.items() if s >= SHOWN_S}
        folders: defaultdict[str, float] = defaultdict(float)
        for file, seconds in files.items():
            folders["/".join(file.split("/")[:2])] += seconds
        content = {
            "about": f"seconds; last written {time.strftime('%Y-%m-%d')} on {os.cpu_count()} cores",
            "folders": {folder: round(seconds, 1) for folder, seconds in sorted(folders.items())},
            "files": dict(sorted(files.items(), key=lambda entry: (-entry[1], entry[0]))),
            "tests": dict(sorted(tests.items(), key=lambda entry: (-entry[1], entry[0]))),
        }
        self._file.write_text(json.dumps(content, indent=1) + "\n")

    def _files(self) -> set[str]:
        return {test.partition("::")[0] for test in self._seconds}
