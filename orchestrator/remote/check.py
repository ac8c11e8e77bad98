"""One finding of `paretune doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One finding. A note is worth knowing; a problem will make a sweep fail or mislead, and has a way out."""

    level: Literal["ok", "note", "problem"]
    subject: str
    finding: str
    way_out: str = ""
    node: str = ""  # a node of a cluster; empty for this machine

    @property
    def is_problem(self) -> bool:
        return self.level == "problem"

    def __str__(self) -> str:
        where = f"{self.node}: " if self.node else ""
        return f"{self.level:<8} {self.subject:<11} {where}{self.finding}" + (
            f" -> {self.way_out}" * bool(self.way_out)
        )
