"""The parts of the reference that are generated from the code: keys of the sweep file, commands, metrics.

A page asks for one with `<!-- generated: NAME -->`; `hooks.py` puts it there when the site is built.
"""

from __future__ import annotations

import ast
import inspect
import io
import json
import re
import tempfile
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from orchestrator import exit_codes
from orchestrator.cli import app
from orchestrator.diagnostics.problem import SweepError
from orchestrator.sweep import metrics as sweep_metrics
from orchestrator.sweep.spec import (
    AutoBatchSize,
    CompressionPlan,
    EarlyStopping,
    Goal,
    Objective,
    Parameters,
    Resources,
    ScaledLearningRate,
    Sweep,
)
from orchestrator.sweepfile.compression_section import union_members
from orchestrator.sweepfile.load import AUTO_EVALUATIONS, AUTO_EXTEND, AUTO_MULTIPLIERS, load_sweep
from trainables import results
from trainables.config.compression import Compression, FineTune
from trainables.config.training import BatchSchedule, Constant, DataOrder, NoiseScale, Optimizer, Schedule, Sgd
from trainables.config.trial import MeasureSettings
from trainables.tasks.catalog import BUILTIN

HERE = Path(__file__).parent
MISTAKES = """
name: digits
task: digit_cnn
objective: {metric: val_accuracy}
budget: {examples: 0}
parameters:
  batch_size: {values: [16, 16]}
  learnin_rate: 0.05
"""


# -- the sweep file ----------------------------------------------------------------------------------------------------


def sweep_keys() -> str:
    """The optional top-level keys, `parameters` and every section with keys of its own."""
    sections: tuple[tuple[str, type[BaseModel], tuple[str, ...]], ...] = (
        ("objective", Objective, ()),
        ("goals", Goal, ()),
        ("early_stopping", EarlyStopping, ()),
        ("compression", CompressionPlan, ("variants",)),
        ("measure", MeasureSettings, ()),
        ("noise_scale", NoiseScale, ()),
        ("resources", Resources, ()),
    )
    return "\n\n".join(_section(f"`{name}`", model, without) for name, model, without in sections)


def parameter_keys() -> str:
    """Every axis with its default, then the classes that an axis may take."""
    plain = {name: field.default for name, field in Parameters.model_fields.items() if not field.is_required()}
    axes: dict[str, Any] = {"optimizer": (Sgd(),), "schedule": (Constant(),), **plain}
    notes = comments(Parameters)
    rows = [
        (f"`{name}`", _allowed(Parameters, name).removeprefix("a list of "), _code(_first(values)), notes.get(name, ""))
        for name, values in axes.items()
    ]
    parts = [_table(("key", "allowed", "default", ""), rows)]
    parts.append(_section("`learning_rate: {...}`", ScaledLearningRate))
    parts.append(
        f"With `batch_size: auto`, `multipliers` are {_code(_word(AUTO_MULTIPLIERS))}, `extend` is {AUTO_EXTEND} and "
        f"`evaluations` {AUTO_EVALUATIONS} where the file does not say otherwise; without it, `evaluations` is "
        f"{Sweep.model_fields['evaluations'].default}."
    )
    parts.append(_section("`batch_size: {auto: {...}}`", AutoBatchSize))
    unions = {"optimizer": Optimizer, "schedule": Schedule, "batch_schedule": BatchSchedule, "data_order": DataOrder}
    for key, union in unions.items():
        for name, model in union_members(union, "name").items():
            parts.append(_section(f"`{key}: {name}`", model, ("name",)))
    return "\n\n".join(parts)


def compression_keys() -> str:
    members = union_members(Compression, "method").items()
    return "\n\n".join(_section(f"`{name}`", model, ("method",)) for name, model in members)


def _section(title: str, model: type[BaseModel], without: tuple[str, ...] = ()) -> str:
    """A heading, the class's own description, and a row for each of its fields."""
    notes = comments(model)
    rows = [
        (f"`{name}`", _allowed(model, name), _default(field), notes.get(name, ""))
        for name, field in model.model_fields.items()
        if name not in without
    ]
    words = inspect.cleandoc(model.__doc__ or "")
    table = _table(("key", "allowed", "default", ""), rows) if rows else ""
    return "\n\n".join(part for part in (f"### {title}", words, table) if part)


