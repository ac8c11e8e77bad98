"""Tests here have the shared Ray, or none: those that need one of their own start it."""

import pytest

from tests.support.shared_ray import SharedRay


@pytest.fixture(autouse=True)
def _nothing_else_runs(request: pytest.FixtureRequest) -> None:
    if "shared_ray" not in request.fixturenames:
        shared: SharedRay = request.getfixturevalue("shared_ray")
        shared.stop()
