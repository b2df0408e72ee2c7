"""Erasure from the lake: files with events of erased people are written again without them."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.contract import Person
from db.lake.days import Contents, Day, Part, folder_of, read_contents, remove_day, write_day
from db.lake.location import Lake
from db.lake.parts import PartWriter, open_part
from db.lake.people import KEYS, Ids, ids_of, may_hold, rows_of


def erase_people(lake: Lake, people: Collection[Person]) -> list[date]:
    """Remove every event of these people from the lake; returns the days that were written again.

    A guest's events are those without a user id. The caller is a `sole_writer` and has erased the people from Postgres
    before: the next export compares these days again. After a kill, it is called again.

    Raises StoreUnavailable when the lake cannot be read or written.
    """
    ids = ids_of(people)
    contents = read_contents(lake)
    return [day.day for day in contents.days.values() if _erase(lake, contents, day, ids)]


def _erase(lake: Lake, contents: Contents, day: Day, ids: Ids) -> bool:
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


def _without(lake: Lake, day: Day, part: Part, ids: Ids) -> list[Part]:
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


def _holds(parquet: pq.ParquetFile, group: int, ids: Ids) -> bool:
    """Whether a row group holds any of them; the statistics of most groups answer without reading the rows."""
    if not may_hold(parquet.metadata.row_group(group), ids):
        return False
    found: bool = pc.any(rows_of(parquet.read_row_group(group, list(KEYS.values())), ids)).as_py()
    return found


def _left(parquet: pq.ParquetFile, ids: Ids) -> Iterator[pa.Table]:
    for group in range(parquet.num_row_groups):
        rows = parquet.read_row_group(group)
        yield rows.filter(pc.invert(rows_of(rows, ids)))
