"""The commands and snippets of the README and the documentation, as a reader sees them: tests run every one."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = (README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE)
INCLUDED = re.compile(r'--8<-- "(.+)"')


@dataclass(frozen=True)
class Snippet:
    """One block of code. `file` is the file of the repository that the page shows in its place, if it shows one."""

    page: str  # relative to the repository
    line: int  # first line is 1
    text: str
    file: Path | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def snippets(language: str) -> list[Snippet]:
    """Every block in this language, page by page."""
    found = []
    for page in PAGES:
        markdown = page.read_text()
        for match in FENCE.finditer(markdown):
            if match["language"] == language:
                text = textwrap.dedent(match["text"])
                shown = INCLUDED.fullmatch(text.strip())
                line = markdown.count("\n", 0, match.start()) + 2
                name = str(page.relative_to(ROOT))
                found.append(Snippet(name, line, text, ROOT / shown[1] if shown else None))
    return found


def commands() -> list[str]:
    """Every command of the `sh` blocks, without its comment, each once, in the order of the pages."""
    lines = [line for snippet in snippets("sh") for line in snippet.text.splitlines()]
    return list(dict.fromkeys(command for line in lines if (command := line.partition("#")[0].strip())))


def python_pages() -> dict[str, str]:
    """What a reader of a page types into one session of Python: its blocks one after another, by the page's name."""
    pages: dict[str, str] = {}
    for snippet in snippets("python"):
        if snippet.file is None:
            pages[snippet.page] = pages.get(snippet.page, "") + snippet.text
    return pages
