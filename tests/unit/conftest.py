"""What several files here share."""

import pytest

from orchestrator.sweepfile import rehearsal


@pytest.fixture
def rehearsing_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's task is tried in this process instead of one of its own, which takes seconds to start."""
    monkeypatch.setattr(rehearsal, "in_fresh_process", lambda module, request, *_: rehearsal.respond(request))
