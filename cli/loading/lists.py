"""Lists written as one text: JSON, the notation of Python or Postgres, or values between separators."""

import ast
import html
import re
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any, Final

import orjson
import pyarrow as pa

from cli.loading.odd_texts import Meaning, Meanings, read_odd

_LEVELS: Final = re.compile(r"\s*[>\u203a\u00bb]\s*")  # > and the marks of breadcrumbs
_VALUES: Final = re.compile(r"\s*\|\s*")
_POSTGRES: Final = re.compile(r'\{[^{}"\\]*\}')
_LONGEST: Final = 20_000  # characters of a list in the notation of Python


def read_lists(name: str, texts: pa.Array, separator: str | None, levels: str | None) -> Meanings:
    """The texts as JSON lists; a separator of the recipe takes the place of the usual ones."""
    none = pa.repeat(pa.scalar(value=False), len(texts))
    return read_odd(texts, none, lambda text: _meaning(name, text, separator, levels))


def _meaning(name: str, text: str, separator: str | None, levels: str | None) -> Meaning:
    try:
        values = values_of(name, text, separator, levels)
    except ValueError as error:
        return Meaning(reason=str(error))
    return Meaning(orjson.dumps(values).decode() if values else None)


def values_of(name: str, text: str, separator: str | None = None, levels: str | None = None) -> list[str]:
    """The values of a list: of categories each level of each path once, the widest levels first.

    Raises ValueError for a list whose notation is broken.
    """
    written = _notation(text)
    if written is None and name == "categories":
        text = html.unescape(text)
    values = _plain(_split(text, separator, _VALUES) if written is None else written)
    if name != "categories" or (written is not None and levels is None):
        return values
    return _widest_first(_plain(_split(path, levels, _LEVELS)) for path in values)


def _widest_first(paths: Iterable[list[str]]) -> list[str]:
    together = [name for level in zip_longest(*paths) for name in level if name is not None]
    return list(dict.fromkeys(together))


def _split(text: str, separator: str | None, usual: re.Pattern[str]) -> list[str]:
    if separator is None:
        return usual.split(text)
    return text.split(separator) if separator else [text]


def _plain(values: Iterable[Any]) -> list[str]:
    if any(value is not None and not isinstance(value, str | int | float) for value in values):
        raise ValueError("must be a list of texts")
    return [text for value in values if value is not None and (text := str(value).strip())]


def _notation(text: str) -> list[Any] | None:
    """The values of a JSON, Python or Postgres list; None when the text is not written so."""
    if _POSTGRES.fullmatch(text):
        return text[1:-1].split(",")
    if not text.startswith("["):
        return None
    try:
        return list(orjson.loads(text))
    except orjson.JSONDecodeError:
        pass
    try:
        value = ast.literal_eval(text) if len(text) <= _LONGEST else None
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        value = None
    if not isinstance(value, list):
        raise ValueError("is not a list: its notation is broken")
    return value
