"""Lists of unequal length: one flat array of all elements and where each row begins, padded only in a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, Any]
MASK = "_mask"  # behind the name of a column: where its elements are no padding


@dataclass(frozen=True)
class RaggedValues:
    """Rows of lists. Row i is `values[offsets[i] : offsets[i + 1]]`; elements may be of any one shape.

    `values`: [elements, ...]. `offsets`: int64 [rows + 1], from 0. `pad`: what stands behind the end of a shorter row.
    """

    values: Numbers
    offsets: Numbers
    pad: float

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Numbers:
        """Elements of each row: int64 [rows]."""
        return np.diff(self.offsets)

    def of_rows(self, rows: Numbers) -> RaggedValues:
        """These rows alone, in this order."""
        parts = [self.values[self.offsets[row] : self.offsets[row + 1]] for row in rows]
        offsets = np.concatenate([[0], np.cumsum(self.lengths[rows])])
        return RaggedValues(np.concatenate([self.values[:0], *parts]), offsets, self.pad)

    def padded(self, rows: Numbers, least: int = 1) -> tuple[Numbers, Numbers]:
        """These rows as [rows, longest of them, ...], and bool [rows, longest]: where there is an element.

        They are padded to `least` elements at least.
        """
        starts, lengths = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        within = np.arange(int(lengths.max(initial=max(1, least))))
        mask = within < lengths[:, None]
        filled = np.full((*mask.shape, *self.values.shape[1:]), self.pad, dtype=self.values.dtype)
        filled[mask] = self.values[(starts[:, None] + within)[mask]]
        return filled, mask
