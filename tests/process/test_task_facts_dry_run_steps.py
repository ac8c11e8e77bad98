"""All that a trial and its variants will do is done with a task before any of them: what stands in the way is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.support.tried_task import Simple, Wrapped, tried
from trainables.measure import read_back as reading_back


@dataclass
class Output:
    value: Tensor
    features: Tensor


class Structured(Wrapped):
    def forward(self, x: Tensor) -> Output:
        return Output(self.inner(x), x)


class Dataclass(Simple):
    def build_model(self, width: float = 1.0) -> nn.Module:
        return Structured()

    def forward(self, model: nn.Module, batch: Any) -> Tensor:
        outputs: Tensor = model(batch["features"]).value
        return outputs


def test_a_file_that_needs_a_users_module_is_found_unreadable_and_no_other(tmp_path: Path) -> None:
    """A dataclass is a dict in the file; an operator of one's own is known only where its module was imported."""
    library = torch.library.Library("a_users", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: 2 * x, "CompositeExplicitAutograd")
    torch.library.register_fake("a_users::twice", lambda x: torch.empty_like(x), lib=library)

    class Operating(Wrapped):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                twice = torch.ops.a_users.twice(x)
            outputs: Tensor = self.inner(twice)
            return outputs

    class Own(Simple):
        def build_model(self, width: float = 1.0) -> nn.Module:
            return Operating()

    files = [tried(Dataclass(), tmp_path).file(), tried(Own(), tmp_path).file()]
    fine, problem = reading_back.unreadable(files, tmp_path, [], 600)
    assert fine is None
    assert problem is not None
    assert "a_users" in problem
