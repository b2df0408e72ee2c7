"""Files of the lake are written again without some of their events."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from db.lake.days import Day, Part, folder_of, remove_day, write_day
from db.lake.location import Lake
from db.lake.parts import PartWriter, open_part

_ANEW: Final[dict[str, Any]] = {"held": 0, "mark": None}  # the next export compares the day again


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Which events go: `rows` is a mask over a table that has `columns`.

    `may_hold` says by the statistics of a row group whether any of its rows may go.
    """

    columns: list[str]
    rows: Callable[[pa.Table], Any]
    may_hold: Callable[[Any], bool] = lambda _: True


def rewrite(lake: Lake, day: Day, unwanted: Unwanted) -> Day | None:
    """Write the files of a day again that hold unwanted events; returns the day as it is now, None if it is empty.

    The caller is a `sole_writer`. Raises StoreUnavailable when the lake cannot be read or written.
    """
    parts = tuple(left for part in day.parts for left in _without(lake, day, part, unwanted))
    if parts == day.parts:
        return day
    if not parts:
        remove_day(lake, day)
        return None
    newest = [[part for part in some if part.layer == day.layer] for some in (parts, day.parts)]
    written = replace(day, parts=parts, **({} if newest[0] == newest[1] else _ANEW))
    write_day(lake, written, day)
    return written


def _without(lake: Lake, day: Day, part: Part, unwanted: Unwanted) -> list[Part]:
    """The part itself when no unwanted event is in it, else the parts written in its place."""
    name = lake.path(f"{folder_of(day.day)}/{part.name}")
    with lake.translated(), lake.files.open(name, "rb") as file:
        parquet = open_part(file)
        if not any(_holds(parquet, group, unwanted) for group in range(parquet.num_row_groups)):
            return [part]
        writer = PartWriter(lake, day.day, part.layer)
        try:
            for rows in _left(parquet, unwanted):
                writer.add(rows)
            return writer.finish()
        except BaseException:
            writer.abandon()
            raise


def _holds(parquet: pq.ParquetFile, group: int, unwanted: Unwanted) -> bool:
    """Whether a row group holds any of them; the statistics of most groups answer without reading the rows."""
    if not unwanted.may_hold(parquet.metadata.row_group(group)):
        return False
    found: bool = pc.any(unwanted.rows(parquet.read_row_group(group, unwanted.columns))).as_py()
    return found


def _left(parquet: pq.ParquetFile, unwanted: Unwanted) -> Iterator[pa.Table]:
    for group in range(parquet.num_row_groups):
        rows = parquet.read_row_group(group)
        yield rows.filter(pc.invert(unwanted.rows(rows)))
