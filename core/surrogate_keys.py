"""The keys by which a cache drops answers: `Surrogate-Key` of an answer has them, and so has the purge webhook."""

from typing import Final
from urllib.parse import quote

CATALOGUE: Final = "catalogue"  # all answers
TRENDING: Final = "trending"
ITEMS: Final = "items"
MANY_ITEMS: Final = "many-items"  # answers with more items than are named


def item_key(id: str) -> str:
    """The key of the answers that depend on an item: the id is percent-encoded, as in URLs.

    >>> item_key("öl & salz")
    'item:%C3%B6l%20%26%20salz'
    """
    return f"item:{quote(id, safe='')}"
