"""Chunks: some lines of a file as columns of text, and the lines that could not be read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cli.errors import WrongCommand
from cli.loading.blanks import Blanks

CHUNK: Final = 25_000  # lines
SAMPLE: Final = 1_000  # lines at the start of a file, in which every column that a recipe reads must occur
TIME: Final = pa.timestamp("us", "UTC")
Lines = NDArray[np.int64]
"""Numbers of lines."""

ODD: Final = "\x00"
"""Replaces a value that is not text in a column: no check accepts it, so the line is read by itself."""

NESTED: Final = "\x00"
"""Stands before the JSON text of what is no plain value (an object, a list, an inexact number) in a column of texts."""

NOT_TEXT: Final = "is not text in the file's encoding; name it, for example --encoding cp1252"
"""The reason to reject a line with bytes that the encoding does not have; they are decoded to surrogates."""


class WrongFile(WrongCommand):
    """The file cannot be loaded."""


class Reject(NamedTuple):
    """A line that is set aside: its number, the wrong field as its sender writes it, the reason, and a known id."""

    line: int
    field: str | None
    reason: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines of a file. Columns are as long as `lines`; they hold texts, `occurredAt` may hold timestamps.

    `itemIds`, `properties`, `traits`, `attributes`, `categories` and `offers` are JSON texts where they are not plain.
    """

    lines: NDArray[np.int64]
    columns: Mapping[str, pa.Array]
    record: Callable[[int], dict[str, Any]]  # one line as the sender wrote it, by its place in the chunk
    rejects: list[Reject] = field(default_factory=list)
    read: int = 0  # bytes of the file that are read
    skipped: Mapping[str, int] = field(default_factory=dict)  # lines left out by a recipe's rules, by their column
    last: int = 0  # the last line that was read for it, when it is not in `lines`
    rounded: int = 0  # amounts with more decimal places than are kept
    cleared: frozenset[str] = frozenset()  # columns whose empty cells clear what is stored
    blanks: Blanks | None = None  # cells that may mean "as above"

    @property
    def last_line(self) -> int:
        """The last line that this chunk covers."""
        broken = max((reject.line for reject in self.rejects), default=0)
        return max(int(self.lines[-1]) if len(self.lines) else 0, broken, self.last)


def wrong_width(found: int, expected: int) -> str:
    """The reason to reject a line with another number of values than the header."""
    return f"has {found} value{'' if found == 1 else 's'}, not {expected}"


def is_text(line: str) -> bool:
    """Whether every byte of the line could be decoded."""
    return not any("\udc80" <= letter <= "\udcff" for letter in line)
