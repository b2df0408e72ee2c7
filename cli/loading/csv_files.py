"""CSV in chunks: a line that cannot be read is set aside alone, even when it does not close a quote."""

import csv
import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cli.loading.bounded_lines import ROOM, check_length
from cli.loading.chunks import NOT_TEXT, Chunk, Reject, WrongFile, is_text, wrong_width
from cli.loading.shapes import Shape
from cli.loading.typed_columns import blank_is_null

DELIMITERS: Final = ",;\t|"
LONGEST_CELL: Final = 1 << 24  # characters
_LONGEST_HEADER: Final = 100  # lines
_QUOTED: Final = re.compile(r'"[^"]*"')

csv.field_size_limit(LONGEST_CELL)


@dataclass(slots=True)
class _Lines:
    """The lines of the text. Remembers those of the current chunk, so that some can be read again."""

    text: Iterator[str]
    repeated: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    room: int = field(default_factory=lambda: ROOM)  # characters that the current chunk may still have

    def __iter__(self) -> Iterator[str]:
        while self.repeated:
            self.given.append(self.repeated.pop())
            self.room -= len(self.given[-1])
            yield self.given[-1]
        remember = self.given.append
        for line in self.text:
            remember(line)
            self.room -= len(line)
            if self.room <= 0:
                check_length(line)
            yield line

    def begin_chunk(self) -> None:
        """Forget the lines of the last chunk."""
        self.given.clear()
        self.room = ROOM

    def repeat(self, after: int) -> None:
        """Read again the lines after the first `after` of this chunk."""
        self.repeated += reversed(self.given[after:])
        del self.given[after:]


def header_of(lines: Iterator[str], delimiter: str | None) -> tuple[list[str], str, int]:
    """The names in the first row that is not blank, the delimiter between them, and how many lines were read.

    Raises WrongFile for an empty file.
    """
    read = 1
    header = next(lines, "")
    while header and not header.strip():
        header, read = next(lines, ""), read + 1
    for line in islice(lines, _LONGEST_HEADER if header.count('"') % 2 else 0):
        header, read = header + line, read + 1
        if not header.count('"') % 2:
            break
    if not header:
        raise WrongFile("it is empty")
    if not is_text(header):
        raise WrongFile(f"its header {NOT_TEXT}")
    found = delimiter or max(DELIMITERS, key=_QUOTED.sub("", header).count)
    row = next(csv.reader(header.splitlines(keepends=True), delimiter=found))
    return [name.strip() for name in row], found, read


def csv_chunks(
    text: Iterator[str],
    names: list[str],
    delimiter: str,
    shape: Shape,
    position: Callable[[], int],
    first_line: int = 2,
) -> Iterator[Chunk]:
    """The rows, from `first_line` of the file on; the line of a row is where it begins."""
    wanted = frozenset(shape.wanted(names))
    lines = _Lines(text)
    while True:
        rows, rejects = _take(lines, delimiter, shape.size, first_line)
        if not lines.given:
            return
        starts = _starts(rows, first_line, len(lines.given), rejects)
        first_line += len(lines.given)
        lines.begin_chunk()
        starts, columns = _columns(rows, starts, rejects, names, wanted)
        yield shape.chunk(starts, columns, rejects, position())


def _take(lines: _Lines, delimiter: str, size: int, first_line: int) -> tuple[list[list[str]], list[Reject]]:
    """At most `size` rows; a broken row ends the chunk, and only its first line is lost."""
    rows: list[list[str]] = []
    try:
        for row in csv.reader(iter(lines), delimiter=delimiter, strict=True):
            rows.append(row)
            if lines.room <= 0 or len(rows) == size:
                break
    except csv.Error as error:
        good = sum(_height(row) for row in rows)
        lines.repeat(good + 1)
        return rows, [Reject(first_line + good, None, f"cannot be read as CSV: {_words(error)}")]
    return rows, []


def _words(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return "a quotation mark is never closed"
    if "expected after" in str(error):
        return f"{error}; a quotation mark inside a quoted value is written twice"
    return str(error)


def _height(row: list[str]) -> int:
    """How many lines of the file a row takes up."""
    return 1 + sum(text.count("\n") + text.count("\r") - text.count("\r\n") for text in row)


def _starts(rows: list[list[str]], first_line: int, given: int, rejects: list[Reject]) -> NDArray[np.int64]:
    if given - len(rejects) == len(rows):
        return np.arange(first_line, first_line + len(rows), dtype=np.int64)
    heights = np.fromiter((_height(row) for row in rows), np.int64, len(rows))
    return first_line + np.cumsum(heights) - heights


def _columns(
    rows: list[list[str]],
    starts: NDArray[np.int64],
    rejects: list[Reject],
    names: list[str],
    wanted: Container[str],
) -> tuple[NDArray[np.int64], dict[str, pa.Array]]:
    """The lines and wanted columns of the rows that can be read; the other rows are added to `rejects`."""
    faults = _faults(rows, len(names))
    rejects += [Reject(int(starts[place]), None, fault) for place, fault in faults.items() if fault]
    if faults:
        rows = [row for place, row in enumerate(rows) if place not in faults]
        starts = np.delete(starts, list(faults))
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    try:
        arrays = {
            name: blank_is_null(pa.array(column, pa.string()))
            for name, column in zip(names, columns, strict=True)
            if name in wanted
        }
    except UnicodeEncodeError:
        read = [place for place, name in enumerate(names) if name in wanted]
        return _columns(*_decodable(rows, starts, rejects, read), names, wanted)
    return starts, arrays


def _faults(rows: list[list[str]], width: int) -> dict[int, str]:
    """The faults of rows with another number of values, by place; blank lines have an empty one."""
    if all(len(row) == width for row in rows):
        return {}
    return {place: wrong_width(len(row), width) if row else "" for place, row in enumerate(rows) if len(row) != width}


def _decodable(
    rows: list[list[str]], starts: NDArray[np.int64], rejects: list[Reject], read: list[int]
) -> tuple[list[list[str]], NDArray[np.int64], list[Reject]]:
    """The rows whose bytes are text in the file's encoding, in the columns read; the others are added to `rejects`."""
    broken = [place for place, row in enumerate(rows) if not is_text("".join(row[each] for each in read))]
    rejects += [Reject(int(starts[place]), None, NOT_TEXT) for place in broken]
    lost = set(broken)
    return [row for place, row in enumerate(rows) if place not in lost], np.delete(starts, broken), rejects
