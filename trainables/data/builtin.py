"""The built-in data: real, on every machine, and written once per node as Parquet, from where it is like a user's.

    builtin://digits/{train,validation,test}     scikit-learn's digits: 1797 images of 8x8, split 64/16/20 in each class
    builtin://diabetes/{train,validation,test}   scikit-learn's diabetes: 442 patients, split 64/16/20
    builtin://stdlib/{train,validation,test}     bytes of the modules of Python's standard library, split by module

The splits never change: they come from hashes of names or from numpy's frozen `RandomState` stream.
Importing this module, its row counts and its fingerprints needs neither torch nor numpy nor scikit-learn.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from trainables.data.digest import clear_away, intact_file, with_digest
from trainables.data.lock import locked
from trainables.data.sources import SPLITS, DataError

SCHEME = "builtin://"
PARQUET_SUFFIX = ".parquet"
ROWS = {
    "digits": {"train": 1151, "validation": 287, "test": 359},
    "diabetes": {"train": 283, "validation": 71, "test": 88},
    "stdlib": {"train": 4096, "validation": 512, "test": 512},
}

CONTEXT_BYTES = 64  # of a row of `stdlib`: this many bytes, and the byte that follows each of them
MODULE_ROWS = 64  # at most, so that no single module dominates; evenly spread over the module

DIABETES_MEAN, DIABETES_STD = 151.434629, 79.138907  # of the target over the training rows; a test compares

_RECIPES = {"digits": 1, "diabetes": 1, "stdlib": 1}  # raise one when what is written below changes


def parse(source: str) -> tuple[str, str]:
    """`builtin://digits/train` -> ("digits", "train"). Raises DataError."""
    dataset, _, split = source.removeprefix(SCHEME).partition("/")
    if dataset not in ROWS or split not in SPLITS:
        raise DataError(
            f"{source!r} is no built-in data; it is {SCHEME} and one of {', '.join(ROWS)}, "
            f"a slash, and one of {', '.join(SPLITS)}"
        )
    return dataset, split


def builtin_fingerprint(source: str) -> str:
    """32 hexadecimal digits for the content of one built-in source. Raises DataError."""
    dataset, split = parse(source)
    return hashlib.sha256(f"{_dataset_fingerprint(dataset)} {split}".encode()).hexdigest()[:32]


def n_rows(source: str) -> int:
    """Rows of one built-in source. Raises DataError."""
    dataset, split = parse(source)
    return ROWS[dataset][split]


def task_fingerprint(dataset: str) -> str:
    """32 hexadecimal digits for the three splits of a built-in data set together."""
    return _dataset_fingerprint(dataset)


def materialise(source: str, cache_folder: Path) -> Path:
    """The Parquet file of a built-in source in this node's cache, written if it is not there yet. Raises DataError."""
    dataset, split = parse(source)
    folder = cache_folder / "datasets" / f"{dataset}-{_dataset_fingerprint(dataset)}"
    if (found := intact_file(folder / split, PARQUET_SUFFIX, cache_folder)) is None:
        with locked(folder.with_suffix(".lock")):
            if (found := intact_file(folder / split, PARQUET_SUFFIX, cache_folder)) is None:
                clear_away(folder / split, PARQUET_SUFFIX)
                found = _write(dataset, folder)[split]
    return found


def _write(dataset: str, folder: Path) -> dict[str, Path]:
    """All splits, those too that are there already: a file by the name of its split."""
    import pyarrow.parquet as pq

    partial, paths = folder.with_suffix(".partial"), {}
    shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
    partial.mkdir(parents=True)
    folder.mkdir(exist_ok=True)
    for split, table in _WRITERS[dataset]().items():
        written = partial / f"{split}{PARQUET_SUFFIX}"
        pq.write_table(table, written)
        paths[split] = with_digest(written, folder / split)
        os.replace(written, paths[split])
    shutil.rmtree(partial)
    return paths


@cache
def _dataset_fingerprint(dataset: str) -> str:
    digest = hashlib.sha256(f"{dataset} {_RECIPES[dataset]}\n".encode())
    if dataset == "stdlib":
        for split, rows in _stdlib_rows().items():
            digest.update(f"{split} {len(rows)}\n".encode() + b"".join(rows))
    else:
        for name in {"digits": ["digits"], "diabetes": ["diabetes_data_raw", "diabetes_target"]}[dataset]:
            digest.update(_sklearn_file(f"{name}.csv.gz").read_bytes())
    return digest.hexdigest()[:32]


def _sklearn_file(name: str) -> Path:
    spec = importlib.util.find_spec("sklearn")  # looks, does not import: importing takes a second
    if spec is None or not spec.submodule_search_locations:
        raise DataError("built-in data needs scikit-learn; install it with `pip install scikit-learn`")
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data" / name


# -- scikit-learn's ---------------------------------------------------------------------------------------------------


