"""What `doctor` says where client, cluster and nodes have different versions installed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.remote.versions import Versions, check_client, check_node, installed_versions

ONE = Versions(paretune="0.1.0 (12345678)", ray="2.60.0", python="3.11.2", torch="2.13.0+cpu")


def test_what_is_installed_here_is_known() -> None:
    versions = installed_versions()
    assert versions == installed_versions()
    assert "missing" not in str(versions)
    assert versions.paretune.startswith("0.1.0 (")


@pytest.mark.parametrize("same", [{}, {"python": "3.11.14"}, {"torch": "2.13.0+cu130"}])
def test_what_makes_no_difference_is_none(same: dict[str, str]) -> None:
    check = check_client(ONE, replace(ONE, **same))
    assert (check.level, check_node(ONE, replace(ONE, **same), "node")) == ("ok", None)
    assert "ray 2.60.0" in check.finding


@pytest.mark.parametrize(
    ("other", "level", "words"),
    [
        ({"paretune": "0.1.0 (87654321)"}, "problem", "paretune is 0.1.0 (12345678) here and 0.1.0 (87654321) on the"),
        ({"torch": "2.12.1"}, "note", "torch is 2.13.0+cpu here and 2.12.1 on the cluster: a model"),
        ({"python": "3.12.2"}, "note", "python is 3.11.2 here and 3.12.2"),
        ({"ray": "2.61.0", "torch": "missing"}, "note", "ray is 2.60.0 here and 2.61.0 on the cluster; torch"),
    ],
)
def test_a_client_that_differs_is_told_what_that_means(other: dict[str, str], level: str, words: str) -> None:
    check = check_client(ONE, replace(ONE, **other))
    assert check.level == level
    assert words in check.finding
    assert "constraints.txt" in check.way_out


def test_nodes_that_differ_are_a_problem() -> None:
    check = check_node(replace(ONE, torch="2.12.1"), ONE, "10.0.0.7 (abc)")
    assert check is not None
    assert check.is_problem
    assert str(check).startswith("problem  versions    10.0.0.7 (abc): torch is 2.12.1, but 2.13.0+cpu on")


def test_the_lowest_versions_that_are_tried_are_the_lower_bounds() -> None:
    from tests.support.versions import STUDIED, constraints, lower_bound

    assert [f"{package}=={lower_bound(package)}" for package in STUDIED] == constraints("lowest")[-3:]
    assert not any(line.startswith(f"{package}==") for package in STUDIED for line in constraints("newest"))
