"""The objects of a JSON document that is no file of JSON lines: one array, or objects written over several lines."""

import json
import re
from collections.abc import Iterator
from typing import Final, TextIO

from cli.loading.bounded_lines import LONGEST_LINE
from cli.loading.chunks import WrongFile

_BLOCK: Final = 1 << 18  # characters
_BETWEEN: Final = re.compile(r"[\s,\ufeff]*")
_DECODER: Final = json.JSONDecoder()


def objects_of(text: TextIO) -> Iterator[bytes]:
    """The JSON text of each value: of the array that the document is, or else of the document itself.

    Raises WrongFile where it is not JSON. Holds one value and one block, however long the document is.
    """
    document = _Document(text)
    in_array = document.next_letter() == "["
    document.place += in_array
    while document.next_letter() not in ("", "]"):
        yield document.value().encode("utf-8", "surrogateescape")
    ends = document.next_letter() == "]"
    document.place += ends
    if ends != in_array or document.next_letter():
        raise WrongFile(
            f"it is not whole JSON: {'the array does not end' if in_array and not ends else 'more follows its end'}"
        )


class _Document:
    """A document that is read block by block, from `place` on."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._read = ""
        self._values = 0
        self.place = 0

    def next_letter(self) -> str:
        """The letter at the place, behind blanks and commas; empty at the end."""
        while True:
            between = _BETWEEN.match(self._read, self.place)
            self.place = between.end() if between else self.place
            if self.place < len(self._read):
                return self._read[self.place]
            self._read, self.place = self._text.read(_BLOCK), 0
            if not self._read:
                return ""

    def value(self) -> str:
        """The value at the place; reads on until it is whole."""
        while True:
            try:
                _, end = _DECODER.raw_decode(self._read, self.place)
            except (json.JSONDecodeError, RecursionError) as error:
                self._read_on(error)
            else:
                break
        found, self.place = self._read[self.place : end], end
        self._values += 1
        return found

    def _read_on(self, error: Exception) -> None:
        begun = self._read[self.place :]
        more = self._text.read(max(_BLOCK, len(begun)))
        if not more or len(begun) > LONGEST_LINE:
            raise WrongFile(f"it is not JSON after {self._values:,} objects: {error}") from None
        self._read, self.place = begun + more, 0
