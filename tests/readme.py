"""What the README shows of the code: `python -m tests.readme` brings it up to date, a test holds it to that."""

from __future__ import annotations

import ast
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from orchestrator.diagnostics.problem import SweepError
from orchestrator.sweep.spec import (
    AutoBatchSize,
    CompressionPlan,
    EarlyStopping,
    Parameters,
    Resources,
    ScaledLearningRate,
    Sweep,
)
from orchestrator.sweepfile.compression_section import union_members
from orchestrator.sweepfile.load import AUTO_EVALUATIONS, AUTO_EXTEND, AUTO_MULTIPLIERS, load_sweep
from trainables.config.compression import Compression, FineTune
from trainables.config.training import BatchSchedule, Constant, DataOrder, NoiseScale, Optimizer, Schedule, Sgd
from trainables.config.trial import Measure

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"

MISTAKES = """
name: digits
task: digit_cnn
objective: {metric: val_accuracy}
budget: {examples: 0}
parameters:
  batch_size: {values: [16, 16]}
  learnin_rate: 0.05
"""


def first_line(module: Path) -> str:
    """The first sentence of a module's docstring, as one line."""
    text = ast.get_docstring(ast.parse(module.read_text())) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", paragraph)[0].rstrip(".")


def code_map() -> str:
    """Every module with what its docstring says it is for, folder by folder."""
    lines = []
    for package in ("trainables", "orchestrator"):
        folders = [ROOT / package, *sorted(p.parent for p in (ROOT / package).glob("*/__init__.py"))]
        for folder in folders:
            name = folder.relative_to(ROOT)
            lines.append(f"\n**`{name}/`** {first_line(folder / '__init__.py')}\n\n| | |\n|---|---|")
            modules = [m for m in sorted(folder.glob("*.py")) if m.name not in ("__init__.py", "__main__.py")]
            lines += [f"| `{m.name}` | {first_line(m).replace('|', chr(92) + '|')} |" for m in modules]
    return "\n".join(lines).strip()


def settings() -> str:
    """Every optional key of a sweep file with its default, from the classes that are read."""
    rows: list[tuple[str, str]] = []

    def add(place: str, model: type[BaseModel], but: tuple[str, ...] = ()) -> None:
        shown = [f"`{name}` {_default(field)}" for name, field in model.model_fields.items() if name not in but]
        section = Sweep.model_fields.get(place)
        off = "off; if given, " if section and section.default is None else ""
        rows.append((f"`{place}`", off + (", ".join(shown) or "-")))

    evaluations = Sweep.model_fields["evaluations"].default
    rows.append(("`evaluations`", f"{evaluations}; {AUTO_EVALUATIONS} with `batch_size: auto`"))
    plain = {name: field.default for name, field in Parameters.model_fields.items() if not field.is_required()}
    axes: dict[str, Any] = {"optimizer": (Sgd(),), "schedule": (Constant(),), **plain}
    rows.append(("`parameters`", ", ".join(f"`{name}` {_first(values)}" for name, values in axes.items())))
    add("learning_rate: {...}", ScaledLearningRate, ("base", "rule", "at_batch_size"))
    rows[-1] = (
        rows[-1][0],
        f"{rows[-1][1]}; with `batch_size: auto`, `multipliers` {_word(AUTO_MULTIPLIERS)}, `extend` {AUTO_EXTEND}",
    )
    add("batch_size: {auto: {...}}", AutoBatchSize)
    unions = {"optimizer": Optimizer, "schedule": Schedule, "batch_schedule": BatchSchedule, "data_order": DataOrder}
    for key, union in unions.items():
        for name, model in union_members(union, "name").items():
            add(f"{key}: {name}", model, ("name",))
    add("early_stopping", EarlyStopping)
    add("compression", CompressionPlan, ("variants",))
    for name, model in union_members(Compression, "method").items():
        add(f"variants: {name}", model, ("method",))
    for key, model in (("measure", Measure), ("noise_scale", NoiseScale), ("resources", Resources)):
        add(key, model)
    return "| key | default |\n|---|---|\n" + "\n".join(f"| {key} | {words} |" for key, words in rows)


def _default(field: Any) -> str:
    if field.is_required():
        return "(needed)"
    value = field.get_default(call_default_factory=True)
    return f"as `{value.method}`" if isinstance(value, FineTune) else _word(value)


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
            return str(error).replace(str(file), file.name)
    raise AssertionError("the file with mistakes was taken")


def blocks() -> dict[str, str]:
    """The parts of the README that are made from files, by the name in their comment marks."""
    return {
        "digits.yaml": f"```yaml\n{(ROOT / 'examples/digits.yaml').read_text().strip()}\n```",
        "auto.yaml": f"```yaml\n{(ROOT / 'examples/auto.yaml').read_text().strip()}\n```",
        "own_task.py": f"```python\n{(ROOT / 'examples/own_task.py').read_text().strip()}\n```",
        "settings": settings(),
        "mistakes": f"```text\n{mistakes()}\n```",
        "map": code_map(),
    }


def put(text: str, name: str, content: str) -> str:
    """The README's text with the block of this name replaced. Raises ValueError if it has no such marks."""
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"README.md has no marks <!-- {name} --> ... <!-- /{name} -->")
    return pattern.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)


def refreshed(text: str) -> str:
    for name, content in blocks().items():
        text = put(text, name, content)
    return text


def commands(text: str) -> list[str]:
    """Every command in the README's sh blocks, without its comment."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return [command for line in lines if (command := line.partition("#")[0].strip())]


if __name__ == "__main__":
    README.write_text(refreshed(README.read_text()))
