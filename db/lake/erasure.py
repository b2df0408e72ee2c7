"""Erasure from the lake: files with events of erased people are written again without them."""

from collections.abc import Collection
from datetime import date
from functools import partial
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from core.contract import Person
from db.lake.days import read_contents
from db.lake.location import Lake
from db.lake.rewriting import Unwanted, rewrite

_KEYS: Final = {"user": "user_id", "guest": "anonymous_id"}


def erase_people(lake: Lake, people: Collection[Person]) -> list[date]:
    """Remove every event of these people from the lake; returns the days that were written again.

    A guest's events are those without a user id. The caller is a `sole_writer` and has erased the people from Postgres
    before: the next export compares these days again. After a kill, it is called again.

    Raises StoreUnavailable when the lake cannot be read or written.
    """
    ids = {kind: sorted({person.id for person in people if person.kind == kind}) for kind in _KEYS}
    theirs = Unwanted(list(_KEYS.values()), partial(_of, ids=ids), partial(_may_hold, ids=ids))
    return [day.day for day in read_contents(lake).days.values() if rewrite(lake, day, theirs) != day]


def _may_hold(group: Any, ids: dict[str, list[str]]) -> bool:
    return any(_may_have(group, key, ids[kind]) for kind, key in _KEYS.items())


def _may_have(group: Any, key: str, ids: list[str]) -> bool:
    columns = (group.column(place) for place in range(group.num_columns))
    statistics = next(column.statistics for column in columns if column.path_in_schema == key)
    if statistics is None or not statistics.has_min_max:
        return bool(ids)
    return any(statistics.min <= id <= statistics.max for id in ids)


def _of(rows: pa.Table, ids: dict[str, list[str]]) -> Any:
    """A mask of the rows of these people."""
    user, guest = (pc.is_in(rows[key], pa.array(ids[kind], pa.string())) for kind, key in _KEYS.items())
    return pc.or_(user, pc.and_(pc.is_null(rows["user_id"]), guest))