def comments(model: type[BaseModel]) -> dict[str, str]:
    """The comment behind each field of a class, in its source: `seed: int = 0  # ...`."""
    source = textwrap.dedent(inspect.getsource(model))
    fields = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.AnnAssign)]
    at = {line: ast.unparse(node.target) for node in fields for line in (node.lineno, node.end_lineno)}
    found: dict[str, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and (name := at.get(token.start[0])):
            found[name] = token.string.removeprefix("#").strip().replace("None:", "`null`:")
    return found


def _allowed(model: type[BaseModel], name: str) -> str:
    """What pydantic's JSON schema says of a field."""
    whole = _schema(model)
    return _values(whole["properties"].get(name, {}), whole.get("$defs", {}))


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _values(schema: dict[str, Any], classes: dict[str, Any]) -> str:
    """One schema as words: the choices, the kind and the range of a number, or several of these."""
    if "anyOf" in schema:
        return ", or ".join(_values(choice, classes) for choice in schema["anyOf"])
    if "$ref" in schema:
        keys = classes[schema["$ref"].rpartition("/")[2]]["properties"]
        return _code(f"{{{', '.join(f'{key}: ...' for key in keys if key not in ('method', 'name'))}}}")
    if "oneOf" in schema:
        return ", ".join(map(_code, schema["discriminator"]["mapping"]))
    if "enum" in schema:
        return ", ".join(map(_code, schema["enum"]))
    match schema.get("type"):
        case "array":
            items = schema.get("items") or schema["prefixItems"][0]
            length = f"{schema['maxItems']} " if schema.get("maxItems") == schema.get("minItems", 0) else ""
            return f"a list of {length}{_values(items, classes)}"
        case "integer" | "number" as kind:
            words = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "below", "maximum": "to"}
            bounds = [f"{word} {schema[key]:g}" for key, word in words.items() if key in schema]
            return " ".join(["whole numbers" if kind == "integer" else "numbers", *bounds])
        case kind:
            return {"boolean": "`true`, `false`", "string": "text", "object": "a mapping", "null": "`null`"}[str(kind)]


def _default(field: Any) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    return f"as `{value.method}`" if isinstance(value, FineTune) else _code(_word(value))


def _first(axis: Any) -> str:
    """The one value of an axis by default; an optimiser or a schedule is known by its name."""
    value = axis[0] if isinstance(axis, tuple) else axis
    return str(value.name) if isinstance(value, BaseModel) else _word(value)


def _word(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value).strip('"')


def mistakes() -> str:
    """What is said about a file with several mistakes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bad.yaml")
        file.write_text(MISTAKES.lstrip())
        try:
            load_sweep(file)
        except SweepError as error:
            return f"```text\n{str(error).replace(str(file), file.name)}\n```"
    raise AssertionError("the file with mistakes was taken")


def builtin_tasks() -> str:
    rows = [
        (
            f"`{name}`",
            task.doc,
            ", ".join(f"`{option}` {_code(_word(value))}" for option, value in task.options.items()),
            ", ".join(f"`{metric}` ({mode})" for metric, mode in task.metrics.items()),
        )
        for name, task in BUILTIN.items()
    ]
    return _table(("name", "model and data", "options and defaults", "metrics, beside `loss` (min)"), rows)


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
    rows = [(_code(", ".join(each.opts)), _plain(each.help or ""), _option_default(each)) for each in options]
    return "\n\n".join([*parts, _table(("option", "", "default"), rows)] if rows else parts)


def _option_default(option: Any) -> str:
    variable = f"`{option.envvar}`, else " if option.envvar else ""
    default = option.default
    if default is None or default is False or callable(default) or default in ((), []):
        return variable.removesuffix(", else ")
    return variable + _code(str(default))


def _plain(words: str) -> str:
    """The paragraphs of a help text; an example becomes code."""
    return re.sub(r"(?m)^\s*(?:Examples?:\s*)?(paretune \w.*)$", r"    \1", re.sub("\b", "", words)).strip("\n")


def exits() -> str:
    """The constants of the module of exit codes, each with its comment."""
    found = re.findall(r"(?m)^([A-Z_]+) = (\d+)(?:  # (.*))?$", inspect.getsource(exit_codes))
    rows = [(f"`{code}`", name.lower().replace("_", " "), words) for name, code, words in found]
    return _table(("code", "", ""), rows)


# -- metrics -----------------------------------------------------------------------------------------------------------


def metric_names() -> str:
    """The list of names in the module that defines them, then which of them a sweep may optimise or limit."""
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
    return f"{note}\n\n{_table(head, rows)}\n\n## Everything that is recorded\n\n```text\n{recorded}\n```"


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
    return _table(("benchmark", "what it measures", "recorded"), rows)


def _yes(answer: bool) -> str:
    return "yes" if answer else ""


# -- Markdown ----------------------------------------------------------------------------------------------------------


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


PARTS: dict[str, Callable[[], str]] = {
    "sweep keys": sweep_keys,
    "parameters": parameter_keys,
    "compression methods": compression_keys,
    "mistakes": mistakes,
    "built-in tasks": builtin_tasks,
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
