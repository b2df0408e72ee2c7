"""Counts equal lines of one file, to tell the first from the second and the third; memory does not grow."""

import tempfile
from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from core.disks import temporary_errors

RUN = 1 << 22  # hashes in memory, 32 MB; full runs are kept sorted in a temporary file


class Occurrences:
    """Counts how often each hash was counted before."""

    def __init__(self, run: int = RUN) -> None:
        self._run = run
        self._recent: NDArray[np.uint64] = np.empty(0, np.uint64)
        with temporary_errors():
            self._file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `close`
        self._ends = [0]  # of the runs in the file, in hashes

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()

    def count(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """How often each hash occurred before, in this array and in all earlier ones; (n,) to (n,)."""
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
        yield self._recent
        for start, end in pairwise(self._ends):
            self._file.seek(start * 8)
            yield np.frombuffer(self._file.read((end - start) * 8), np.uint64)

    def _remember(self, ordered: NDArray[np.uint64]) -> None:
        self._recent = np.sort(np.concatenate((self._recent, ordered)), kind="stable")
        if len(self._recent) >= self._run:
            self._file.seek(self._ends[-1] * 8)
            self._file.write(self._recent.tobytes())
            self._ends.append(self._ends[-1] + len(self._recent))
            self._recent = np.empty(0, np.uint64)


def _count_in(run: NDArray[np.uint64], ordered: NDArray[np.uint64]) -> NDArray[np.int64]:
    """How often each of the sorted hashes is in a sorted run."""
    if not len(run):
        return np.zeros(len(ordered), np.int64)
    first = np.searchsorted(run, ordered)
    found = np.flatnonzero(run[np.minimum(first, len(run) - 1)] == ordered)
    counts = np.zeros(len(ordered), np.int64)
    counts[found] = np.searchsorted(run, ordered[found], "right") - first[found]
    return counts
