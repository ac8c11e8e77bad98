"""One's own model and data, as a task: see own_task.yaml. Its data comes from make_own_data.py."""

from torch import Tensor, nn
from torch.nn import functional as F

from paretune import Batch, Task


class BreastCancer(Task):
    train, validation, test = "data/train.parquet", "data/validation.parquet", "data/test.parquet"
    inputs = ("features",)
    metrics = {"accuracy": "max"}

    def build_model(self, width: float = 1.0) -> nn.Module:
        hidden = round(64 * width)
        return nn.Sequential(nn.Linear(30, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(outputs, batch["label"], reduction="none")

    def scores(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"accuracy": (outputs.argmax(dim=1) == batch["label"]).float()}
