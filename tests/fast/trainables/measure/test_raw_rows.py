"""A model is kept with the preparation of its columns, and takes the rows as they lie in the files."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

import paretune
from paretune import Category, DataError, Date, InputError, Number, Task
from trainables.measure.artifact import export_model
from trainables.measure.model_inputs import model_inputs
from trainables.measure.raw_rows import RowModel, raw_inputs
from trainables.tasks.task_data import TaskData, open_data


class Net(nn.Module):
    def __init__(self, cities: int) -> None:
        super().__init__()
        self.city, self.out = nn.Embedding(cities, 2), nn.Linear(5, 1)

    def forward(self, age: Tensor, city: Tensor, when: Tensor, pixels: Tensor) -> Tensor:
        return self.out(torch.cat([torch.stack([age, when, pixels.float().mean(1)], 1), self.city(city)], 1))


class People(Task):
    inputs = ("age", "city", "when", "pixels")
    columns = {  # noqa: RUF012
        "age": Number(fill="median", standardize=True),
        "city": Category(unknown=True),
        "when": Date(standardize=True),
    }

    def build_model(self, width: float = 1.0) -> nn.Module:
        return Net(self.fitted["city"].size)  # type: ignore[union-attr]

    def losses(self, outputs: Tensor, batch: Any) -> Tensor:
        return (outputs.squeeze(1) - batch["target"]).square()


class Halves(People):
    def forward(self, model: nn.Module, batch: Any) -> Tensor:
        outputs: Tensor = model(batch["age"] / 2, batch["city"], batch["when"], batch["pixels"])
        return outputs


def people(seed: int, rows: int = 20) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    ages = random.normal(40, 10, rows)
    ages[::5] = np.nan
    days = pd.to_datetime("2024-01-01") + pd.to_timedelta(random.integers(0, 900, rows), "h")
    cities = random.choice(["Rome", "Bern", "Oslo"] + ["Paris"] * bool(seed), rows)
    pixels = [row.tolist() for row in random.integers(0, 255, (rows, 3)).astype("uint8")]
    frame = pd.DataFrame(
        {"age": ages, "city": cities, "when": days, "pixels": pixels, "target": random.normal(size=rows)}
    )
    return frame.assign(note="not read")


def opened(task: Task, folder: Path) -> TaskData:
    for seed, split in enumerate(("train", "validation", "test")):
        pq.write_table(pa.Table.from_pandas(people(seed)), folder / f"{split}.parquet")
        setattr(task, split, str(folder / f"{split}.parquet"))
    return open_data(task, folder / "cache")


def exported(task: Task, folder: Path) -> tuple[nn.Module, TaskData, Any]:
    data = opened(task, folder)
    torch.manual_seed(0)
    model = task.build_model().eval()
    batch = data.validation.gather(np.arange(20))
    export_model(model, model_inputs(task, model, batch), folder / "model.pt2", raw_inputs(task))
    return model, data, paretune.load_model(folder / "model.pt2")


def test_raw_rows_give_what_the_model_gives_for_the_prepared_table(tmp_path: Path) -> None:
    task = People()
    model, data, loaded = exported(task, tmp_path)
    assert isinstance(loaded, RowModel)
    batch = data.validation.gather(np.arange(20))
    expected = task.forward(model, batch)
    frame = people(1)
    for rows in (frame, pa.Table.from_pandas(frame), frame.to_dict("list"), frame.to_dict("records")):
        torch.testing.assert_close(loaded.predict(rows), expected.detach())
    torch.testing.assert_close(loaded(*(batch[name] for name in task.inputs)), expected)
    prepared = loaded.prepare(frame)
    assert list(prepared) == list(task.inputs)
    assert all(torch.equal(prepared[name], batch[name]) for name in task.inputs)


def test_a_table_holds_what_was_fitted_on_the_training_data(tmp_path: Path) -> None:
    task = People()
    data = opened(task, tmp_path)
    assert data.train.columns["age"] == (torch.float32, ())
    assert abs(data.train.column("age").mean()) < 1e-6
    assert data.validation.column("city").min() == 0  # Paris, of which the training data has none
    assert data.train.column("city").tolist() == [
        1 + ["Bern", "Oslo", "Rome"].index(city) for city in people(0)["city"]
    ]
    assert data.test.n_rows == 20


def test_rows_that_the_model_cannot_take_say_why(tmp_path: Path) -> None:
    _, _, loaded = exported(People(), tmp_path)
    with pytest.raises(DataError, match="the rows have no column 'when'; they have"):
        loaded.predict(people(1).drop(columns="when"))
    with pytest.raises(DataError, match="column 'city' of the rows holds 1 null values"):
        loaded.predict({**people(1, 1).to_dict("list"), "city": [None]})


def test_a_forward_of_the_tasks_own_is_named_where_raw_rows_do_not_suffice(tmp_path: Path) -> None:
    task = Halves()
    model, data, loaded = exported(task, tmp_path)
    with pytest.raises(InputError, match=r"forward\(\) of Halves: call task.forward\(model, model.prepare\(rows\)\)"):
        loaded.predict(people(1))
    expected = task.forward(model, data.validation.gather(np.arange(20)))
    torch.testing.assert_close(task.forward(loaded, loaded.prepare(people(1))), expected)


def test_a_model_without_preparation_is_the_exported_one(tmp_path: Path) -> None:
    assert raw_inputs(People()) is None
    path = export_model(nn.Linear(2, 1), (torch.zeros(2, 2),), tmp_path / "model.pt2")
    assert not isinstance(paretune.load_model(path), RowModel)
