"""`paretune compare` and `paretune report`. Both exit with 0 only if they succeed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rich.console import Console

from orchestrator.analysis.comparison import SweepComparison, load_comparison
from orchestrator.analysis.plan_file import TableError
from orchestrator.diagnostics.problem import SweepError
from orchestrator.exit_codes import INPUT_IS_WRONG
from orchestrator.machine.garbage import uncollected
from orchestrator.remote.tracking import DEFAULT_STORAGE
from trainables.storage import Storage

FORMATS = ("table", "json", "csv", "parquet")
ASCII: dict[str, str | int | None] = {"★": "*", "→": ">", "±": "+-", "✓": "y", "✗": "n"}
PLAIN_WIDTH = 120  # width of sentences in characters, if the output is not a terminal


def compare_command(sweep: str, storage: str | None, format: str, *, details: bool = False) -> int:
    """Print the comparison of a sweep, given by name or by its file. Exit code 0, or 2 for wrong input."""
    if format not in FORMATS:
        return _fail(f"--format {format!r} is unknown; it is one of {', '.join(FORMATS)}")
    if format == "parquet" and sys.stdout.isatty():
        return _fail("--format parquet is binary: redirect it to a file, `paretune compare ... > sweep.parquet`")
    with uncollected():
        try:
            comparison = comparison_of(sweep, storage)
        except (TableError, SweepError, ValueError, OSError) as error:
            return _fail(str(error))
        _write(comparison, format, details)
    return 0


def report_command(sweep: str, storage: str | None, output: str | None) -> int:
    """Write the page of a sweep, by default to `<name>.html` here, and print its path. Exit codes as above."""
    try:
        with uncollected():
            path = write_page(comparison_of(sweep, storage), output)
    except (TableError, SweepError, ValueError, OSError) as error:
        return _fail(str(error))
    print(path)
    return 0


def comparison_of(sweep: str, storage: str | None) -> SweepComparison:
    """The comparison of a sweep, given by name or by its file. Raises TableError if it has none, SweepError for a bad
    file.
    """
    return load_comparison(Storage(storage_of(storage)), sweep_name(sweep))


def write_page(comparison: SweepComparison, output: str | Path | None) -> Path:
    """Write the page of a comparison, by default to `<name>.html` here. Returns its path."""
    from orchestrator.report.page import to_page  # imports plotly

    path = Path(output or f"{comparison.table.plan.name}.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_page(comparison), encoding="utf-8")
    return path.absolute()


def storage_of(storage: str | None) -> str:
    """Where results are: as given, else $PARETUNE_STORAGE, else a folder here."""
    return storage or os.environ.get("PARETUNE_STORAGE") or DEFAULT_STORAGE


def sweep_name(sweep: str) -> str:
    """A sweep's name, from its name or from the path of its file."""
    if sweep.endswith((".yaml", ".yml")):
        from orchestrator.sweepfile.load import load_sweep

        return load_sweep(sweep).name
    return sweep


def show_comparison(comparison: SweepComparison, *, details: bool = False) -> None:
    """Print to a terminal in its width and with colours; to a file or a pipe as plain text, with complete tables.

    The environment variable COLUMNS sets the width in both cases.
    """
    from orchestrator.report import terminal

    console = Console()
    if console.is_terminal and console.encoding.startswith("utf"):
        terminal.print_comparison(comparison, console, details=details)
    else:
        has_width = console.is_terminal or os.environ.get("COLUMNS", "").isdigit()
        _print(comparison_text(comparison, console.width if has_width else None, details=details))


def comparison_text(comparison: SweepComparison, width: int | None = None, *, details: bool = False) -> str:
    """The comparison without colours, for files, pipes and logs. Without a width, tables keep all columns."""
    from orchestrator.report import tables, terminal

    return tables.plain_text(
        lambda console: terminal.print_comparison(comparison, console, width or PLAIN_WIDTH, details=details),
        width or tables.WHOLE,
    )


def _write(comparison: SweepComparison, format: str, details: bool) -> None:
    from orchestrator.report import export

    match format:
        case "json":
            _print(export.to_json(comparison))
        case "csv":
            _print(export.to_csv(comparison).rstrip("\n"))
        case "parquet":
            sys.stdout.buffer.write(export.to_parquet(comparison))
            sys.stdout.flush()
        case _:
            show_comparison(comparison, details=details)


def _print(text: str) -> None:
    """Write text, replacing characters that the output cannot encode."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(str.maketrans(ASCII)).encode(encoding, errors="replace").decode(encoding)
    print(text)


def _fail(message: str) -> int:
    print(f"paretune: {message}", file=sys.stderr)
    return INPUT_IS_WRONG
