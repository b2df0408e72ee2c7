"""Tells equal lines of one file apart: the first, the second, the third, with memory that does not grow."""

import tempfile
from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

RUN = 1 << 22  # hashes kept in memory, 32 MB; full runs wait sorted in a temporary file


class Occurrences:
    """Counts how often each hash came before."""

    def __init__(self, run: int = RUN) -> None:
        self._run = run
        self._young: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        self._ends = [0]  # of the runs in the file, in hashes

    def close(self) -> None:
        """Drop the temporary file."""
        self._file.close()

    def count(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """For each hash how often it came before, in this array and all earlier ones; (n,) to (n,)."""
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        before = np.arange(len(ordered)) - np.searchsorted(ordered, ordered)
        for run in self._runs():
            before += _count_in(run, ordered)
        self._remember(ordered)
        counts = np.empty(len(hashes), np.int64)
        counts[order] = before
        return counts

    def _runs(self) -> Iterator[NDArray[np.uint64]]:
        yield self._young
        for start, end in pairwise(self._ends):
            self._file.seek(start * 8)
            yield np.frombuffer(self._file.read((end - start) * 8), np.uint64)

    def _remember(self, ordered: NDArray[np.uint64]) -> None:
        self._young = np.sort(np.concatenate((self._young, ordered)), kind="stable")
        if len(self._young) >= self._run:
            self._file.seek(self._ends[-1] * 8)
            self._file.write(self._young.tobytes())
            self._ends.append(self._ends[-1] + len(self._young))
            self._young = np.empty(0, np.uint64)


def _count_in(run: NDArray[np.uint64], ordered: NDArray[np.uint64]) -> NDArray[np.int64]:
    """How often each of the sorted hashes stands in a sorted run."""
    if not len(run):
        return np.zeros(len(ordered), np.int64)
    first = np.searchsorted(run, ordered)
    found = np.flatnonzero(run[np.minimum(first, len(run) - 1)] == ordered)
    counts = np.zeros(len(ordered), np.int64)
    counts[found] = np.searchsorted(run, ordered[found], "right") - first[found]
    return counts
