"""The words and attributes of items as hashed features: of any language, bounded, and the same on every machine.

A feature is a bucket of BUCKETS and a weight. Words count whole, in pairs and in pieces of four characters, so that
languages without spaces and other forms of a word share features (fastText; Bojanowski et al. 2017).
"""

import html
import re
import unicodedata
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

BUCKETS = 1 << 14
PIECE, SHORT_PIECE = 4, 2  # characters; the short ones are of scripts in which a character is a syllable or a word
MOST_TITLE, MOST_DESCRIPTION, MOST_NAME = 300, 2_000, 100  # characters that are read
MOST_CATEGORIES, MOST_ATTRIBUTES = 8, 16  # that are read; of attributes the first by name
MOST_FEATURES = 256  # of one item
_WORD = re.compile("\\w+|[\u2600-\u27bf\U0001f300-\U0001faff]")  # an emoji is a word
_EAST_ASIAN = "\u2e80"  # the first character of these scripts
_TAG = re.compile("<[^<>]{0,300}>")
_WHOLE, _PAIR, _PART, _CATEGORY, _BRAND, _ATTRIBUTE, _DESCRIBED = 1.0, 1.0, 0.5, 1.5, 1.0, 0.7, 0.3


@dataclass(frozen=True, slots=True)
class ItemText:
    """What the catalogue says of an item in words."""

    title: str | None = None
    description: str | None = None
    categories: Sequence[str] = ()  # the most specific last
    brand: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ItemWords:
    """The features of a catalogue: those of item i are `buckets[starts[i]:starts[i + 1]]`."""

    numbers: NDArray[np.uint32]  # (items,) catalogue numbers, ascending
    starts: NDArray[np.int64]  # (items + 1,)
    buckets: NDArray[np.uint16]
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, texts: Mapping[int, ItemText]) -> Self:
        """The features of items by catalogue number."""
        numbers = sorted(texts)
        return cls.joined([numbers], [[features_of(texts[number]) for number in numbers]])

    @classmethod
    def joined(cls, numbers: Sequence[Sequence[int]], features: Sequence[Sequence[Mapping[int, float]]]) -> Self:
        """Of pages of items in ascending order, each with the features of its items."""
        found = [each for page in features for each in page]
        return cls(
            np.array([number for page in numbers for number in page], np.uint32),
            np.append(0, np.cumsum([len(each) for each in found], dtype=np.int64)),
            np.fromiter((bucket for each in found for bucket in each), np.uint16),
            np.fromiter((weight for each in found for weight in each.values()), np.float32),
        )


def features_of(text: ItemText) -> dict[int, float]:
    """The weight of each bucket that an item has, at most MOST_FEATURES; none for an item without words."""
    found: dict[int, float] = {}
    for name, weight in _named(text):
        bucket = zlib.crc32(name.encode("utf-8", "replace")) % BUCKETS
        if bucket in found or len(found) < MOST_FEATURES:
            found[bucket] = found.get(bucket, 0.0) + weight
    return found


def _named(text: ItemText) -> Iterator[tuple[str, float]]:
    """The features by name, what says most first."""
    for category in text.categories[-MOST_CATEGORIES:]:
        yield f"c{_plain(category, MOST_NAME)}", _CATEGORY
    if text.brand:
        yield f"b{_plain(text.brand, MOST_NAME)}", _BRAND
    for key in sorted(text.attributes)[:MOST_ATTRIBUTES]:
        value = text.attributes[key]
        if isinstance(value, str | bool | int | float):
            yield f"a{key[:MOST_NAME]}={_plain(str(value), MOST_NAME)}", _ATTRIBUTE
    words = _words(text.title, MOST_TITLE)
    yield from ((f"w{word}", _WHOLE) for word in words)
    yield from ((f"p{one} {other}", _PAIR) for one, other in pairwise(words))
    for word in words:
        padded, length = f"<{word}>", SHORT_PIECE if max(word) >= _EAST_ASIAN else PIECE
        yield from ((f"g{padded[at : at + length]}", _PART) for at in range(max(len(padded) - length + 1, 1)))
    yield from ((f"w{word}", _DESCRIBED) for word in _once(_words(text.description, MOST_DESCRIPTION)))


def _words(text: str | None, most: int) -> list[str]:
    return _WORD.findall(_plain(text or "", most))


def _plain(text: str, most: int) -> str:
    """Without tags, in small letters and in one spelling of each character."""
    plain = html.unescape(_TAG.sub(" ", text[: 2 * most]))
    return unicodedata.normalize("NFKC", plain[:most]).casefold().strip()


def _once(words: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys(words)
