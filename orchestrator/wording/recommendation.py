"""A recommendation in words: for the terminal, the page, JSON and MLflow alike. Short, or with all that it rests on."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.analysis.caveats import Caveat
from orchestrator.analysis.recommend import Recommendation
from orchestrator.analysis.table import SweepTable
from orchestrator.wording.caveats import caveat_sentences
from orchestrator.wording.reasons import label, reason_sentences
from orchestrator.wording.sentence import Sentence


def recommendation_headline(table: SweepTable, found: Recommendation) -> str:
    """The recommendation in one line."""
    if found.row is None or found.configuration is None:
        return f"No recommendation: {reasons(table, found)[0]}"
    return f"Recommended: {found.row.id} ({label(table, found.configuration)})"


def reasons(table: SweepTable, found: Recommendation, *, details: bool = True) -> list[str]:
    return _told((s for reason in found.reasons for s in reason_sentences(table, reason)), details)


def caveats(table: SweepTable, found: Iterable[Caveat], *, details: bool = True) -> list[str]:
    return _told((s for caveat in found for s in caveat_sentences(table, caveat)), details)


def _told(sentences: Iterable[Sentence], details: bool) -> list[str]:
    return [s.whole if details else s.text for s in sentences if details or not s.is_detail]
