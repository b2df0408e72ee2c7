"""Times that the file does not hold: synthetic ones for logs without times, and old ones moved to now."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cli.loading.chunks import TIME

WEEK: Final = timedelta(weeks=1)
_MINUTE: Final = 60_000_000  # microseconds


def weeks_between(cut: datetime, now: datetime) -> timedelta:
    """How far to move a log: the most whole weeks that do not move its cut beyond `now`."""
    return (now - cut) // WEEK * WEEK


class SyntheticTimes:
    """Gives the lines of each person times one minute apart, in the order of the file; the last is before the cut.

    It counts the lines of each person first: memory grows with the people, not with the lines.
    """

    def __init__(self, people: Iterable[pa.Array], cut: datetime) -> None:
        """`people` holds the person of every line of the file, chunk by chunk."""
        counts = pa.table({"person": pa.array([], pa.string()), "lines": pa.array([], pa.int64())})
        for chunk in people:
            more = pa.table({"person": chunk, "lines": pa.repeat(pa.scalar(1, pa.int64()), len(chunk))})
            counts = pa.concat_tables([counts, more]).group_by("person").aggregate([("lines", "sum")])
            counts = counts.rename_columns({"lines_sum": "lines"}).select(["person", "lines"])
        self._people = counts["person"].combine_chunks()
        self._left = counts["lines"].to_numpy().copy()
        self._cut = pa.scalar(cut, TIME).cast(pa.int64()).as_py()

    def of(self, people: pa.Array) -> pa.Array:
        """The times of the next lines of the file, given their people; (n,) to (n,)."""
        who = pc.index_in(people, value_set=self._people).to_numpy(zero_copy_only=False).astype(np.int64)
        order = np.argsort(who, kind="stable")
        ordered = who[order]
        before = np.empty(len(who), np.int64)
        before[order] = np.arange(len(who)) - np.searchsorted(ordered, ordered)
        moments = self._cut - (self._left[who] - before) * _MINUTE
        np.subtract.at(self._left, who, 1)
        return pa.array(moments, pa.int64()).cast(TIME)
