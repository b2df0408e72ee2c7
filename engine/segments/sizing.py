"""How many users belong to a segment now, counted at once or not at all."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from core import clock
from core.errors import RateLimited, StoreUnavailable
from core.stores import log_unavailable
from db.postgres import Connection
from db.segment_figures import count_where, figures_made
from engine.segments.settings import Where, read_segment

SIZE_TIMEOUT: Final = 1.0  # seconds


class Size(NamedTuple):
    """How many users belong to a segment, by figures as of a moment. `note`: why it is not known."""

    members: int | None
    as_of: datetime | None
    note: str | None = None


async def size_of(connection: Connection, where: Where) -> Size:
    """The size of a segment with these conditions, from the figures that were found last; traits and events as of now.

    It is not known when counting takes more than SIZE_TIMEOUT, or while the caller has too many reads. A statement that
    takes longer is ended.
    """
    try:
        made = await figures_made(connection)
        if made is None:
            return Size(None, None, "Figures of users are found within a minute after the first segment is saved.")
        if where.need_forecast and not made.forecast:
            return Size(None, made.as_of, "No forecast was read yet: members are found within a minute if one serves.")
        count = await count_where(connection, where.as_json(), clock.now(), SIZE_TIMEOUT)
    except StoreUnavailable as error:
        log_unavailable(error, doing="count the users of a segment")
        return Size(None, None, "Counting took too long: the worker finds the members of a saved segment.")
    except RateLimited:  # the segment may be saved already, so this is no error
        return Size(None, None, "Too many reads of this caller run: the worker finds the members of a saved segment.")
    return Size(count, made.as_of)


def conditions_in(where: Mapping[str, Any] | None) -> Where:
    """The conditions in a document. Raises WrongSettings, naming every wrong field."""
    return read_segment({"name": "preview", "where": where or {}}).where
