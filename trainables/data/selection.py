"""Which columns of a source are read: a table holds no other, and nothing is said of the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.data.columns import Column, Ragged, Stored

if TYPE_CHECKING:
    from trainables.data.preparation import Preparation


@dataclass(frozen=True)
class Selection:
    """The columns to read by their names; those of them that a file lacks are passed over here.

    `names` None: all columns. `skips_unusable`: a column that a table cannot hold, or that differs from file to file,
    is left out with the reason instead of being refused. It is for tasks whose columns are unknown.
    `stored`: the columns that keep the type of their file; those that are not in it have one that models take (see
    `model_types`). None: all keep theirs. `preparation`: of the columns that a task says how to make numbers of.
    `ragged`: the columns of lists of unequal length, and what each is padded with.
    """

    names: frozenset[str] | None = None
    skips_unusable: bool = False
    stored: frozenset[str] | None = None
    preparation: Preparation | None = None
    ragged: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(
        cls,
        names: Iterable[str] | None,
        columns: Sequence[str] | Mapping[str, Column] = (),
        preparation: Preparation | None = None,
    ) -> Selection:
        """These columns, each of which must be usable, in the types that models take; None: all that are.

        `columns`: as a task has them, which say more of some.
        """
        kinds = columns.items() if isinstance(columns, Mapping) else ()
        stored = frozenset(name for name, kind in kinds if isinstance(kind, Stored))
        ragged = tuple((name, kind.pad) for name, kind in kinds if isinstance(kind, Ragged))
        return cls(None if names is None else frozenset(names), names is None, stored, preparation, ragged)

    def among(self, names: Iterable[str]) -> list[str]:
        """The columns to read of those that a file has, in the file's order."""
        return [name for name in names if self.names is None or name in self.names]

    @property
    def key(self) -> str:
        """A text that two selections share only if they select the same."""
        names, stored = (None if one is None else sorted(one) for one in (self.names, self.stored))
        prepared = self.preparation.to_json() if self.preparation else ""
        return repr((names, self.skips_unusable, stored, prepared, sorted(self.ragged)))

    def padding(self, name: str) -> float | None:
        """The padding of a column's lists; None: they have one length."""
        return dict(self.ragged).get(name)

    def prepares(self, name: str) -> bool:
        """Whether a column is made numbers of in its own way, so that nulls and any type are that way's matter."""
        return self.preparation is not None and name in self.preparation.fitted

    def keeps_type(self, name: str) -> bool:
        """Whether a column is of the type of its file."""
        return self.stored is None or name in self.stored


EVERYTHING = Selection()
NOT_NAMED = "the task does not name it: add it to the task's `columns`"
