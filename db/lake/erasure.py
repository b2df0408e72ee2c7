"""Erasure from the lake: files with events of erased people are written again without them."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import date
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.contract import Person
from db.lake.days import Contents, Day, Part, folder_of, read_contents, remove_day, write_day
from db.lake.location import Lake
from db.lake.parts import PartWriter, open_part

_KEYS: Final = {"user": "user_id", "guest": "anonymous_id"}


def erase_people(lake: Lake, people: Collection[Person]) -> list[date]:
    """Remove every event of these people from the lake; returns the days that were written again.

    A guest's events are those without a user id. The caller is a `sole_writer` and has erased the people from Postgres
    before: the next export compares these days again. After a kill, it is called again.

    Raises StoreUnavailable when the lake cannot be read or written.
    """
    ids = {kind: sorted({person.id for person in people if person.kind == kind}) for kind in _KEYS}
    contents = read_contents(lake)
    return [day.day for day in contents.days.values() if _erase(lake, contents, day, ids)]


def _erase(lake: Lake, contents: Contents, day: Day, ids: dict[str, list[str]]) -> bool:
    parts = tuple(left for part in day.parts for left in _without(lake, day, part, ids))
    if parts == day.parts:
        return False
    if not parts:
        remove_day(lake, day)
        return True
    newest = [[part for part in some if part.layer == day.layer] for some in (parts, day.parts)]
    anew: dict[str, Any] = {} if newest[0] == newest[1] else {"held": 0, "mark": None}
    write_day(lake, replace(day, parts=parts, **anew), day)
    return True


def _without(lake: Lake, day: Day, part: Part, ids: dict[str, list[str]]) -> list[Part]:
    """The part itself when none of the people is in it, else the parts written in its place."""
    name = lake.path(f"{folder_of(day.day)}/{part.name}")
    with lake.translated(), lake.files.open(name, "rb") as file:
        parquet = open_part(file)
        if not any(_holds(parquet, group, ids) for group in range(parquet.num_row_groups)):
            return [part]
        writer = PartWriter(lake, day.day, part.layer)
        try:
            for rows in _left(parquet, ids):
                writer.add(rows)
            return writer.finish()
        except BaseException:
            writer.abandon()
            raise


def _holds(parquet: pq.ParquetFile, group: int, ids: dict[str, list[str]]) -> bool:
    """Whether a row group holds any of them; the statistics of most groups answer without reading the rows."""
    if not any(_may_hold(parquet.metadata.row_group(group), key, ids[kind]) for kind, key in _KEYS.items()):
        return False
    found: bool = pc.any(_of(parquet.read_row_group(group, list(_KEYS.values())), ids)).as_py()
    return found


def _may_hold(group: Any, key: str, ids: list[str]) -> bool:
    columns = (group.column(place) for place in range(group.num_columns))
    statistics = next(column.statistics for column in columns if column.path_in_schema == key)
    if statistics is None or not statistics.has_min_max:
        return bool(ids)
    return any(statistics.min <= id <= statistics.max for id in ids)


def _left(parquet: pq.ParquetFile, ids: dict[str, list[str]]) -> Iterator[pa.Table]:
    for group in range(parquet.num_row_groups):
        rows = parquet.read_row_group(group)
        yield rows.filter(pc.invert(_of(rows, ids)))


def _of(rows: pa.Table, ids: dict[str, list[str]]) -> Any:
    """A mask of the rows of these people."""
    user, guest = (pc.is_in(rows[key], pa.array(ids[kind], pa.string())) for kind, key in _KEYS.items())
    return pc.or_(user, pc.and_(pc.is_null(rows["user_id"]), guest))
