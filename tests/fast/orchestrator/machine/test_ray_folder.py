"""Where a local Ray keeps its files: nobody else may look, its sockets fit, and nothing stays."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest

from orchestrator.machine import ray_folder as module
from orchestrator.machine.ray_folder import NoFolderError, folder_candidates, ray_folder


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)  # so that TMPDIR is read anew
    return monkeypatch


def test_it_is_closed_to_others_and_goes(own: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with ray_folder() as path:
        folder = Path(path).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        Path(path).mkdir(mode=0o777)
        Path(path, "log").write_text("all that Ray writes")
    assert not folder.exists()


def test_a_long_tmpdir_is_passed_over_for_a_short_folder(own: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("job_scratch_" * 8)
    long.mkdir()
    own.setenv("TMPDIR", str(long))
    assert folder_candidates()[0] == str(long)
    with ray_folder() as path:
        assert not path.startswith(str(long))
    assert list(long.iterdir()) == []


def test_a_short_folder_of_the_users_own_is_taken(own: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as short:
        own.setenv("RAY_TMPDIR", short)
        with ray_folder() as path:
            assert path.startswith(short)


def test_where_none_fits_it_is_said_what_to_do(own: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own.setattr(module, "folder_candidates", lambda: [str(tmp_path / ("x" * 90)), "/no/such/folder", "/proc"])
    (tmp_path / ("x" * 90)).mkdir()
    with pytest.raises(NoFolderError, match="set RAY_TMPDIR to a writable folder on a local disk"), ray_folder():
        pass
