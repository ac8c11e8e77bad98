"""Colours and dashes that tell choices of settings apart, if more varies than batch size, learning rate and seed.

A choice has one colour in plots with the batch size on an axis, and one dash in plots whose colour is the batch size.
"""

from __future__ import annotations

import html
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from plotly.colors import qualitative

from orchestrator.analysis.evidence import Evidence
from orchestrator.analysis.rows import Configuration
from orchestrator.analysis.settings_choices import SettingsChoice
from orchestrator.report.plots.deployment import HEIGHT, INK
from orchestrator.wording.batch_size import choice_words

COLORS = qualitative.D3
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "2px,6px")  # with COLORS: 70 pairs
NAME_WIDTH = 48  # characters that fit into a legend on a phone
LEGEND_LINE = 19  # pixels

T = TypeVar("T")


@dataclass(frozen=True)
class SeriesStyle:
    """One choice of the settings. A sweep that varies none has one, without a name."""

    choice: str = ""  # in words
    color: str = INK
    dash: str = "solid"

    def name(self, otherwise: str) -> str:
        """The name for a legend, broken into lines that fit; `otherwise` for a sweep with a single choice."""
        return "<br>".join(map(html.escape, textwrap.wrap(self.choice, NAME_WIDTH))) or html.escape(otherwise)


def by_choice(
    evidence: Evidence, items: Iterable[T], configuration: Callable[[T], Configuration]
) -> list[tuple[SeriesStyle, list[T]]]:
    """The items of each choice, in the given order. Choices are in the sweep's order; empty ones are left out."""
    table, groups = evidence.table, defaultdict[SettingsChoice, list[T]](list)
    for item in items:
        groups[evidence.choices[table.place_of(configuration(item))]].append(item)
    found = []
    for index, choice in enumerate(dict.fromkeys(evidence.choices.values())):
        if choice in groups:
            words = choice_words(table, choice)
            style = (
                SeriesStyle(words, COLORS[index % len(COLORS)], DASHES[index % len(DASHES)]) if words else SeriesStyle()
            )
            found.append((style, groups[choice]))
    return found


def name_choices(figure: Any, looks: Sequence[SeriesStyle]) -> None:
    """Show a legend, even for one choice, and make the figure taller by the space that the legend needs."""
    if any(look.choice for look in looks):
        lines = sum(look.name("").count("<br>") + 1 for look in looks)
        figure.update_layout(height=HEIGHT + LEGEND_LINE * lines, showlegend=True, legend_tracegroupgap=0)
