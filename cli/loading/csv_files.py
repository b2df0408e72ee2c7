"""CSV in chunks: a line that cannot be read is set aside alone, whatever quote it forgot to close."""

import csv
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TextIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cli.loading.chunks import Chunk, Reject, WrongFile
from cli.loading.shapes import Shape
from cli.loading.tables import blank_is_null

DELIMITERS = ",;\t|"


@dataclass(slots=True)
class _Lines:
    """The text's lines, remembering what was handed out since `forget`, so that some can be handed out again."""

    text: TextIO
    again: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[str]:
        while self.again:
            self.given.append(self.again.pop())
            yield self.given[-1]
        remember = self.given.append
        for line in self.text:
            remember(line)
            yield line

    def give_again(self, after: int) -> None:
        """Hand out once more what was handed out after the first `after` lines."""
        self.again += reversed(self.given[after:])
        del self.given[after:]


def header_of(text: TextIO, delimiter: str | None) -> tuple[list[str], str]:
    """The names in the first line and the delimiter between them. Raises WrongFile for an empty file."""
    line = text.readline()
    if not line.strip():
        raise WrongFile("it is empty")
    found = delimiter or max(DELIMITERS, key=line.count)
    return [name.strip() for name in next(csv.reader([line], delimiter=found))], found


def csv_chunks(
    text: TextIO,
    names: list[str],
    delimiter: str,
    shape: Shape,
    position: Callable[[], int],
    first_line: int = 2,
) -> Iterator[Chunk]:
    """The rows, from `first_line` of the file on; a row's line is where it begins."""
    wanted = frozenset(shape.wanted(names))
    lines = _Lines(text)
    while True:
        rows, rejects = _take(lines, delimiter, shape.size, first_line)
        if not lines.given:
            return
        starts = _starts(rows, first_line, len(lines.given), rejects)
        first_line += len(lines.given)
        lines.given.clear()
        starts, columns = _columns(rows, starts, rejects, names, wanted)
        yield shape.chunk(starts, columns, rejects, position())


def _take(lines: _Lines, delimiter: str, size: int, first_line: int) -> tuple[list[list[str]], list[Reject]]:
    """At most `size` rows; a broken one ends the chunk, and only its first line is lost."""
    rows: list[list[str]] = []
    try:
        rows.extend(islice(csv.reader(iter(lines), delimiter=delimiter, strict=True), size))
    except csv.Error as error:
        good = sum(_height(row) for row in rows)
        lines.give_again(good + 1)
        return rows, [Reject(first_line + good, None, f"cannot be read as CSV: {error}")]
    return rows, []


def _height(row: list[str]) -> int:
    """How many lines of the file a row takes."""
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
    """The wanted columns of the rows that can be read, and where these begin; the others are added to `rejects`."""
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
        return _columns(*_decodable(rows, starts, rejects), names, wanted)
    return starts, arrays


def _faults(rows: list[list[str]], width: int) -> dict[int, str]:
    """What is wrong with rows of another width, by place; nothing to say about blank lines."""
    if all(len(row) == width for row in rows):
        return {}
    return {
        place: f"has {len(row)} values, not {width}" if row else ""
        for place, row in enumerate(rows)
        if len(row) != width
    }


def _decodable(
    rows: list[list[str]], starts: NDArray[np.int64], rejects: list[Reject]
) -> tuple[list[list[str]], NDArray[np.int64], list[Reject]]:
    """The rows without those whose bytes are no text in the file's encoding."""
    broken = [place for place, row in enumerate(rows) if any("\udc80" <= letter <= "\udcff" for letter in "".join(row))]
    rejects += [Reject(int(starts[place]), None, "is not text in the file's encoding") for place in broken]
    lost = set(broken)
    return [row for place, row in enumerate(rows) if place not in lost], np.delete(starts, broken), rejects
