"""Finds how a file writes text: by its byte order mark, or by the zero bytes that UTF-16 puts between letters."""

import codecs
from typing import Final

FOUND: Final = "utf-8-sig"
"""The encoding of a file that nobody named: UTF-8, unless the file shows that it is another."""

_MARKS: Final = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def encoding_of(start: bytes, named: str) -> str:
    """The encoding of a file that begins so: the one that was named, or the one found."""
    if codecs.lookup(named).name not in ("utf-8-sig", "utf-8"):
        return named
    marked = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    if marked:
        return marked
    ends = len(start) // 2 * 2
    high, low = start[0:ends:2], start[1:ends:2]
    if low.count(0) > len(low) // 2 and not high.count(0):
        return "utf-16-le"
    return "utf-16-be" if high.count(0) > len(high) // 2 and not low.count(0) else FOUND
