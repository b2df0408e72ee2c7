"""Ids: one id in every format, whatever the program that wrote the file made of it."""

import re
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cli.loading.chunks import ODD
from cli.loading.odd_texts import TEXT, Meaning, Meanings, read_odd

MISSING: Final = frozenset(
    "nan NaN NAN Nan -nan -NaN NaT NA <NA> N/A n/a #N/A #NA null NULL Null (null) (NULL) <null> <NULL> none None NONE"
    " (none) <none> <None> undefined \\N - --".split()
)
"""Words and dashes that programs write where they have no value; `NA` is of R."""
_NUMBER: Final = r"(\.0+|[eE]\+?[0-9]+)$"
_FLOAT: Final = re.compile(r"(-?(?:0|[1-9][0-9]{0,17}))\.0+")
_SCIENTIFIC: Final = re.compile(r"-?[0-9](?:[.,][0-9]+[eE]\+?|[eE]\+)[0-9]+")
_LARGEST_WHOLE: Final = {16: 2**11, 32: 2**24, 64: 2**53}  # up to it floats of so many bits hold every whole number
TOO_LARGE: Final = (
    "is a number that lost digits: a float does not hold whole numbers so large; write the column as text"
)
LOST: Final = "is a number in scientific notation, which lost digits; write the column as text"
FRACTION: Final = "is a number with a fraction; write the column as text"


def is_missing(text: str, words: frozenset[str] | None) -> bool:
    """Whether the text stands for no value; `words` are those of a recipe instead of the usual ones."""
    return text in (MISSING if words is None else words)


def read_ids(texts: pa.Array, words: frozenset[str] | None) -> Meanings:
    """Trimmed texts as ids: `13085.0` is `13085`, and a word that stands for no value is null."""
    maybe = pc.is_in(texts, pa.array(sorted(MISSING if words is None else words), TEXT))
    if _may_hold_numbers(texts):
        maybe = pc.or_(maybe, pc.match_substring_regex(texts, _NUMBER))
    return read_odd(texts, pc.invert(maybe), partial(read_id, words=words))


def _may_hold_numbers(texts: pa.Array) -> bool:
    """Whether any id has a point, a comma or a plus sign, as numbers that need reading have: a look at the bytes."""
    letters = texts.buffers()[2]
    return letters is not None and any(mark in letters.to_pybytes() for mark in (b".", b",", b"+"))


def read_id(text: str, words: frozenset[str] | None) -> Meaning:
    """One id."""
    if is_missing(text, words):
        return Meaning()
    if _SCIENTIFIC.fullmatch(text):
        return Meaning(reason=LOST)
    whole = _FLOAT.fullmatch(text)
    if whole is None:
        return Meaning(text)
    if abs(int(whole[1])) > _LARGEST_WHOLE[64]:
        return Meaning(reason=TOO_LARGE)
    return Meaning("0" if whole[1] == "-0" else whole[1])


def float_ids(column: pa.Array) -> Meanings:
    """Whole numbers that a program wrote as floats, as texts: pandas does so in columns with missing values."""
    numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    given = ~np.isnan(numbers)
    whole = given & (np.floor(numbers) == numbers)
    small = np.abs(numbers) <= _LARGEST_WHOLE[column.type.bit_width]
    good = whole & small
    faults = {int(place): TOO_LARGE if whole[place] else FRACTION for place in np.flatnonzero(given & ~good)}
    texts = pa.array(np.where(good, numbers, 0).astype(np.int64), mask=~good).cast(TEXT)
    return Meanings(texts, faults)


def ids_of(values: list[object]) -> list[object]:
    """The ids in a list, read as those of a column; what is no text or number stays. Raises ValueError."""
    read = [read_id(str(value).strip(), None) if type(value) in (str, int, float) else value for value in values]
    wrong = next((each.reason for each in read if isinstance(each, Meaning) and each.reason), None)
    if wrong is not None:
        raise ValueError(wrong)
    return [each.value if isinstance(each, Meaning) else each for each in read]


def id_text(value: object) -> str | None:
    """An id of a JSON file as a text; ODD for what is neither text nor number."""
    if value is None or type(value) is str:
        return value
    return str(value) if type(value) in (int, float) else ODD