def _digits() -> dict[str, Any]:
    """Columns: image float32 [1, 8, 8] from 0 to 1, label int64 from 0 to 9."""
    import numpy as np
    import pyarrow as pa
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16.0).astype(np.float32)  # 16 is the brightest
    tensor = pa.fixed_shape_tensor(pa.float32(), [1, 8, 8])

    def table(rows: Any) -> Any:
        flat = pa.FixedSizeListArray.from_arrays(pa.array(images[rows].ravel()), 64)
        columns = [pa.ExtensionArray.from_storage(tensor, flat), pa.array(labels[rows].astype(np.int64))]
        return pa.table(columns, names=["image", "label"])

    return {split: table(rows) for split, rows in _split_rows(labels).items()}


def _diabetes() -> dict[str, Any]:
    """Columns: features float32 [10], standardised over the training rows; target float32, progression as published."""
    import numpy as np
    import pyarrow as pa
    from sklearn.datasets import load_diabetes

    features, target = load_diabetes(return_X_y=True, scaled=False)
    splits = _split_rows(np.zeros(len(target)))
    train = features[splits["train"]]
    features = ((features - train.mean(axis=0)) / train.std(axis=0)).astype(np.float32)

    def table(rows: Any) -> Any:
        flat = pa.FixedSizeListArray.from_arrays(pa.array(features[rows].ravel()), features.shape[1])
        return pa.table([flat, pa.array(target[rows].astype(np.float32))], names=["features", "target"])

    return {split: table(rows) for split, rows in splits.items()}


def _split_rows(classes: Any) -> dict[str, Any]:
    """Row numbers of each split: 64 % train, 16 % validation, 20 % test of every class, shuffled."""
    import numpy as np

    random = np.random.RandomState(0)  # its stream is frozen for good; that of a Generator may change
    parts: dict[str, list[Any]] = {split: [] for split in SPLITS}
    for label in np.unique(classes):
        rows = random.permutation(np.flatnonzero(classes == label))
        test = round(0.2 * len(rows))
        validation = round(0.2 * (len(rows) - test))
        parts["test"].append(rows[:test])
        parts["validation"].append(rows[test : test + validation])
        parts["train"].append(rows[test + validation :])
    return {split: random.permutation(np.concatenate(rows)) for split, rows in parts.items()}


# -- Python's ---------------------------------------------------------------------------------------------------------


def _stdlib() -> dict[str, Any]:
    """Columns: bytes uint8 [64], next_bytes uint8 [64]: the byte that follows each of them."""
    import numpy as np
    import pyarrow as pa

    def table(rows: list[bytes]) -> Any:
        windows = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), CONTEXT_BYTES + 1)
        columns = [windows[:, :-1], windows[:, 1:]]
        lists = [pa.FixedSizeListArray.from_arrays(pa.array(column.ravel()), CONTEXT_BYTES) for column in columns]
        return pa.table(lists, names=["bytes", "next_bytes"])

    return {split: table(rows) for split, rows in _stdlib_rows().items()}


@cache
def _stdlib_rows() -> dict[str, list[bytes]]:
    """Windows of CONTEXT_BYTES + 1 bytes. A module belongs to one split, by the hash of its name: 6 : 2 : 2.

    Modules are taken in the order of that hash until the split has its rows, at most MODULE_ROWS from each. A window
    that was seen before (licences, tables of zeros) is left out, so the splits have no row in common.
    """
    folder = Path(sysconfig.get_paths()["stdlib"])
    modules = [path for path in folder.glob("*.py") if not path.name.startswith("_sysconfigdata")]  # the machine's own
    found: dict[str, list[bytes]] = {split: [] for split in SPLITS}
    seen: set[bytes] = set()
    for key, path in sorted((hashlib.sha256(path.name.encode()).digest(), path) for path in modules):
        split = SPLITS[(0, 0, 0, 0, 0, 0, 1, 1, 2, 2)[key[-1] % 10]]
        space = min(MODULE_ROWS, ROWS["stdlib"][split] - len(found[split]))
        if space > 0:
            fresh = [row for row in _windows(path.read_bytes()) if row not in seen]
            fresh = list(dict.fromkeys(fresh))
            step = max(1, len(fresh) // space)
            chosen = fresh[::step][:space]
            seen.update(chosen)
            found[split] += chosen
    for split, rows in found.items():
        if len(rows) < ROWS["stdlib"][split]:
            raise DataError(
                f"the standard library in {folder} has too few sources for {SCHEME}stdlib/{split} "
                f"({len(rows)} of {ROWS['stdlib'][split]} rows); install Python with its sources"
            )
    return found


def _windows(content: bytes) -> list[bytes]:
    size = CONTEXT_BYTES + 1
    return [content[start : start + size] for start in range(0, len(content) - size + 1, size)]


_WRITERS: dict[str, Callable[[], dict[str, Any]]] = {"digits": _digits, "diabetes": _diabetes, "stdlib": _stdlib}
