"""How columns become numbers for a model: medians, deviations and vocabularies, fitted on the training data alone.

A task says what it wants of a column (`columns`); here that is fitted, kept, and applied to every set and, with the
exported model, to raw rows. Sums are exact (`math.fsum`), so that every machine fits the same numbers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, TypeAdapter

from trainables.config.base import FrozenConfig
from trainables.data import builtin
from trainables.data.columns import Category, Column, Date, Number, Ragged, Stored
from trainables.data.fingerprint import fingerprint
from trainables.data.formats import opened, source_file_name
from trainables.data.lock import locked
from trainables.data.sources import DataError, list_files
from trainables.process.heartbeat import beat
from trainables.seal import DamagedFileError, sealed, unsealed

RECIPE = 1  # raise it when the same data would be fitted to something else
MICROSECONDS_OF_A_DAY = 86_400_000_000
EXAMPLES_SHOWN = 3
CONSTANT = 1e-14  # of the mean: a smaller deviation is none


class FittedNumber(FrozenConfig):
    """(value - mean) / deviation as float32, with `fill` for nulls and NaN. `is_date`: values are days since 1970."""

    kind: Literal["number"] = "number"
    is_date: bool = False
    fill: float | None = None
    mean: float = 0.0
    deviation: float = 1.0


class FittedCategory(FrozenConfig):
    """The place of a value in the vocabulary as int64; behind it by one where `unknown` values are 0."""

    kind: Literal["category"] = "category"
    vocabulary: tuple[str, ...]
    unknown: bool = False
    fill: str | None = None

    @property
    def size(self) -> int:
        """How many different numbers there are, from 0: the rows of an embedding."""
        return len(self.vocabulary) + self.unknown


Fitted = FittedNumber | FittedCategory
_JSON: TypeAdapter[dict[str, Fitted]] = TypeAdapter(dict[str, Annotated[Fitted, Field(discriminator="kind")]])


@dataclass(frozen=True)
class Preparation:
    """The fitted values, by the name of the column."""

    columns: tuple[tuple[str, Fitted], ...]

    @classmethod
    def of_json(cls, text: str | bytes) -> Preparation:
        """Raises ValueError."""
        return cls(tuple(_JSON.validate_json(text).items()))

    @property
    def fitted(self) -> dict[str, Fitted]:
        """By the name of the column."""
        return dict(self.columns)

    def to_json(self) -> str:
        """Such that `of_json` gives the same."""
        return _JSON.dump_json(self.fitted).decode()

    def apply(self, name: str, array: Any, what: str) -> Any:
        """A column, an Arrow array, as float32 or int64. `what` names it in a DataError."""
        match self.fitted[name]:
            case FittedNumber() as number:
                return _as_number(number, array, what)
            case FittedCategory() as category:
                return _as_category(category, array, what)


def preparation_of(
    columns: Sequence[str] | Mapping[str, Column], sources: Mapping[str, str], cache: Path
) -> Preparation | None:
    """What a task's `columns` ask for, fitted on the training data; None if that is nothing.

    All rows of the three sets are tried with it, so that no set is refused once others were trained on.

    Read once: what was found is kept in `cache`, under the content of the data. Raises DataError: no such column, a
    type that does not fit, nulls without a `fill`, values that the training data does not have without `unknown`.
    """
    said = columns if isinstance(columns, Mapping) else {}
    kinds = {name: kind for name, kind in said.items() if not isinstance(kind, Stored | Ragged)}
    if not kinds:
        return None
    prints = [fingerprint(source, cache) for source in sources.values()]
    key = hashlib.sha256(repr((RECIPE, sorted(kinds.items()), prints)).encode()).hexdigest()[:32]
    path = cache / "prepared" / f"{key}.json"
    with locked(path.with_suffix(".lock")):
        try:
            return Preparation.of_json(unsealed(path.read_bytes(), str(path)))
        except (OSError, ValueError, DamagedFileError):
            pass  # not there yet, or damaged
        fitted = Preparation(tuple((name, _fit(name, kind, sources["train"], cache)) for name, kind in kinds.items()))
        for source in sources.values():
            for name in kinds:
                for array, what in _arrays(source, name, cache):
                    if fitted.apply(name, array, what).null_count:
                        raise DataError(_nulls(what, array.null_count, kinds[name]))
        path.write_bytes(sealed(fitted.to_json().encode()))
    return fitted


def _fit(name: str, kind: Column, source: str, cache: Path) -> Fitted:
    match kind:
        case Category(fill=fill, unknown=unknown):
            values: set[str] = set() if fill is None else {fill}
            for array, what in _arrays(source, name, cache):
                values.update(pc.unique(_as_text(array, what).drop_null()).to_pylist())
            return FittedCategory(vocabulary=tuple(sorted(values)), unknown=unknown, fill=fill)
        case Number() | Date():
            return _fit_number(name, kind, source, cache)
    raise TypeError(f"{kind!r} is fitted to nothing")


def _fit_number(name: str, kind: Number | Date, source: str, cache: Path) -> FittedNumber:
    raw = FittedNumber(is_date=isinstance(kind, Date))
    if not (kind.standardize or isinstance(kind.fill, str)):
        return raw.model_copy(update={"fill": None if kind.fill is None else float(kind.fill)})
    parts, n_rows = [], 0
    for array, what in _arrays(source, name, cache):
        numbers = _as_floats(raw, array, what).drop_null().to_numpy(zero_copy_only=False)
        parts.append(numbers if kind.fill is None else numbers[~np.isnan(numbers)])
        n_rows += len(array)
    values = np.concatenate(parts)
    where = f"column {name!r} of the train data {source!r}"
    if not len(values):
        raise DataError(f"{where} holds no number, so nothing can be fitted to it")
    if not np.isfinite(values).all():
        raise DataError(f"{where} holds NaN or infinity, so it has no mean; fill=... stands for NaN and nulls")
    mean, fill = math.fsum(values) / len(values), None
    if kind.fill is not None:
        fill = (
            {"mean": mean, "median": float(np.median(values))}[kind.fill] if isinstance(kind.fill, str) else kind.fill
        )
    if not kind.standardize:
        return raw.model_copy(update={"fill": fill})
    filled, of_all = n_rows - len(values), n_rows if fill is not None else len(values)
    mean = math.fsum([math.fsum(values), filled * (fill or 0.0)]) / of_all
    squares = [math.fsum(np.square(values - mean)), filled * ((fill or 0.0) - mean) ** 2 if fill is not None else 0.0]
    deviation = math.sqrt(math.fsum(squares) / of_all)
    is_constant = deviation <= CONSTANT * abs(mean)  # but for how a mean is rounded
    return raw.model_copy(update={"fill": fill, "mean": mean, "deviation": 1.0 if is_constant else deviation})


def _arrays(source: str, name: str, cache: Path) -> Iterator[tuple[Any, str]]:
    """All values of a column of a source, piece by piece, and what to call it. Raises DataError."""
    if source.startswith(builtin.SCHEME):
        source = str(builtin.materialise(source, cache))
    for file in list_files(source):
        where = source_file_name(file)
        with opened(file) as reader:
            if name not in reader.schema.names:
                known = ", ".join(map(repr, reader.schema.names))
                raise DataError(f"data {where!r} has no column {name!r}, which `columns` names; it has {known}")
            for batch in reader.batches([name]):
                beat()
                yield batch.column(0), f"column {name!r} of {where}"


# -- applying it ------------------------------------------------------------------------------------------------------


def _as_number(fitted: FittedNumber, array: Any, what: str) -> Any:
    values = _as_floats(fitted, array, what)
    if fitted.fill is not None:
        values = pc.fill_null(pc.if_else(pc.is_nan(values), None, values), fitted.fill)
    scaled = pc.divide(pc.subtract(values, fitted.mean), fitted.deviation)
    return pc.cast(scaled, pa.float32(), safe=False)


def _as_floats(fitted: FittedNumber, array: Any, what: str) -> Any:
    """As float64; of dates, days since 1970-01-01."""
    kind = array.type
    try:
        if fitted.is_date:
            if not (pa.types.is_temporal(kind) or _is_text(kind) or pa.types.is_null(kind)):
                raise DataError(f"{what} is of type {kind}, and no date or time")
            stamps = pc.cast(array, pa.timestamp("us", getattr(kind, "tz", None)), safe=False)
            return pc.divide(pc.cast(pc.cast(stamps, pa.int64()), pa.float64(), safe=False), MICROSECONDS_OF_A_DAY)
        if not (
            pa.types.is_integer(kind)
            or pa.types.is_floating(kind)
            or pa.types.is_boolean(kind)
            or pa.types.is_decimal(kind)
            or pa.types.is_null(kind)
        ):
            raise DataError(f"{what} is of type {kind}, and no number: Category() is for text, Date() for dates")
        return pc.cast(array, pa.float64(), safe=False)
    except pa.ArrowException as error:
        raise DataError(f"{what} cannot be read as {'dates' if fitted.is_date else 'numbers'}: {error}") from error


def _as_category(fitted: FittedCategory, array: Any, what: str) -> Any:
    values = _as_text(array, what)
    if fitted.fill is not None:
        values = pc.fill_null(values, fitted.fill)
    found = pc.cast(pc.index_in(values, value_set=pa.array(fitted.vocabulary, pa.string())), pa.int64())
    new = pc.and_(pc.is_valid(values), pc.is_null(found))
    if fitted.unknown:
        found = pc.add(found, 1)
        return pc.if_else(new, pa.scalar(0, pa.int64()), found)
    if pc.any(new).as_py():
        examples = pc.unique(values.filter(new)).to_pylist()[:EXAMPLES_SHOWN]
        raise DataError(
            f"{what} holds {', '.join(map(repr, examples))}, which the train data does not have; "
            "Category(unknown=True) takes such values for one that is unknown"
        )
    return found


def _as_text(array: Any, what: str) -> Any:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    try:
        if pa.types.is_floating(kind):  # whole numbers beside nulls, as pandas has them
            array = pc.cast(pc.if_else(pc.is_nan(array), None, array), pa.int64())
        elif not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
            raise DataError(f"{what} is of type {kind}; a category is text, a whole number or a boolean")
        return pc.cast(array, pa.string())
    except pa.ArrowException as error:
        raise DataError(f"{what} holds no categories, but numbers with fractions: {error}") from error


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _nulls(what: str, count: int, kind: Column) -> str:
    fill = 'fill="missing"' if isinstance(kind, Category) else 'fill="median"'
    return f"{what} holds {count} null values; say what they count as: {type(kind).__name__}({fill})"
