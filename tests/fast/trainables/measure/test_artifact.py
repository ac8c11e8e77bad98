"""The exported file: what it holds, what it leaves alone, what it refuses."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from trainables.measure.artifact import ArtifactError, export_model, export_program, load_model, save_program


class Small(nn.Module):
    """Two inputs, batch norm and dropout: modes and buffers matter."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        outputs: Tensor = self.layers(torch.cat([left, right.float()], dim=1))
        return outputs


def inputs(rows: int) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, 4), torch.randint(0, 9, (rows, 2))


@pytest.fixture
def trained() -> Small:
    torch.manual_seed(0)
    model = Small()
    model(*inputs(32))  # moves the statistics of the batch norm away from where they start
    return model


@pytest.mark.parametrize("rows", [1, 2, 3, 64])
def test_file_gives_the_outputs_of_the_model_in_evaluation_mode_at_every_batch_size(
    trained: Small, tmp_path: Path, rows: int
) -> None:
    loaded = load_model(export_model(trained, inputs(5), tmp_path / "model.pt2"))
    given = inputs(rows)
    assert torch.equal(loaded(*given), trained.eval()(*given))


def test_model_is_left_as_it_was(trained: Small, tmp_path: Path) -> None:
    trained.layers[1].eval()  # a mixture of modes, which must survive
    modes = [module.training for module in trained.modules()]
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    export_model(trained, inputs(5), tmp_path / "model.pt2")
    assert [module.training for module in trained.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert all(parameter.requires_grad for parameter in trained.parameters())


def test_one_example_row_is_enough(trained: Small, tmp_path: Path) -> None:
    loaded = load_model(export_model(trained, inputs(1), tmp_path / "model.pt2"))
    assert loaded(*inputs(7)).shape == (7, 3)


def test_file_holds_weights_but_neither_data_nor_source_code(trained: Small, tmp_path: Path) -> None:
    dataset = torch.randn(100_000, 4)
    path = export_model(trained, (dataset[:2], inputs(2)[1]), tmp_path / "model.pt2")
    assert path.stat().st_size < 40_000
    with zipfile.ZipFile(path) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert Path(__file__).name.encode() not in content
    assert b"torch.cat([left" not in content


def test_weights_that_nothing_uses_are_left_out(tmp_path: Path) -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used = nn.Linear(4, 4)
            self.unused = nn.Linear(500, 500)

        def forward(self, x: Tensor) -> Tensor:
            outputs: Tensor = self.used(x)
            return outputs

    model = Holder()
    path = export_model(model, (torch.randn(2, 4),), tmp_path / "model.pt2")
    assert path.stat().st_size < 40_000
    given = torch.randn(3, 4)
    assert torch.equal(load_model(path)(given), model(given))


def test_same_model_gives_the_same_bytes(trained: Small, tmp_path: Path) -> None:
    first = export_model(trained, inputs(5), tmp_path / "model.pt2").read_bytes()
    (tmp_path / "again").mkdir()
    second = export_model(trained, inputs(9), tmp_path / "again" / "model.pt2").read_bytes()
    assert len(first) == len(second)


def test_file_is_replaced_whole_or_not_at_all(trained: Small, tmp_path: Path) -> None:
    path = export_model(trained, inputs(5), tmp_path / "model.pt2")
    before = path.read_bytes()
    with pytest.raises(ArtifactError):
        export_model(BranchesOnData(), (torch.ones(2, 3),), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pt2"]


def test_program_runs_under_autocast(trained: Small, tmp_path: Path) -> None:
    loaded = load_model(save_program(export_program(trained, inputs(5)), tmp_path / "model.pt2"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loaded(*inputs(4)).dtype == torch.bfloat16


class BranchesOnData(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class KnowsItsBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), 3).sum(1)


@pytest.mark.parametrize(
    ("model", "cause"), [(BranchesOnData(), "data-dependent"), (KnowsItsBatch(), r"from x\.shape\[0\], not from len")]
)
def test_model_that_cannot_be_exported_is_named(model: nn.Module, cause: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=rf"cannot export {type(model).__name__} with a free number.*{cause}"):
        export_model(model, (torch.ones(2, 3),), tmp_path / "model.pt2")


@pytest.mark.parametrize("content", [b"", b"not an archive", None])
def test_file_that_is_no_model_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match="is not an exported model that this version reads"):
        load_model(path)


def test_model_that_cannot_be_copied_is_named(trained: Small, tmp_path: Path) -> None:
    """It keeps its last outputs, with the graph behind them."""
    trained.last = trained(*inputs(3))
    with pytest.raises(ArtifactError, match=r"Small cannot be copied: Only Tensors created explicitly by the user"):
        export_model(trained, inputs(2), tmp_path / "model.pt2")
