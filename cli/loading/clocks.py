"""Times that were not written down: synthetic ones for logs without a clock, and old ones moved to now."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

WEEK: Final = timedelta(weeks=1)
_MINUTE: Final = 60_000_000  # microseconds
_TIME: Final = pa.timestamp("us", "UTC")


def weeks_between(cut: datetime, now: datetime) -> timedelta:
    """How far a log is moved: by as many whole weeks as keep its cut from lying ahead of `now`."""
    return (now - cut) // WEEK * WEEK


class Countdown:
    """Gives each person's lines, in the order of the file, one minute each; the last is a minute before the cut.

    Knows how many lines each person has: memory grows with the people, not with the lines.
    """

    def __init__(self, people: Iterable[pa.Array], cut: datetime) -> None:
        """`people` names the person of every line of the file."""
        counts = pa.table({"person": pa.array([], pa.string()), "lines": pa.array([], pa.int64())})
        for chunk in people:
            more = pa.table({"person": chunk, "lines": pa.repeat(pa.scalar(1, pa.int64()), len(chunk))})
            counts = pa.concat_tables([counts, more]).group_by("person").aggregate([("lines", "sum")])
            counts = counts.rename_columns({"lines_sum": "lines"}).select(["person", "lines"])
        self._people = counts["person"].combine_chunks()
        self._left = counts["lines"].to_numpy().copy()
        self._cut = pa.scalar(cut, _TIME).cast(pa.int64()).as_py()

    def times(self, people: pa.Array) -> pa.Array:
        """The moments of the next lines of the file, by whose they are; (n,) to (n,)."""
        who = pc.index_in(people, value_set=self._people).to_numpy(zero_copy_only=False).astype(np.int64)
        order = np.argsort(who, kind="stable")
        ordered = who[order]
        before = np.empty(len(who), np.int64)
        before[order] = np.arange(len(who)) - np.searchsorted(ordered, ordered)
        moments = self._cut - (self._left[who] - before) * _MINUTE
        np.subtract.at(self._left, who, 1)
        return pa.array(moments, pa.int64()).cast(_TIME)
