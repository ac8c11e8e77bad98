"""What a killed driver leaves is removed by the next one; what belongs to anybody who may be alive is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.machine.leftovers import OWNER, claim, clean_up


def made(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / f"ours-{name}"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"boot": "another", "pid": 2**22 + 1},
        {"namespace": 1, "pid": 2**22 + 1},  # another container's: whether it lives is not to be seen from here
        None,
    ],
)
def test_what_may_be_somebodys_stays(tmp_path: Path, change: dict[str, object] | None) -> None:
    folder = made(tmp_path, "1")
    claim(str(folder))
    owner = json.loads((folder / OWNER).read_text())
    (folder / OWNER).write_text("{" if change is None else json.dumps(owner | change))
    made(tmp_path, "2")  # nobody's yet
    assert clean_up([str(tmp_path)], "ours-") == []
    assert folder.exists()


def test_a_number_that_another_process_has_now_is_no_life_of_the_driver(tmp_path: Path) -> None:
    folder = made(tmp_path, "1")
    claim(str(folder))
    owner = json.loads((folder / OWNER).read_text())
    (folder / OWNER).write_text(json.dumps(owner | {"started_ticks": owner["started_ticks"] - 1}))
    assert clean_up([str(tmp_path)], "ours-") == [str(folder)]
