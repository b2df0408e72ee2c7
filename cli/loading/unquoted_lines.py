"""Lines without quotes: values between blanks, or between longer delimiters such as `::`. The last takes the rest."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cli.loading.bounded_lines import taken
from cli.loading.chunks import NOT_TEXT, Chunk, Lines, Reject, is_text, wrong_width
from cli.loading.shapes import Shape
from cli.loading.typed_columns import texts_of

BLANKS: Final = "whitespace"
"""The delimiter of columns that are padded with blanks."""


def is_unquoted(delimiter: str) -> bool:
    """Whether lines with this delimiter are read here: a single character is CSV."""
    return len(delimiter) > 1


def names_of(line: str, delimiter: str) -> list[str]:
    """The names in a header."""
    return line.split() if delimiter == BLANKS else [name.strip() for name in line.split(delimiter)]


def unquoted_chunks(
    text: Iterator[str],
    names: list[str],
    delimiter: str,
    shape: Shape,
    position: Callable[[], int],
    first_line: int,
) -> Iterator[Chunk]:
    """The lines, from `first_line` of the file on."""
    wanted = shape.wanted(names)
    while lines := taken(text, shape.size):
        numbers = np.arange(first_line, first_line + len(lines), dtype=np.int64)
        first_line += len(lines)
        numbers, texts, rejects = _texts(numbers, lines)
        numbers, columns, narrow = _columns(numbers, texts, names, delimiter)
        yield shape.chunk(numbers, {name: columns[name] for name in wanted}, rejects + narrow, position())


def _texts(numbers: Lines, lines: list[str]) -> tuple[Lines, pa.Array, list[Reject]]:
    """The lines that are text and not blank, and the rejects."""
    rejects: list[Reject] = []
    try:
        texts = pa.array(lines, pa.string())
    except UnicodeEncodeError:
        whole = [is_text(line) for line in lines]
        rejects = [Reject(int(number), None, NOT_TEXT) for number, good in zip(numbers, whole, strict=True) if not good]
        texts = pa.array([line if good else None for line, good in zip(lines, whole, strict=True)], pa.string())
    trimmed = texts_of(texts)
    given = trimmed.is_valid()
    return numbers[given.to_numpy(zero_copy_only=False)], trimmed.filter(given), rejects


def _columns(
    numbers: Lines, texts: pa.Array, names: list[str], delimiter: str
) -> tuple[Lines, dict[str, pa.Array], list[Reject]]:
    """The values of each line by name, and the lines that have too few."""
    cuts = len(names) - 1
    parts = (
        pc.utf8_split_whitespace(texts, max_splits=cuts)
        if delimiter == BLANKS
        else pc.split_pattern(texts, delimiter, max_splits=cuts)
    )
    widths = pc.list_value_length(parts).to_numpy(zero_copy_only=False)
    wide = widths == len(names)
    rejects = [
        Reject(int(number), None, wrong_width(int(width), len(names)))
        for number, width in zip(numbers[~wide], widths[~wide], strict=True)
    ]
    whole = parts.filter(pa.array(wide))
    return numbers[wide], {name: pc.list_element(whole, place) for place, name in enumerate(names)}, rejects
