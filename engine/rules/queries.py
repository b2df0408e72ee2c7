"""Searches as rules compare them: the words of a text, without case and accents."""

import re
import unicodedata
from typing import Final

LONGEST_QUERY: Final = 200  # characters of a search
_WITH_ACCENTS: Final = ("LATIN", "GREEK", "CYRILLIC", "ARABIC", "HEBREW")  # in other scripts a mark is part of a letter
_WORD: Final = re.compile(r"\w+")


def words_in(text: str) -> frozenset[str]:
    """The words of a text: `Crème BRÛLÉE` has the same as `creme brulee`. Marks of Hindi or Japanese letters stay."""
    if text.isascii():
        return frozenset(_WORD.findall(text.lower()))
    parts, keeps_marks = list[str](), False
    for part in unicodedata.normalize("NFKD", text.casefold()):
        if unicodedata.category(part).startswith("M"):
            parts.append(part if keeps_marks else "")
        else:
            parts.append(part if part.isalnum() or part == "_" else " ")
            keeps_marks = part.isalpha() and not unicodedata.name(part, "").startswith(_WITH_ACCENTS)
    return frozenset(unicodedata.normalize("NFC", "".join(parts).casefold()).split())
