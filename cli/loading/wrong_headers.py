"""Says what is wrong with a header that the file's shape refuses: text stands above it, or another delimiter in it."""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from cli.loading.chunks import WrongFile
from cli.loading.csv_files import DELIMITERS
from cli.loading.shapes import Shape
from cli.loading.unquoted_lines import BLANKS, names_of

_MOST_ABOVE: Final = 30  # lines above a header that are looked for
_MARKS: Final = re.compile(r"""[^\w\s"'.-]{1,8}""")


def check_header(names: Sequence[str], shape: Shape, lines: Iterator[str], delimiter: str | None, read: int) -> None:
    """Raise WrongFile for a header that the shape refuses.

    `delimiter` is the given one, and `read` says how many lines of the file were read. Takes more of them only to
    explain a header that is refused.
    """
    try:
        shape.wanted([*names])
    except WrongFile:
        header = names[0] if len(names) == 1 else ""
        for mark in [*dict.fromkeys(_MARKS.findall(header)), BLANKS]:
            if _fits(names_of(header, mark), shape):
                raise WrongFile(f"its delimiter is not found; say --delimiter {_quoted(mark)}") from None
        for number, line in enumerate(islice(lines, _MOST_ABOVE), read + 1):
            if any(_fits(_cells(line, each), shape) for each in ([delimiter] if delimiter else DELIMITERS)):
                raise WrongFile(f"line {number} is its header; delete what stands above it") from None
        raise


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _fits(names: list[str], shape: Shape) -> bool:
    try:
        shape.wanted(names)
    except WrongFile:
        return False
    return True


def _quoted(mark: str) -> str:
    return mark if mark == BLANKS else f"'{mark}'"
