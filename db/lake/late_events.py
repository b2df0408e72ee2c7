"""Events that arrive after their month was dropped from Postgres: only those the lake does not have are new."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa

from db.lake.days import Part, folder_of
from db.lake.location import Lake
from db.lake.parts import open_part

IDENTITY: Final = ["source", "id", "occurred_at"]


def without(lake: Lake, day: date, parts: Sequence[Part]) -> Callable[[pa.Table], pa.Table]:
    """A function that removes events of these files from a table: a file loaded again adds no second purchase."""
    if not parts:
        return lambda rows: rows
    known = pa.concat_tables([_identities(lake, f"{folder_of(day)}/{part.name}") for part in parts])

    def new(rows: pa.Table) -> pa.Table:
        asked = rows.select(IDENTITY).append_column("place", pa.array(np.arange(len(rows))))
        left = asked.join(known, keys=IDENTITY, join_type="left anti").column("place").to_numpy()
        return rows.take(np.sort(left))

    return new


def _identities(lake: Lake, name: str) -> pa.Table:
    with lake.translated(), lake.files.open(lake.path(name), "rb") as file:
        return open_part(file, IDENTITY).read(columns=IDENTITY)
