"""What several files here share."""

import pytest

from orchestrator.task_facts import dry_run as rehearsal
from trainables.measure import read_back as reading_back


@pytest.fixture
def rehearsing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's task is tried in this process instead of two of its own, which take seconds to start."""
    for own in (rehearsal, reading_back):
        monkeypatch.setattr(own, "in_fresh_process", lambda _, request, *args, own=own: own.respond(request))
