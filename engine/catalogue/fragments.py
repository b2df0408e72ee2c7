"""A bounded store of items as JSON texts, so that an item which many lists show is encoded once."""

from collections.abc import Hashable, Sequence

import orjson

MAX_BYTES = 16 * 1024 * 1024
_OWN_BYTES = 400  # what an entry takes besides its text

_Entry = tuple[orjson.Fragment, int]  # and its bytes


class Fragments:
    """JSON texts by key. Keys have the version of what the text says: a text of an old version is never asked for.

    Texts are kept in two generations. When the young one has half of the bytes it becomes the old one, and what nobody
    asked for since the last time is dropped: as least recently used, but without work for what is found.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._young: dict[Hashable, _Entry] = {}
        self._old: dict[Hashable, _Entry] = {}
        self._young_bytes = self._old_bytes = 0

    @property
    def kept_bytes(self) -> int:
        """How many bytes are kept, about."""
        return self._young_bytes + self._old_bytes

    def find(self, keys: Sequence[Hashable]) -> list[orjson.Fragment | None]:
        """The fragments with these keys; None for those that are not kept."""
        found = list(map(self._young.get, keys))
        if None in found:
            found = [entry or self._find_old(key) for key, entry in zip(keys, found, strict=True)]
        return [entry and entry[0] for entry in found]

    def _find_old(self, key: Hashable) -> _Entry | None:
        entry = self._old.get(key)
        if entry is not None:
            self._add(key, entry)
        return entry

    def keep(self, key: Hashable, text: bytes) -> orjson.Fragment:
        """Keep a text, unless it is long; its fragment."""
        fragment, size = orjson.Fragment(text), len(text) + _OWN_BYTES
        if size * 8 <= self._max_bytes:
            self._add(key, (fragment, size))
        return fragment

    def _add(self, key: Hashable, entry: _Entry) -> None:
        if (self._young_bytes + entry[1]) * 2 > self._max_bytes:
            self._old, self._old_bytes = self._young, self._young_bytes
            self._young, self._young_bytes = {}, 0
        self._young_bytes += entry[1] - (self._young[key][1] if key in self._young else 0)
        self._young[key] = entry
