"""The parts of the reference that are generated from the code: keys of the sweep file, commands, metrics.

A page asks for one with `<!-- generated: NAME -->`; `hooks.py` puts it there when the site is built.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from docs import sweep_file
from docs.markdown import code, table
from orchestrator import exit_codes
from orchestrator.cli import app
from orchestrator.sweep import metrics as sweep_metrics
from trainables import results
from trainables.config.trial import MeasureSettings

HERE = Path(__file__).parent


# -- the command line --------------------------------------------------------------------------------------------------


def command_line() -> str:
    """Every command with its arguments and options, from the typer application."""
    group: Any = typer.main.get_command(app)
    return "\n\n".join(_command(name, command) for name, command in group.commands.items())


def _command(name: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    shown = " ".join(each.metavar or str(each.name).upper() for each in arguments)
    words, _, example = inspect.cleandoc(command.help or "").partition("\nExample")
    parts = [f"## `paretune {name}`", f"`paretune {name} {shown} [OPTIONS]`".replace("  ", " "), _plain(words)]
    if example:
        parts.append(_plain(f"Example{example}"))
    rows = [(code(", ".join(each.opts)), _plain(each.help or ""), _option_default(each)) for each in options]
    return "\n\n".join([*parts, table(("option", "", "default"), rows)] if rows else parts)


def _option_default(option: Any) -> str:
    variable = f"`{option.envvar}`, else " if option.envvar else ""
    default = option.default
    if default is None or default is False or callable(default) or default in ((), []):
        return variable.removesuffix(", else ")
    return variable + code(str(default))


def _plain(words: str) -> str:
    """The paragraphs of a help text; an example becomes code."""
    return re.sub(r"(?m)^\s*(?:Examples?:\s*)?(paretune \w.*)$", r"    \1", re.sub("\b", "", words)).strip("\n")


def exits() -> str:
    """The constants of the module of exit codes, each with its comment."""
    found = re.findall(r"(?m)^([A-Z_]+) = (\d+)(?:  # (.*))?$", inspect.getsource(exit_codes))
    rows = [(f"`{code}`", name.lower().replace("_", " "), words) for name, code, words in found]
    return table(("code", "", ""), rows)


# -- metrics -----------------------------------------------------------------------------------------------------------


def metric_names() -> str:
    """The metrics that a sweep may optimise or limit, then the list of all names from the module that defines them."""
    text = inspect.getdoc(results) or ""
    listed = text.partition("\n")[2].partition(":\n")[2]
    training = sweep_metrics.training_metrics({"<m>": "max"})
    variant = sweep_metrics.variant_metrics({"<m>": "max"}, MeasureSettings())
    rows = [
        (
            f"`{name}`",
            "higher" if mode == "max" else "lower",
            _yes(name in sweep_metrics.objective_metrics({"<m>": "max"})),
            _yes(name in training),
            _yes(name in variant),
            "`threshold`" if sweep_metrics.is_relative(name) else "any",
        )
        for name, mode in (training | variant).items()
    ]
    head = ("metric", "better", "objective", "of a baseline", "of a variant", "type of goal")
    note = "`<m>` is `loss` or a metric of the task; its own `mode` says which way is better (here: higher)."
    recorded = re.sub("(?m)^    ", "", listed).strip("\n")
    return f"{note}\n\n{table(head, rows)}\n\n## Everything that is recorded\n\n```text\n{recorded}\n```"


# -- pages of a folder -------------------------------------------------------------------------------------------------


def decisions() -> str:
    """A link to each decision record, by its own title."""
    pages = sorted((HERE / "develop" / "decisions").glob("[0-9]*.md"))
    return "\n".join(f"- [{page.read_text().partition(chr(10))[0].lstrip('# ')}]({page.name})" for page in pages)


def benchmarks() -> str:
    """Every script that can record its page, with the page and its date where it has one."""
    rows = []
    for script in sorted((HERE.parent / "benchmarks").glob("*.py")):
        if "recorded(main)" not in script.read_text() or script.stem == "record":
            continue
        page = HERE / "develop" / "benchmarks" / script.name.replace(".py", ".md")
        facts = re.search(r"\| commit \| (.+) \|\n\| date \| (.+?),", page.read_text()) if page.exists() else None
        name = f"[`{script.name}`]({page.name})" if facts else f"`{script.name}`"
        words = (ast.get_docstring(ast.parse(script.read_text())) or "").partition("\n")[0]
        rows.append((name, words, f"{facts[2]}, commit {facts[1]}" if facts else "not recorded yet"))
    return table(("benchmark", "what it measures", "recorded"), rows)


def _yes(answer: bool) -> str:
    return "yes" if answer else ""


PARTS: dict[str, Callable[[], str]] = {
    "sections": sweep_file.sections,
    "sweep keys": sweep_file.sweep_keys,
    "parameters": sweep_file.parameter_keys,
    "compression methods": sweep_file.compression_keys,
    "mistakes": sweep_file.mistakes,
    "built-in tasks": sweep_file.builtin_tasks,
    "command line": command_line,
    "exit codes": exits,
    "metrics": metric_names,
    "decisions": decisions,
    "benchmarks": benchmarks,
}


def filled(markdown: str) -> str:
    """A page with every `<!-- generated: NAME -->` replaced. Raises KeyError for a name that there is not."""
    return re.sub(r"<!-- generated: (.+?) -->", lambda match: PARTS[match[1]](), markdown)


def names_in(markdown: str) -> Iterator[str]:
    return (match[1] for match in re.finditer(r"<!-- generated: (.+?) -->", markdown))
