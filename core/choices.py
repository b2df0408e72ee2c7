"""What a person chose for their own lists: items and categories that they hid, and a pause of personal lists."""

import struct
from datetime import UTC, datetime
from typing import Final, NamedTuple, Self

import orjson

from core.errors import InvalidInput
from core.hashes import microseconds

MOST_ITEMS: Final = 500  # that one person hides
MOST_CATEGORIES: Final = 100  # that one person hides
LONGEST_CATEGORY: Final = 200  # characters of one that is hidden
_MAGIC: Final = b"PCH1"
_HEAD: Final = struct.Struct(">4sQI")  # the version, the length of the rest
_SECOND: Final = 1_000_000  # microseconds


class TooManyHidden(InvalidInput):
    """The person hides as much as one person may."""


class Choices(NamedTuple):
    """What one person chose. Of two, the one with the greater version is newer."""

    items: tuple[str, ...] = ()  # ids, in the order in which they were hidden
    categories: tuple[str, ...] = ()
    paused_since: datetime | None = None
    version: int = 0  # 0 for a person who never chose anything

    def hiding(self, *, item: str | None = None, category: str | None = None) -> Self:
        """These choices and one more hidden item or category. Raises TooManyHidden."""
        items, categories = _with(self.items, item), _with(self.categories, category)
        if len(items) > MOST_ITEMS:
            raise TooManyHidden(f"A person can hide at most {MOST_ITEMS} items: show one of them again.", "itemId")
        if len(categories) > MOST_CATEGORIES:
            raise TooManyHidden(f"A person can hide at most {MOST_CATEGORIES} categories.", "category")
        return self._replace(items=items, categories=categories)

    def showing(self, *, item: str | None = None, category: str | None = None) -> Self:
        """These choices without a hidden item or category."""
        return self._replace(
            items=tuple(one for one in self.items if one != item),
            categories=tuple(one for one in self.categories if one != category),
        )

    def joined(self, others: "Choices") -> Self:
        """These choices and those of a guest or an old id of the person. Beyond the bounds, the others' are dropped."""
        return self._replace(
            items=tuple(dict.fromkeys([*others.items, *self.items]))[-MOST_ITEMS:],
            categories=tuple(dict.fromkeys([*others.categories, *self.categories]))[-MOST_CATEGORIES:],
            paused_since=self.paused_since or others.paused_since,
        )

    def pack(self) -> bytes:
        """The choices as bytes, which may be put before others."""
        since = None if self.paused_since is None else microseconds(self.paused_since)
        body = orjson.dumps([self.items, self.categories, since])
        return _HEAD.pack(_MAGIC, self.version, len(body)) + body


NO_CHOICES: Final = Choices()


def version_in(packed: bytes | None) -> int:
    """The version of the choices that these bytes begin with; 0 when they begin with none."""
    if packed is None or len(packed) < _HEAD.size or not packed.startswith(_MAGIC):
        return 0
    version: int = _HEAD.unpack_from(packed)[1]
    return version


def cut_choices(packed: bytes | None) -> tuple[bytes, bytes | None]:
    """The packed choices that the bytes begin with, empty for none; and the rest, None for nothing."""
    if packed is None or not version_in(packed):
        return b"", packed
    end = _HEAD.size + _HEAD.unpack_from(packed)[2]
    return packed[:end], packed[end:] or None


def choices_in(packed: bytes | None) -> Choices:
    """The choices that these bytes begin with."""
    head, _ = cut_choices(packed)
    if not head:
        return NO_CHOICES
    items, categories, since = orjson.loads(head[_HEAD.size :])
    paused = None if since is None else datetime.fromtimestamp(since / _SECOND, UTC)
    return Choices(tuple(items), tuple(categories), paused, version_in(head))


def with_newer(packed: bytes | None, other: bytes | None) -> bytes | None:
    """The bytes with these other packed choices in place of their own, if the others are newer."""
    if version_in(other) <= version_in(packed):
        return packed
    assert other is not None
    return other + (cut_choices(packed)[1] or b"")


def check_category(name: str) -> str:
    """The name itself. Raises InvalidInput when it is too long, or cannot be stored."""
    if not 0 < len(name) <= LONGEST_CATEGORY:
        raise InvalidInput(f"category must have 1 to {LONGEST_CATEGORY} characters", "category")
    if "\x00" in name or any("\ud800" <= character <= "\udfff" for character in name):
        raise InvalidInput("category must be a text that can be stored", "category")
    return name


def _with(known: tuple[str, ...], one: str | None) -> tuple[str, ...]:
    return known if one is None or one in known else (*known, one)
