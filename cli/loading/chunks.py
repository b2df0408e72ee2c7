"""What a reader yields: some lines of a file as columns of text, and what it could not read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.errors import PenchantError

CHUNK = 25_000  # lines

ODD = "\x00"
"""Stands in a column for a value that is not text: no rule accepts it, so the line is read by itself."""


class WrongFile(PenchantError):
    """The file cannot be loaded."""


class Reject(NamedTuple):
    """A line that was not stored: which, the field at fault as the sender writes it, and why."""

    line: int
    field: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines of a file. Columns are as long as `lines`; texts, but `occurredAt` may be timestamps.

    `itemIds`, `properties`, `traits`, `attributes`, `categories` and `offers` are JSON texts where they are not plain.
    """

    lines: NDArray[np.int64]
    columns: Mapping[str, pa.Array]
    record: Callable[[int], dict[str, Any]]  # one line as the sender wrote it, by its place in the chunk
    rejects: list[Reject] = field(default_factory=list)
    read: int = 0  # bytes of the file behind us
    skipped: Mapping[str, int] = field(default_factory=dict)  # lines left out by a recipe's rules, by their column
    last: int = 0  # the last line that was read for it, where that is none of `lines`

    @property
    def last_line(self) -> int:
        """The last line this chunk speaks of."""
        broken = max((reject.line for reject in self.rejects), default=0)
        return max(int(self.lines[-1]) if len(self.lines) else 0, broken, self.last)
