"""Removes single events from the lake: those that a load brought and that were taken back."""

from datetime import date
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from db.lake.days import Day
from db.lake.event_keys import KEYS, EventKeys
from db.lake.location import Lake
from db.lake.rewriting import Unwanted, rewrite


def remove_events(lake: Lake, days: dict[date, Day], keys: EventKeys) -> int:
    """Remove these events from the lake, unless a gateway received them; returns how many days were written again.

    `days` are the days of the lake; it is kept as they are now. The caller is a `sole_writer` and has deleted the
    events from Postgres before: the next export compares these days again. After a kill, it is called again.

    Raises StoreUnavailable when the lake cannot be read or written.
    """
    written = 0
    for date_, wanted in keys.by_day():
        day = days.get(date_)
        if day is None:
            continue
        left = rewrite(lake, day, Unwanted([*KEYS.names, "received_at"], partial(_loaded, keys=wanted)))
        written += left != day
        if left is None:
            del days[date_]
        else:
            days[date_] = left
    return written


def _loaded(rows: pa.Table, keys: EventKeys) -> Any:
    return pc.and_(pa.array(keys.among(rows)), pc.is_null(rows["received_at"]))
