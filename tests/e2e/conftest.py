"""What the tests of this folder share."""

from pathlib import Path

import pytest

pytest.register_assert_rewrite("recorded")  # a failure there says what was found


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's tables and nothing in them."""
    from recorded import empty_database  # imports MLflow, which takes seconds

    return empty_database(tmp_path_factory.mktemp("database"))
