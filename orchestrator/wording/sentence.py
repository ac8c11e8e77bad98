"""A sentence in two lengths: what it says, and what that rests on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sentence:
    """`text` stands for itself, on a line of a terminal. With the details `basis` follows, in sentences of its own."""

    text: str
    basis: str = ""
    is_detail: bool = False  # said with the details alone: a table or another sentence has the gist of it

    @property
    def whole(self) -> str:
        return f"{self.text} {self.basis}".rstrip()
