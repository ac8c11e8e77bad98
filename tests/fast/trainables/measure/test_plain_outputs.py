"""An exported model gives plain containers, which any process knows; a task takes from them what it took before."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from trainables.measure.artifact import export_model, load_model
from trainables.measure.measure import of_first_rows
from trainables.measure.plain_outputs import Named, WithNames, plain_containers


class LibraryOutput(OrderedDict[str, Any]):
    """As Hugging Face's ModelOutput: a mapping with attributes, registered where its library is imported."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


_pytree.register_pytree_node(
    LibraryOutput,
    lambda outputs: (list(outputs.values()), list(outputs)),
    lambda values, names: LibraryOutput(zip(names, values, strict=True)),
    serialized_type_name="a_library.LibraryOutput",
)


@dataclass
class Output:
    logits: Tensor
    features: Tensor


Pair = namedtuple("Pair", ["logits", "features"])


class Net(nn.Module):
    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.layer, self.kind = nn.Linear(3, 2), kind

    def forward(self, x: Tensor) -> Any:
        logits = self.layer(x)
        return self.kind(logits=logits, features=x + 1)


@pytest.mark.parametrize("kind", [LibraryOutput, Output, dict])
def test_a_file_gives_a_plain_dict_and_a_task_takes_it_by_name_attribute_or_position(kind: Any, tmp_path: Path) -> None:
    x = torch.randn(5, 3)
    model = Net(kind)
    loaded = load_model(export_model(model, (x,), tmp_path / "model.pt2"))
    assert type(loaded(x)) is dict
    outputs = WithNames(loaded)(x)
    torch.testing.assert_close(outputs.logits, model.layer(x))
    assert outputs["logits"] is outputs.logits is outputs[0]
    assert of_first_rows(outputs, 2, 5).features.shape == (2, 3)
    with pytest.raises(AttributeError, match="the outputs have no 'logit'; they have logits, features"):
        _ = outputs.logit
    assert WithNames(loaded).layer.weight is loaded.layer.weight


def test_a_named_tuple_is_a_tuple(tmp_path: Path) -> None:
    loaded = load_model(export_model(Net(Pair), (torch.randn(5, 3),), tmp_path / "model.pt2"))
    assert [tuple(part.shape) for part in loaded(torch.randn(4, 3))] == [(4, 2), (4, 3)]


def test_what_is_plain_already_stays_what_it_is() -> None:
    x = torch.zeros(2)
    assert plain_containers((x, [None, {"a": 1.0}])) == (x, [None, {"a": 1.0}])
    assert plain_containers(Named(a=x)) == {"a": x}
