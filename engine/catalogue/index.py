"""An inverted index over item numbers: which items carry a category, a brand or an attribute's value."""

from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Term = tuple[str, ...]  # ("category", name), ("brand", name) or ("attribute", key, value)

TAIL = 16_384  # unsorted entries before they are sorted in: searched in well under a millisecond


class Terms:
    """Postings as two flat columns: entries sorted by term, then a short unsorted tail of what changed since.

    Eight bytes per entry and one number per distinct term, so a catalogue's index takes a few megabytes.
    """

    def __init__(self) -> None:
        self._codes: dict[int, int] = {}  # hash of a term (64 bits, salted per process) -> dense code
        self._numbers = np.zeros(0, np.uint32)  # (entries,) sorted by term; 0 where an item was forgotten
        self._starts = np.zeros(1, np.int64)  # (terms + 1,) where a term's entries begin
        self._tail_numbers = array("I")
        self._tail_codes = array("I")

    def add(self, number: int, terms: Iterable[Term]) -> None:
        """Item `number` carries `terms`, each named once."""
        for term in terms:
            self._tail_numbers.append(number)
            self._tail_codes.append(self._codes.setdefault(hash(term), len(self._codes)))

    def forget(self, gone: NDArray[np.bool_]) -> None:
        """Drop every entry of the items whose place in `gone` (by number) is set."""
        self._numbers[gone[self._numbers]] = 0
        tail = np.array(self._tail_numbers, np.uint32)
        tail[gone[tail]] = 0
        self._tail_numbers = array("I", tail.tobytes())

    def settle(self, *, always: bool = False) -> None:
        """Sort the tail in once it has grown long, or `always`."""
        if not always and len(self._tail_numbers) < TAIL:
            return
        sorted_codes = np.repeat(np.arange(len(self._starts) - 1, dtype=np.uint32), np.diff(self._starts))
        codes = np.concatenate([sorted_codes, np.array(self._tail_codes, np.uint32)])
        numbers = np.concatenate([self._numbers, np.array(self._tail_numbers, np.uint32)])
        kept = np.flatnonzero(numbers)
        order = kept[np.argsort(codes[kept], kind="stable")]
        self._numbers = numbers[order]
        self._starts = np.searchsorted(codes[order], np.arange(len(self._codes) + 1))
        self._tail_numbers, self._tail_codes = array("I"), array("I")

    def numbers(self, term: Term) -> NDArray[np.uint32]:
        """Numbers of the items that carry `term`; 0 may stand among them for a forgotten one."""
        code = self._codes.get(hash(term))
        if code is None:
            return np.zeros(0, np.uint32)
        settled = self._numbers[self._starts[code] : self._starts[code + 1]] if code < len(self._starts) - 1 else None
        tail = np.array(self._tail_numbers, np.uint32)[np.array(self._tail_codes, np.uint32) == code]
        return tail if settled is None else np.concatenate([settled, tail])
