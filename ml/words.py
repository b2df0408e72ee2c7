"""The words and attributes of items as hashed features: of any language, bounded, and the same on every machine.

A feature is a bucket of BUCKETS and a weight. Words count whole, in pairs and in pieces of four characters, so that
languages without spaces and other forms of a word share features (fastText; Bojanowski et al. 2017).
"""

import html
import re
import unicodedata
import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

BUCKETS = 1 << 14
PIECE, SHORT_PIECE = 4, 2  # characters; the short ones are of scripts in which a character is a syllable or a word
MOST_TITLE, MOST_DESCRIPTION, MOST_NAME = 300, 2_000, 100  # characters that are read
MOST_CATEGORIES, MOST_ATTRIBUTES = 8, 16  # that are read; of attributes the first by name
MOST_FEATURES = 256  # of one item
KEPT_WORDS = 20_000  # whose hashes are kept: the same words are in many titles
_WORD = re.compile("\\w+|[\u2600-\u27bf\U0001f300-\U0001faff]")  # an emoji is a word
_EAST_ASIAN = "\u2e80"  # the first character of these scripts
_TAG = re.compile("<[^<>]{0,300}>")
# of a category, the brand, an attribute; of a word of the title, a pair and a piece of it; of a word of the description
_WEIGHTS = (1.5, 1.0, 0.7, 1.0, 1.0, 0.5, 0.3)  # what says most first


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
        """The features of items by catalogue number: at most MOST_FEATURES of each, none of one without words."""
        numbers, buckets, lengths = sorted(texts), array("H"), array("I")
        for number in numbers:
            for part in _hashed(texts[number]):
                buckets.extend(part)
                lengths.append(len(part))
        counts = np.array(lengths, np.int64).reshape(-1, len(_WEIGHTS))
        weights = np.repeat(np.tile(_WEIGHTS, len(numbers)), counts.ravel())
        return cls(np.array(numbers, np.uint32), *_joined(counts.sum(axis=1), np.array(buckets, np.int64), weights))

    @classmethod
    def joined(cls, pages: Sequence[Self]) -> Self:
        """Of pages of items in ascending order."""
        sizes = [np.diff(page.starts) for page in pages]
        none = np.empty(0, np.uint16)
        return cls(
            np.concatenate([np.empty(0, np.uint32), *(page.numbers for page in pages)]),
            np.append(0, np.cumsum(np.concatenate([np.empty(0, np.int64), *sizes]))),
            np.concatenate([none, *(page.buckets for page in pages)]),
            np.concatenate([none.astype(np.float32), *(page.weights for page in pages)]),
        )


def _joined(
    sizes: NDArray[np.int64], buckets: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.float32]]:
    """Starts, buckets and weights with each bucket of an item once: of too many the first MOST_FEATURES."""
    items = np.repeat(np.arange(len(sizes)), sizes)
    pairs, first, pair = np.unique(items * BUCKETS + buckets, return_index=True, return_inverse=True)
    sums, by = np.bincount(pair, weights, minlength=len(pairs)), np.argsort(first)
    pairs, sums = pairs[by], sums[by]
    counts = np.bincount(pairs // BUCKETS, minlength=len(sizes))
    place = np.arange(len(pairs)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = place < MOST_FEATURES
    starts = np.append(0, np.cumsum(np.minimum(counts, MOST_FEATURES)))
    return starts, (pairs[kept] % BUCKETS).astype(np.uint16), sums[kept].astype(np.float32)


def _hashed(text: ItemText) -> Iterator[Sequence[int]]:
    """The buckets of each kind of feature, in the order of _WEIGHTS."""
    yield [_bucket(f"c{_plain(category, MOST_NAME)}") for category in text.categories[-MOST_CATEGORIES:]]
    yield [_bucket(f"b{_plain(text.brand, MOST_NAME)}")] if text.brand else []
    yield [
        _bucket(f"a{key[:MOST_NAME]}={_plain(str(value), MOST_NAME)}")
        for key in sorted(text.attributes)[:MOST_ATTRIBUTES]
        if isinstance(value := text.attributes[key], str | bool | int | float)
    ]
    words = [_word(word) for word in _words(text.title, MOST_TITLE)]
    yield [word.bucket for word in words]
    yield [zlib.crc32(other.text, one.pair) % BUCKETS for one, other in pairwise(words)]
    yield [bucket for word in words for bucket in word.pieces]
    yield [_word_bucket(word) for word in dict.fromkeys(_words(text.description, MOST_DESCRIPTION))]


class _Word(NamedTuple):
    """A word of a title with the hashes that it has in any title."""

    bucket: int
    text: bytes
    pair: int  # the sum of a pair that it begins: that of the next word goes on from it
    pieces: tuple[int, ...]  # buckets


@lru_cache(KEPT_WORDS)
def _word(word: str) -> _Word:
    padded, length = f"<{word}>", SHORT_PIECE if max(word) >= _EAST_ASIAN else PIECE
    pieces = (_bucket(f"g{padded[at : at + length]}") for at in range(max(len(padded) - length + 1, 1)))
    return _Word(_word_bucket(word), _encoded(word), zlib.crc32(_encoded(f"p{word} ")), tuple(pieces))


def _word_bucket(word: str) -> int:
    return _bucket(f"w{word}")


@lru_cache(KEPT_WORDS)
def _bucket(name: str) -> int:
    return zlib.crc32(_encoded(name)) % BUCKETS


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "replace")


def _words(text: str | None, most: int) -> list[str]:
    return _WORD.findall(_plain(text, most)) if text else []


def _plain(text: str, most: int) -> str:
    """Without tags, in small letters and in one spelling of each character."""
    text = text[: 2 * most]
    if "<" in text or "&" in text:
        text = html.unescape(_TAG.sub(" ", text))
    text = text[:most]
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold().strip()
