"""Columns become numbers as scikit-learn's transformers make them, fitted on the training data alone."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from trainables.data import preparation as module
from trainables.data.columns import Category, Column, Date, Number
from trainables.data.preparation import FittedCategory, Preparation, preparation_of
from trainables.data.sources import DataError

AGES = [31.0, None, 64.5, 18.0, float("nan"), 47.25]


def sets(folder: Path, **columns: list[Any]) -> dict[str, str]:
    """Three files: the train data as given, the others the same values in another order."""
    sources = {}
    for turn, split in enumerate(("train", "validation", "test")):
        rows = {name: values[turn:] + values[:turn] for name, values in columns.items()}
        pq.write_table(pa.table({**rows, "row": [turn] * len(next(iter(rows.values())))}), folder / f"{split}.parquet")
        sources[split] = str(folder / f"{split}.parquet")
    return sources


def fitted(folder: Path, kind: Column, values: list[Any]) -> Preparation:
    found = preparation_of({"x": kind}, sets(folder, x=values), folder / "cache")
    assert found is not None
    return found


def applied(prepared: Preparation, values: Any) -> Any:
    return prepared.apply("x", pa.array(values), "column 'x'").to_numpy(zero_copy_only=False)


@pytest.mark.parametrize("fill", ["mean", "median", 7.0])
def test_numbers_are_filled_and_standardised_as_scikit_learn_does(tmp_path: Path, fill: Any) -> None:
    prepared = fitted(tmp_path, Number(fill=fill, standardize=True), AGES)
    raw = np.array([[np.nan if value is None else value] for value in AGES])
    strategy = {"strategy": fill} if isinstance(fill, str) else {"strategy": "constant", "fill_value": fill}
    imputed = SimpleImputer(**strategy).fit(raw)
    scaler = StandardScaler().fit(imputed.transform(raw))
    new = [None, 25.0, float("nan"), 90.0]
    rows = np.array([[np.nan if value is None else value] for value in new])
    expected = scaler.transform(imputed.transform(rows))[:, 0]
    assert np.allclose(applied(prepared, new), expected, rtol=1e-6)
    assert applied(prepared, new).dtype == np.float32


def test_categories_are_counted_as_scikit_learn_does_and_those_unknown_are_0(tmp_path: Path) -> None:
    cities = ["Rome", "Bern", "Oslo", "Bern", "Rome", "Rome"]
    prepared = fitted(tmp_path, Category(), cities)
    expected = OrdinalEncoder().fit_transform([[city] for city in cities])[:, 0]
    assert applied(prepared, cities).tolist() == expected.tolist()
    unknown = fitted(tmp_path, Category(unknown=True), cities)
    assert applied(unknown, ["Paris", "Bern", "Rome"]).tolist() == [0, 1, 3]
    assert [one.fitted["x"].size for one in (prepared, unknown)] == [3, 4]  # type: ignore[union-attr]
    assert unknown.fitted["x"] == FittedCategory(vocabulary=("Bern", "Oslo", "Rome"), unknown=True)


def test_a_category_may_be_a_number_a_boolean_or_a_dictionary_and_nulls_a_category_of_their_own(tmp_path: Path) -> None:
    prepared = fitted(tmp_path, Category(fill="none"), [3, None, 10, 3])
    assert applied(prepared, [10, 3, None]).tolist() == [0, 1, 2]
    assert applied(prepared, [10.0, float("nan")]).tolist() == [0, 2]  # what pandas makes of whole numbers and nulls
    assert applied(fitted(tmp_path, Category(), [True, False]), [False, True]).tolist() == [0, 1]
    text = fitted(tmp_path, Category(), ["b", "a"])
    assert applied(text, pa.array(["b", "a"]).dictionary_encode()).tolist() == [1, 0]


def test_dates_are_days_since_1970_whatever_form_they_have(tmp_path: Path) -> None:
    prepared = fitted(tmp_path, Date(), [date(1970, 1, 2), date(2024, 2, 29)])
    assert applied(prepared, [date(1970, 1, 2)]).tolist() == [1.0]
    assert applied(prepared, [datetime(1970, 1, 2, 12)]).tolist() == [1.5]
    assert applied(prepared, ["1970-01-03", "1970-01-03T06:00:00"]).tolist() == [2.0, 2.25]
    filled = fitted(tmp_path, Date(fill="median", standardize=True), [date(1970, 1, day) for day in (1, 2, 6)] + [None])
    days = np.array([0, 1, 5, 1])  # the median stands for the null
    assert applied(filled, [None, date(1970, 1, 6)]).tolist() == pytest.approx((days[[1, 2]] - 1.75) / days.std())
    assert applied(filled, [None]).tolist() == pytest.approx([(1 - 1.75) / days.std()])


def test_only_the_training_data_is_fitted_and_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = sets(tmp_path, x=[1.0, 2.0, 3.0])
    pq.write_table(pa.table({"x": [100.0]}), tmp_path / "test.parquet")
    kinds = {"x": Number(standardize=True)}
    first = preparation_of(kinds, sources, tmp_path / "cache")
    assert first is not None
    assert first.fitted["x"].mean == 2.0  # type: ignore[union-attr]
    assert Preparation.of_json(first.to_json()) == first
    monkeypatch.setattr(module, "_fit", None)
    assert preparation_of(kinds, sources, tmp_path / "cache") == first
    pq.write_table(pa.table({"x": [3.0]}), tmp_path / "train.parquet")
    with pytest.raises(TypeError):
        preparation_of(kinds, sources, tmp_path / "cache")  # other data is fitted anew


def test_a_column_that_never_changes_is_not_blown_up(tmp_path: Path) -> None:
    prepared = fitted(tmp_path, Number(standardize=True), [0.1] * 7)
    assert np.abs(applied(prepared, [0.1])).max() < 1e-6


WRONG: dict[str, tuple[Column, list[Any], str]] = {
    "nulls without a fill": (Number(), [1.0, None], r'1 null values; say what they count as: Number\(fill="median"\)'),
    "nulls that are no category": (Category(unknown=True), ["a", None], r'count as: Category\(fill="missing"\)'),
    "text as a number": (Number(), ["1"], r"is of type string, and no number: Category\(\) is for text"),
    "numbers as dates": (Date(), [1.0], "is of type double, and no date or time"),
    "text that is no date": (Date(), ["soon"], "cannot be read as dates"),
    "fractions as categories": (Category(), [0.5], "no categories, but numbers with fractions"),
    "nothing but nulls": (Number(fill="mean"), [None, float("nan")], "holds no number"),
    "no mean": (Number(standardize=True), [1.0, float("inf")], "NaN or infinity, so it has no mean"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_made_a_number_says_why(tmp_path: Path, case: str) -> None:
    kind, values, words = WRONG[case]
    with pytest.raises(DataError, match=words):
        fitted(tmp_path, kind, values)


def test_a_value_that_only_the_test_data_has_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    sources = sets(tmp_path, x=["a", "b"])
    pq.write_table(pa.table({"x": ["a", "c"]}), tmp_path / "test.parquet")
    with pytest.raises(
        DataError, match=r"test.parquet holds 'c', which the train data does not have; Category\(unknown"
    ):
        preparation_of({"x": Category()}, sources, tmp_path / "cache")
    with pytest.raises(DataError, match="has no column 'z', which `columns` names; it has 'x'"):
        preparation_of({"z": Category()}, sources, tmp_path / "cache")


@pytest.mark.parametrize("kind", [Number, Date])
def test_a_fill_that_is_none_of_the_choices_is_refused(kind: type[Number | Date]) -> None:
    with pytest.raises(ValueError, match="fill is a number, 'mean' or 'median', not 'mode'"):
        kind(fill="mode")  # type: ignore[arg-type]
