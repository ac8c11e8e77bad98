"""What MkDocs calls while it builds the site."""

from __future__ import annotations

from typing import Any

from generated import filled


def on_page_markdown(markdown: str, **_: Any) -> str:
    return filled(markdown)
