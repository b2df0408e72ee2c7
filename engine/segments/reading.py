"""Reads the members of a segment in pages that are all of one snapshot."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from core.errors import InvalidInput, NotFound
from db.postgres import Connection
from db.segments import Member, Segment, has_snapshot, members_of, segment_by_id, snapshot_at
from engine.cursors import read_cursor, write_cursor
from engine.segments.defining import is_segment_id
from engine.signing import Signer

MOST: Final = 10_000  # members of one page
_CURSOR: Final = "segment"


class MembersPage(NamedTuple):
    """Some members of one snapshot, by id. `next` is the cursor of the page after it; None: this is the last one."""

    segment: Segment
    snapshot: int | None  # None before the first one
    members: Sequence[Member]
    next: str | None


async def read_members(
    connection: Connection,
    signer: Signer,
    id: str,
    *,
    first: int = MOST,
    after: str | None = None,
    changed_since: datetime | None = None,
) -> MembersPage:
    """A page of a segment's members; with `changed_since`, of those who joined or left after that moment.

    A cursor goes on in the snapshot of its first page, whatever is found meanwhile. Raises NotFound for no such
    segment, and InvalidInput for a cursor of another one, and where the snapshot or the moment is too long ago.
    """
    if not 1 <= first <= MOST:
        raise InvalidInput(f"first must be between 1 and {MOST}.", "first")
    segment = await segment_by_id(connection, id) if is_segment_id(id) else None
    if segment is None:
        raise NotFound("There is no segment with this id.")
    if after is None:
        number, since, last = segment.number, await _since(connection, id, changed_since), ""
    else:
        number, since, last = await _place(connection, signer, id, after, changed_since)
    if number is None:
        return MembersPage(segment, None, [], None)
    found = await members_of(connection, id, number, last, first + 1, since)
    page, more = found[:first], len(found) > first
    position = [id, number, since, page[-1].user_id if page else ""]
    return MembersPage(segment, number, page, write_cursor(signer, _CURSOR, position) if more else None)


async def _since(connection: Connection, id: str, moment: datetime | None) -> int | None:
    if moment is None:
        return None
    number = await snapshot_at(connection, id, moment)
    if number is None:
        raise InvalidInput("changedSince is longer ago than changes are known: read all members.", "changedSince")
    return number


async def _place(
    connection: Connection, signer: Signer, id: str, after: str, changed_since: datetime | None
) -> tuple[int, int | None, str]:
    if changed_since is not None:
        raise InvalidInput("after goes on with the changedSince of its first page: leave it out.", "changedSince")
    of, number, since, last = read_cursor(signer, _CURSOR, after)
    if of != id:
        raise InvalidInput("after is a cursor of another segment.", "after")
    oldest = number if since is None else max(since, 1)  # 0 is before the first one; snapshots go oldest first
    if not await has_snapshot(connection, id, oldest):
        raise InvalidInput("after has expired: read the members from the beginning.", "after")
    return number, since, last
