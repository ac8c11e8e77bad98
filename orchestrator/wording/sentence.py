"""A sentence in two lengths: the statement, and the statement with its basis."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sentence:
    """`text` is complete without `basis`. With `--details`, `basis` follows in sentences of its own."""

    text: str
    basis: str = ""
    is_detail: bool = False  # shown with `--details` only: a table or another sentence has the main point

    @property
    def whole(self) -> str:
        return f"{self.text} {self.basis}".rstrip()
