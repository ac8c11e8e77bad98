"""The built-in data are what they say, the same on every run, and split without overlap."""

import sysconfig
from pathlib import Path

import numpy as np
import pytest

from trainables.data import builtin
from trainables.data.table import open_table


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def whole(dataset: str, cache: Path) -> dict[str, np.ndarray]:
    tables = [open_table(f"builtin://{dataset}/{split}", cache) for split in builtin.SPLITS]
    return {name: np.concatenate([table.column(name).numpy() for table in tables]) for name in tables[0].columns}


@pytest.mark.parametrize("dataset", builtin.ROWS)
def test_row_counts_are_those_of_the_catalogue(dataset, cache):
    for split in builtin.SPLITS:
        source = f"builtin://{dataset}/{split}"
        assert open_table(source, cache).n_rows == builtin.n_rows(source)


def test_digits_are_scikit_learns_and_their_splits_alike(cache):
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    digits = whole("digits", cache)
    expected = {(row.tobytes(), label) for row, label in zip((pixels / 16).astype(np.float32), labels, strict=True)}
    found = {(row.tobytes(), label) for row, label in zip(digits["image"], digits["label"], strict=True)}
    assert found == expected
    for split, share in (("train", 0.64), ("validation", 0.16), ("test", 0.2)):
        counts = np.bincount(open_table(f"builtin://digits/{split}", cache).column("label"))
        np.testing.assert_allclose(counts, np.bincount(labels) * share, atol=1.0)


def test_least_squares_on_diabetes_gives_the_known_error(cache):
    """2859.70, R2 0.5177, on all 442 patients: standardising changes neither."""
    data = whole("diabetes", cache)
    features = np.column_stack([data["features"].astype(float), np.ones(442)])
    target = data["target"].astype(float)
    errors = target - features @ np.linalg.lstsq(features, target)[0]
    assert np.square(errors).mean() == pytest.approx(2859.70, abs=0.01)
    assert 1 - errors.var() / target.var() == pytest.approx(0.5177, abs=1e-4)


def test_diabetes_is_standardised_by_its_training_rows_alone(cache):
    table = open_table("builtin://diabetes/train", cache)
    features, target = table.column("features").double(), table.column("target").double()
    np.testing.assert_allclose(features.mean(dim=0), 0, atol=1e-6)
    np.testing.assert_allclose(features.std(dim=0, correction=0), 1, atol=1e-6)
    assert target.mean().item() == pytest.approx(builtin.DIABETES_MEAN, rel=1e-7)
    assert target.std(correction=0).item() == pytest.approx(builtin.DIABETES_STD, rel=1e-7)


def test_stdlib_rows_are_pieces_of_modules_and_no_module_is_in_two_splits(cache):
    folder = Path(sysconfig.get_paths()["stdlib"])
    homes: dict[bytes, set[str]] = {}
    for path in folder.glob("*.py"):
        content = path.read_bytes()
        for start in range(0, len(content) - 64, 65):
            homes.setdefault(content[start : start + 65], set()).add(path.name)
    modules: dict[str, set[str]] = {}
    for split in builtin.SPLITS:
        table = open_table(f"builtin://stdlib/{split}", cache)
        current, following = table.column("bytes").numpy(), table.column("next_bytes").numpy()
        assert (current[:, 1:] == following[:, :-1]).all()
        rows = [bytes(first) + bytes(last[-1:]) for first, last in zip(current, following, strict=True)]
        assert len(set(rows)) == len(rows)
        modules[split] = set().union(*(homes[row] for row in rows if len(homes[row]) == 1))
        assert len(modules[split]) >= 8
    assert not modules["train"] & modules["validation"]
    assert not modules["train"] & modules["test"]
    assert not modules["validation"] & modules["test"]


def test_what_a_killed_process_left_half_written_is_swept_away(tmp_path):
    done = builtin.materialise("builtin://diabetes/train", tmp_path).parent
    partial = done.with_suffix(".partial")
    done.rename(partial)
    (partial / "train.parquet").write_bytes(b"half")
    again = builtin.materialise("builtin://diabetes/train", tmp_path)
    assert again.stat().st_size > 1000
    assert not partial.exists()
