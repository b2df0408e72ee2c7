"""The keys of many events, to find them among others: identity and digest, compared over whole columns."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

KEYS: Final = pa.schema(
    [("source", pa.string()), ("id", pa.string()), ("occurred_at", pa.timestamp("us", "UTC")), ("digest", pa.int64())]
)
"""What identifies an event, with the digest of its body: an event whose identity has another body is another one."""
_DAY: Final = 86_400_000_000  # microseconds
_EPOCH: Final = date(1970, 1, 1)


class EventKeys:
    """Some events by their keys: a table of KEYS."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table.select(KEYS.names)
        self._sorted = np.sort(_hashes(self.table))

    def __len__(self) -> int:
        return len(self.table)

    def among(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Which of the rows are these events, as a mask."""
        if not len(self):
            return np.zeros(len(rows), bool)
        hashes = _hashes(rows)
        places = np.minimum(np.searchsorted(self._sorted, hashes), len(self) - 1)
        maybe: NDArray[np.bool_] = self._sorted[places] == hashes
        if maybe.any():
            maybe[maybe] = _found(rows.filter(pa.array(maybe)), self.table)
        return maybe

    def without(self, others: pa.Table) -> "EventKeys":
        """Those that are not in the other table."""
        return EventKeys(self.table.filter(pa.array(~_found(self.table, others)))) if len(others) else self

    def by_day(self) -> Iterator[tuple[date, "EventKeys"]]:
        """The events of each day, in UTC."""
        days = self.table.column("occurred_at").cast(pa.int64()).to_numpy() // _DAY
        order = np.argsort(days, kind="stable")
        found, starts = np.unique(days[order], return_index=True)
        for day, places in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
            yield _EPOCH + timedelta(days=day), EventKeys(self.table.take(pa.array(places)))


def _hashes(rows: pa.Table) -> NDArray[np.int64]:
    """A number of each event; another event may have the same one."""
    moments = rows.column("occurred_at").cast(pa.int64()).to_numpy()
    hashes: NDArray[np.int64] = rows.column("digest").to_numpy() ^ moments
    return hashes


def _found(rows: pa.Table, keys: pa.Table) -> NDArray[np.bool_]:
    """Which of the rows are in the other table, exactly."""
    asked = rows.select(KEYS.names).append_column("place", pa.array(np.arange(len(rows))))
    found = asked.join(keys.select(KEYS.names), keys=KEYS.names, join_type="left semi")
    mask = np.zeros(len(rows), bool)
    mask[found.column("place").to_numpy()] = True
    return mask
