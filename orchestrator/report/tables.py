"""Tables drawn by rich: fitted to the width of a terminal; complete and without colours in a pipe, a file or a log."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Collection, Iterable, Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

WHOLE = 10_000  # characters: wider than any table, so that none is cut


def text_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    left: Collection[str] = (),
    fold: Collection[str] = (),
    gap: int = 2,
) -> Table:
    """A table of plain cells (no markup), `gap` spaces apart, with numbers aligned to the right.

    `left`: names of the columns with text; `fold`: names of those that may wrap in a narrow console.
    """
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="underline")
    for column in columns:
        folds = column in fold
        table.add_column(
            Text(column),
            justify="left" if column in left else "right",
            overflow="fold" if folds else "ellipsis",
            no_wrap=not folds,
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def titled(title: str, table: Table) -> Group:
    """A table below its title, which may be wider than the table."""
    return Group(Text(title, "bold"), table)


def plain_text(draw: Callable[[Console], None], width: int = WHOLE) -> str:
    """The output of `draw` as text, without colours and without spaces at the ends of lines."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False, force_jupyter=False)
    with console.capture() as captured:
        draw(console)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def print_table(draw: Callable[[Console], None]) -> None:
    """Print to standard output: in a terminal with its width and colours, elsewhere complete and plain."""
    if sys.stdout.isatty():
        draw(Console())
    else:
        print(plain_text(draw))
