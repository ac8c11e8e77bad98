"""What the README shows of the code: `python -m tests.readme` brings it up to date, a test holds it to that."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


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


def blocks() -> dict[str, str]:
    """The parts of the README that are made from files, by the name in their comment marks."""
    return {
        "digits.yaml": f"```yaml\n{(ROOT / 'examples/digits.yaml').read_text().strip()}\n```",
        "auto.yaml": f"```yaml\n{(ROOT / 'examples/auto.yaml').read_text().strip()}\n```",
        "own_task.py": f"```python\n{(ROOT / 'examples/own_task.py').read_text().strip()}\n```",
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
