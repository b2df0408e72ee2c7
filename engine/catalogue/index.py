"""An inverted index over item numbers: which items have a category, a brand or a value of an attribute."""

from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

IndexTerm = tuple[str, ...]  # ("category", name), ("brand", name) or ("attribute", key, value)

MAX_TAIL = 16_384  # entries; a tail of this length is searched in well under a millisecond


class InvertedIndex:
    """Pairs of term and item number, as two flat columns: sorted entries, then a short unsorted tail of newer ones.

    Each entry takes eight bytes, each distinct term one number.
    """

    def __init__(self) -> None:
        self._codes: dict[int, int] = {}  # hash of a term (64 bits, salted per process) -> dense code
        self._numbers = np.zeros(0, np.uint32)  # (entries,) sorted by term; 0 where an item was removed
        self._starts = np.zeros(1, np.int64)  # (terms + 1,) where a term's entries begin
        self._tail_numbers = array("I")
        self._tail_codes = array("I")

    def add(self, number: int, terms: Iterable[IndexTerm]) -> None:
        """Add an item under its terms. Each term must occur once."""
        for term in terms:
            self._tail_numbers.append(number)
            self._tail_codes.append(self._codes.setdefault(hash(term), len(self._codes)))

    def remove(self, removed: NDArray[np.bool_]) -> None:
        """Remove the entries of every item that is True in `removed` (by item number)."""
        self._numbers[removed[self._numbers]] = 0
        tail = np.array(self._tail_numbers, np.uint32)
        tail[removed[tail]] = 0
        self._tail_numbers = array("I", tail.tobytes())

    def merge_tail(self, *, always: bool = False) -> None:
        """Sort the tail into the other entries, if it has grown long or if `always`."""
        if not always and len(self._tail_numbers) < MAX_TAIL:
            return
        sorted_codes = np.repeat(np.arange(len(self._starts) - 1, dtype=np.uint32), np.diff(self._starts))
        codes = np.concatenate([sorted_codes, np.array(self._tail_codes, np.uint32)])
        numbers = np.concatenate([self._numbers, np.array(self._tail_numbers, np.uint32)])
        kept = np.flatnonzero(numbers)
        order = kept[np.argsort(codes[kept], kind="stable")]
        self._numbers = numbers[order]
        self._starts = np.searchsorted(codes[order], np.arange(len(self._codes) + 1))
        self._tail_numbers, self._tail_codes = array("I"), array("I")

    def numbers(self, term: IndexTerm) -> NDArray[np.uint32]:
        """Numbers of the items that have `term`. A removed item may leave a 0 among them."""
        code = self._codes.get(hash(term))
        if code is None:
            return np.zeros(0, np.uint32)
        known = code < len(self._starts) - 1
        entries = self._numbers[self._starts[code] : self._starts[code + 1]] if known else None
        tail = np.array(self._tail_numbers, np.uint32)[np.array(self._tail_codes, np.uint32) == code]
        return tail if entries is None else np.concatenate([entries, tail])
