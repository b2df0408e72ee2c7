"""The rows of people in a file of the lake: those with their user id, and those of guests without a user id."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from core.contract import Person

KEYS: Final = {"user": "user_id", "guest": "anonymous_id"}
Ids = Mapping[str, Sequence[str]]  # by kind of person, sorted


def ids_of(people: Iterable[Person]) -> Ids:
    """The ids of these people."""
    distinct = set(people)
    return {kind: sorted(person.id for person in distinct if person.kind == kind) for kind in KEYS}


def may_hold(group: Any, ids: Ids) -> bool:
    """Whether a row group may have rows of these people, as its statistics say; most groups need not be read."""
    return any(_may_hold(group, key, ids[kind]) for kind, key in KEYS.items())


def _may_hold(group: Any, key: str, ids: Sequence[str]) -> bool:
    columns = (group.column(place) for place in range(group.num_columns))
    statistics = next(column.statistics for column in columns if column.path_in_schema == key)
    if statistics is None or not statistics.has_min_max:
        return bool(ids)
    return any(statistics.min <= id <= statistics.max for id in ids)


def rows_of(rows: Any, ids: Ids) -> Any:
    """A mask of the rows of these people, in a table or a batch."""
    user, guest = (pc.is_in(rows[key], pa.array(ids[kind], pa.string())) for kind, key in KEYS.items())
    return pc.or_(user, pc.and_(pc.is_null(rows["user_id"]), guest))
