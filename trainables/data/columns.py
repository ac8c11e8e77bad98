"""What a task says of a column whose values do not go to the model as they lie in the file. Imports nothing heavy.

    columns = {"age": Number(fill="median", standardize=True), "city": Category(unknown=True), "when": Date()}

What they need to know (a median, a vocabulary) is taken from the training data alone: see `preparation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FILLS = ("mean", "median")


@dataclass(frozen=True)
class Stored:
    """Numbers of the very type that they are stored in, such as float64 for a model in double precision."""


@dataclass(frozen=True)
class Number:
    """One float32 a row, of whole numbers, floats, decimals or booleans.

    `fill` stands for nulls and NaN: a number, or the mean or median of the training data; None: they are refused.
    `standardize`: less the mean of the training data, and divided by its standard deviation, both after filling.
    """

    fill: float | Literal["mean", "median"] | None = None
    standardize: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError."""
        _check_fill(self.fill)


@dataclass(frozen=True)
class Category:
    """One int64 a row, from 0: the place of its value in the sorted values of the training data, its vocabulary.

    Of text, whole numbers or booleans. `fill`: the value that nulls count as; None: they are refused. `unknown`: values
    that the training data does not have are 0, and those of the vocabulary are counted from 1; without it, they are
    refused. How many different numbers there are, `self.fitted["city"].size` tells in the task's `build_model`.
    """

    fill: str | None = None
    unknown: bool = False


@dataclass(frozen=True)
class Date:
    """One float32 a row: days since 1970-01-01, with fractions, of dates, times or text such as 2024-05-01T12:00.

    float32 tells apart times that are 3 minutes apart today. `fill` and `standardize` are as for `Number`, in days.
    """

    fill: float | Literal["mean", "median"] | None = None
    standardize: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError."""
        _check_fill(self.fill)


@dataclass(frozen=True)
class Ragged:
    """Lists of unequal length: tokens of texts, values of series, or lists of vectors of one length.

    A batch holds them padded with `pad` to its longest, [rows, longest, ...], and beside them `<column>_mask`, bool
    [rows, longest]: False where there is padding. `losses` and `scores` leave those items out, as in
    `F.cross_entropy(...)[batch["tokens_mask"]]`. Batches are made of rows of about one length.
    """

    pad: float = 0


def _check_fill(fill: object) -> None:
    if not (fill is None or fill in FILLS or (isinstance(fill, int | float) and not isinstance(fill, bool))):
        raise ValueError(f"fill is a number, 'mean' or 'median', not {fill!r}")


Column = Stored | Number | Category | Date | Ragged
COLUMN_KINDS: dict[str, type[Column]] = {kind.__name__: kind for kind in (Number, Category, Date, Ragged, Stored)}
