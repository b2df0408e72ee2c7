"""A store of the texts of whole lists, for tests without an event loop."""

from collections.abc import Hashable
from itertools import count
from typing import Any


class Texts:
    """Keeps the texts of lists for ever."""

    def __init__(self) -> None:
        self._texts: dict[Hashable, Any] = {}

    def find(self, key: Hashable) -> Any:
        return self._texts.get(key)

    def keep(self, key: Hashable, value: Any, size: int) -> None:
        assert size > 0
        self._texts[key] = value


_TEXTS, _NAMES = Texts(), count()


def new_place() -> tuple[Texts, Hashable]:
    """Where the text of a new list is kept, and its name there."""
    return _TEXTS, next(_NAMES)
