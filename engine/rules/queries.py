"""Searches as rules compare them: the words of a text, without case and accents."""

import re
import unicodedata
from typing import Final

LONGEST_QUERY: Final = 200  # characters of a search
_WORD: Final = re.compile(r"\w+")


def words_in(text: str) -> frozenset[str]:
    """The words of a text: `Crème BRÛLÉE` has the same as `creme brulee`."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(part for part in parts if not unicodedata.combining(part))
    return frozenset(_WORD.findall(plain.casefold()))
