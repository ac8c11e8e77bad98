"""A recommendation in words: for the terminal, the page, JSON and MLflow alike."""

from __future__ import annotations

from orchestrator.analysis.recommend import Recommendation
from orchestrator.analysis.table import SweepTable
from orchestrator.wording.caveats import caveat_sentences
from orchestrator.wording.reasons import label, reason_sentences


def headline(table: SweepTable, found: Recommendation) -> str:
    """All of it in one line."""
    if found.row is None or found.configuration is None:
        return f"No recommendation: {reasons(table, found)[0]}"
    return f"Recommended: {found.row.id} ({label(table, found.configuration)})"


def reasons(table: SweepTable, found: Recommendation) -> list[str]:
    return [sentence for reason in found.reasons for sentence in reason_sentences(table, reason)]


def caveats(table: SweepTable, found: Recommendation) -> list[str]:
    return [sentence for caveat in found.caveats for sentence in caveat_sentences(table, caveat)]
