"""A bounded store of JSON texts about items, so that an item which many lists show is encoded once."""

from collections.abc import Hashable, Sequence

import orjson

MAX_BYTES = 16 * 1024 * 1024
_OWN_BYTES = 400  # what an entry takes besides its text

_Shelves = dict[Hashable, dict[Hashable, orjson.Fragment]]


class Fragments:
    """JSON texts by shelf and version. What is on one shelf is written in the same way.

    A version names an item as it is now: the text of an old version is never asked for. Texts are kept in two
    generations. When the young one has half of the bytes it becomes the old one, and what nobody asked for since the
    last time is dropped: as least recently used, but without work for what is found.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._young: _Shelves = {}
        self._old: _Shelves = {}
        self._young_bytes = self._old_bytes = 0

    @property
    def kept_bytes(self) -> int:
        """How many bytes are kept, about."""
        return self._young_bytes + self._old_bytes

    def find(self, shelf: Hashable, versions: Sequence[Hashable]) -> list[orjson.Fragment | None]:
        """The fragments with these versions; None for those that are not kept."""
        young = self._young.get(shelf, {})
        try:
            return [young[version] for version in versions]
        except KeyError:  # some are old, or not kept
            found = [young.get(version) for version in versions]
        if shelf in self._old:
            old = self._old[shelf]
            for position, version in enumerate(versions):
                if found[position] is None and (fragment := old.get(version)) is not None:
                    found[position] = self.keep(shelf, version, orjson.dumps(fragment))
        return found

    def keep(self, shelf: Hashable, version: Hashable, text: bytes) -> orjson.Fragment:
        """Keep a text, unless it is long; its fragment."""
        fragment, size = (
            orjson.Fragment(bytes(memoryview(text))),
            len(text) + _OWN_BYTES,
        )  # a copy: orjson's own bytes take 4 kB
        if shelf not in self._young:
            size += _bytes_of(shelf)
        if size * 8 > self._max_bytes:
            return fragment
        if (self._young_bytes + size) * 2 > self._max_bytes:
            if shelf in self._young:
                size += _bytes_of(shelf)  # it is made anew
            self._old, self._old_bytes = self._young, self._young_bytes
            self._young, self._young_bytes = {}, 0
        kept = self._young.setdefault(shelf, {})
        if version not in kept:
            self._young_bytes += size
            kept[version] = fragment
        return fragment


def _bytes_of(shelf: Hashable) -> int:
    """What the name of a shelf takes, about: a selection and arguments, which callers choose."""
    return 2 * len(repr(shelf))
