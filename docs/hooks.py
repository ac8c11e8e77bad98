"""The hooks that MkDocs calls while it builds the site."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # MkDocs knows no package `docs`

from docs.generated import filled


def on_page_markdown(markdown: str, **_: Any) -> str:
    return filled(markdown)
