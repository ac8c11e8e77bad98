"""Names that are private to torch: each does what it is used for, which `trainables/compat.py` says."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from trainables import compat
from trainables.measure.artifact import export_model


def test_norms_of_many_tensors_are_those_of_each() -> None:
    tensors = [torch.tensor([3.0, 4.0]), torch.tensor([[0.0, 2.0]])]
    assert torch.stack(compat.norms(tensors)).tolist() == [5.0, 2.0]
    assert compat.norms(tensors, torch.float64)[0].dtype == torch.float64


def test_many_tensors_are_divided_in_place() -> None:
    tensors = [torch.tensor([2.0, 4.0]), torch.tensor([6.0])]
    compat.divide_all(tensors, 2.0)
    compat.divide_all(tensors, torch.tensor(0.5))
    assert [tensor.tolist() for tensor in tensors] == [[2.0, 4.0], [6.0]]


def test_no_default_device_is_told_from_one_that_was_set() -> None:
    assert compat.default_device() is None
    try:
        torch.set_default_device("meta")
        assert compat.default_device() == torch.device("meta")
    finally:
        torch.set_default_device(None)
    assert compat.default_device() is None


def test_switches_are_read_as_the_public_setters_leave_them() -> None:
    threads, nnpack = compat.is_multithreading_enabled(), compat.is_nnpack_enabled()
    try:
        torch.autograd.set_multithreading_enabled(not threads)
        torch.backends.nnpack.set_flags(not nnpack)
        assert (compat.is_multithreading_enabled(), compat.is_nnpack_enabled()) == (not threads, not nnpack)
    finally:
        torch.autograd.set_multithreading_enabled(threads)
        torch.backends.nnpack.set_flags(nnpack)


def test_operators_are_told_from_what_else_lies_below_torch() -> None:
    assert isinstance(torch.ops.aten, compat.OperatorNamespace)
    assert isinstance(torch.ops.aten.add.Tensor, compat.OpOverload)
    assert [argument.name for argument in torch.ops.aten.linear.default._schema.arguments] == [
        "input",
        "weight",
        "bias",
    ]
    assert not isinstance(torch.ops.load_library, compat.OperatorNamespace)


def test_a_gated_unit_is_seen_under_a_function_mode() -> None:
    seen = []

    class Seen(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with Seen():
        F.glu(torch.zeros(2, 4))
    assert compat.F_GLU in seen or F.glu in seen


def test_every_batch_normalisation_is_known() -> None:
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    assert all(isinstance(kind(2), compat.BatchNorm) for kind in kinds)
    assert not isinstance(nn.LayerNorm(2), compat.BatchNorm)


def test_outputs_of_any_kind_have_leaves() -> None:
    outputs = {"logits": torch.zeros(2), "hidden": (torch.ones(1), 3)}
    assert len(compat.tree_leaves(outputs)) == 3
    assert compat.tree_map_only(torch.Tensor, lambda tensor: tensor + 1, outputs)["hidden"][0].item() == 2.0
    assert dict in compat.SUPPORTED_NODES


def test_every_operation_on_tensors_is_seen_under_a_dispatch_mode() -> None:
    seen = []

    class Seen(compat.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with Seen():
        torch.ones(2) + 1
    assert torch.ops.aten.add.Tensor in seen


def test_the_settings_of_the_compiler_are_modules_that_are_read_and_written_whole() -> None:
    found = compat.config_modules({**sys.modules, "plain": types.ModuleType("plain")})
    assert {"torch._inductor.config", "torch._dynamo.config"} <= set(found)
    assert "plain" not in found
    before = compat.compiler_config.get_config_copy()
    compat.compiler_config.freezing = not before["freezing"]
    compat.compiler_config.load_config({"freezing": before["freezing"]})
    assert compat.compiler_config.get_config_copy() == before


def test_an_exported_model_is_read_member_by_member_and_whole(tmp_path: Path) -> None:
    path = export_model(nn.Linear(2, 1), (torch.zeros(2, 2),), tmp_path / "model.pt2")
    reader = compat.ArchiveReader(str(path))
    assert "models/model.json" in reader.get_all_records()
    assert reader.get_record("models/model.json").startswith(b"{")
    assert compat.load_exported_programs(path)["model"].module()(torch.zeros(3, 2)).shape == (3, 1)


def test_functions_of_sizes_are_known_by_name() -> None:
    assert {"FloorDiv", "Mod", "CeilDiv"} <= compat.SYMPY_FUNCTIONS


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pinned_memory_is_given_back() -> None:
    del_me = torch.empty(1 << 20, pin_memory=True)
    del del_me
    compat.give_back_pinned_memory()
