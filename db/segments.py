"""Segments: saved groups of users, their definitions, and who belongs to them by snapshot."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from db.locks import AdvisoryLock, lock_transaction
from db.postgres import Connection, transaction
from db.tombstones import ERASED_WHEN, HASH_OF_MEMBER, newest_tombstone
from db.versioned_settings import Difference, SettingsTable

MOST_SEGMENTS: Final = 100
PERIOD: Final = timedelta(hours=1)  # after which the members of a segment are found again
CLAIM: Final = timedelta(minutes=10)  # after which others find them, if who began to find them wrote nothing
HISTORY: Final = timedelta(days=30)  # for which it is known who joined and who left
ERASURE_TAKES: Final = timedelta(minutes=5)  # at most, from its moment until nobody can read the data any more
WRITE_TIMEOUT: Final = 300.0  # seconds to write a snapshot
SEGMENTS: Final = SettingsTable("segment_versions", AdvisoryLock.SEGMENTS, MOST_SEGMENTS, "segments")
"""Every version of the settings of a segment: its name, and under `where` its definition."""
_COLUMNS: Final = (
    "segments.id, segments.name, segments.definition, segments.changed_at, segments.changed_by,"
    " saved.version, saved.reason, newest.number, newest.made_at, newest.members"
)
_NEWEST: Final = """segments LEFT JOIN LATERAL (
        SELECT version, reason FROM segment_versions WHERE id = segments.id ORDER BY version DESC LIMIT 1
    ) AS saved ON true LEFT JOIN LATERAL (
        SELECT number, made_at, members FROM segment_snapshots
        WHERE segment_id = segments.id ORDER BY number DESC LIMIT 1
    ) AS newest ON true"""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment with its newest snapshot; the fields of that are None before the first."""

    id: str
    name: str
    definition: dict[str, Any]
    changed_at: datetime
    changed_by: str
    version: int
    reason: str | None = None
    number: int | None = None
    made_at: datetime | None = None
    members: int | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A user of a snapshot; `gone`: they were a member before and are not any more."""

    user_id: str
    gone: bool


async def change_segment(
    connection: Connection,
    id: str,
    settings: Callable[[dict[str, Any] | None], dict[str, Any] | None],
    changed_by: str,
    reason: str | None = None,
    *,
    expected: int | None = None,
) -> Segment | None:
    """The segment after `settings` made new settings of its own; None: there is none now. Its members are found soon.

    Raises as `SettingsTable.save`.
    """
    before: dict[str, Any] | None = None

    def change(settings_before: dict[str, Any] | None) -> dict[str, Any] | None:
        nonlocal before
        before = settings_before
        return settings(settings_before)

    async with transaction(connection) as inside:
        saved = await SEGMENTS.save(inside, id, change, changed_by, reason, expected=expected)
        if saved is None:
            return None
        if saved.settings == before:
            return await segment_by_id(inside, id)
        if saved.settings is None:
            await inside.execute("DELETE FROM segments WHERE id = $1", id)
            return None
        await _define(inside, [id], [saved.settings], changed_by)
        return await segment_by_id(inside, id)


async def change_segments(
    connection: Connection, wanted: Mapping[str, dict[str, Any]], changed_by: str, reason: str | None
) -> list[Difference]:
    """Give segments by id these settings, all or none; what that changes. Raises as `SettingsTable.save_all`."""
    async with transaction(connection) as inside:
        changed = await SEGMENTS.save_all(inside, wanted, changed_by, reason)
        await _define(inside, [one.id for one in changed], [one.after for one in changed], changed_by)
        return changed


async def _define(inside: Connection, ids: Sequence[str], settings: Sequence[Mapping[str, Any]], by: str) -> None:
    """Write what segments are. Their members are found soon."""
    await inside.execute(
        "INSERT INTO segments (id, name, definition, changed_at, changed_by)"
        " SELECT id, name, definition, now(), $4 FROM unnest($1::text[], $2::text[], $3::jsonb[])"
        " AS new (id, name, definition)"
        " ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, definition = EXCLUDED.definition,"
        " changed_at = EXCLUDED.changed_at, changed_by = EXCLUDED.changed_by, due_at = now()",
        ids,
        [each["name"] for each in settings],
        [each["where"] for each in settings],
        by,
    )


async def save_segment(
    connection: Connection,
    id: str,
    name: str,
    definition: Mapping[str, Any],
    changed_by: str,
    reason: str | None = None,
) -> Segment:
    """Add or change a segment; its members are found soon. Raises InvalidInput when there are too many segments."""
    settings = {"name": name, "where": dict(definition)}
    saved = await change_segment(connection, id, lambda _: settings, changed_by, reason)
    assert saved is not None
    return saved


async def delete_segment(
    connection: Connection, id: str, changed_by: str, reason: str | None = None, *, expected: int | None = None
) -> bool:
    """Delete a segment with its members; its versions stay. Whether it was there. Raises SettingsChanged."""
    there = False

    def remove(before: dict[str, Any] | None) -> None:
        nonlocal there
        there = before is not None

    await change_segment(connection, id, remove, changed_by, reason, expected=expected)
    return there


async def segment_by_id(connection: Connection, id: str) -> Segment | None:
    """The segment with this id."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM {_NEWEST} WHERE segments.id = $1", id)
    return row and Segment(**row)


async def list_segments(connection: Connection) -> list[Segment]:
    """All segments, by id: there are at most MOST_SEGMENTS."""
    return [Segment(**row) for row in await connection.fetch(f"SELECT {_COLUMNS} FROM {_NEWEST} ORDER BY segments.id")]


async def unknown_segments(connection: Connection, ids: Sequence[str]) -> list[str]:
    """Those of these ids that no segment has."""
    rows = await connection.fetch(
        "SELECT id FROM unnest($1::text[]) AS given (id) WHERE NOT EXISTS (SELECT FROM segments"
        " WHERE segments.id = given.id) ORDER BY 1",
        list(ids),
    )
    return [row["id"] for row in rows]


async def has_due_segments(connection: Connection) -> bool:
    """Whether members of any segment are to be found now."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM segments WHERE due_at <= now())"))


async def claim_due_segments(connection: Connection) -> dict[str, dict[str, Any]]:
    """The definitions of the segments whose members are to be found now, by id; nobody else gets them for CLAIM."""
    rows = await connection.fetch(
        "UPDATE segments SET due_at = now() + $1::interval WHERE due_at <= now() RETURNING id, definition", CLAIM
    )
    return {row["id"]: row["definition"] for row in rows}


async def write_snapshot(
    connection: Connection, id: str, definition: Mapping[str, Any], users: Sequence[str], read_at: datetime
) -> bool:
    """Keep who belongs to a segment now; False when it was deleted or changed meanwhile, so that nothing is kept.

    The users were found in data that was read from `read_at` on: those who were erased since are left out. What
    happened before HISTORY is forgotten.
    """
    async with transaction(connection) as inside:
        now = await inside.fetchval("SELECT definition FROM segments WHERE id = $1 FOR UPDATE", id)
        if now != definition:
            return False
        await inside.execute("UPDATE segments SET due_at = now() + $2::interval WHERE id = $1", id, PERIOD)
        number = await inside.fetchval(
            "INSERT INTO segment_snapshots (segment_id, number, members)"
            " SELECT $1, coalesce(max(number), 0) + 1, $2 FROM segment_snapshots WHERE segment_id = $1"
            " RETURNING number",
            id,
            len(users),
        )
        await inside.execute(
            "UPDATE segment_members SET gone = $2 WHERE segment_id = $1 AND gone IS NULL"
            " AND NOT EXISTS (SELECT FROM unnest($3::text[]) AS now (id) WHERE now.id = user_id)",
            id,
            number,
            users,
            timeout=WRITE_TIMEOUT,
        )
        await inside.execute(
            "INSERT INTO segment_members (segment_id, user_id, joined) SELECT $1, now.id, $2"
            " FROM unnest($3::text[]) AS now (id) WHERE NOT EXISTS (SELECT FROM segment_members"
            " WHERE segment_id = $1 AND user_id = now.id AND gone IS NULL)",
            id,
            number,
            users,
            timeout=WRITE_TIMEOUT,
        )
        await _forget_old(inside, id, number)
        await _leave_out_erased(inside, id, number, read_at)
        return True


async def _leave_out_erased(inside: Connection, id: str, number: int, read_at: datetime) -> None:
    """Delete the members who were erased while they were found. Erasures wait from here on until this is committed."""
    await lock_transaction(inside, AdvisoryLock.MEMBERS)
    since = read_at - ERASURE_TAKES
    newest = await newest_tombstone(inside)
    if newest is None or newest < since:
        return
    tag = await inside.execute(
        f"DELETE FROM segment_members WHERE segment_id = $1 AND {ERASED_WHEN.format(hash=HASH_OF_MEMBER)} >= $2",
        id,
        since,
        timeout=WRITE_TIMEOUT,
    )
    await inside.execute(
        "UPDATE segment_snapshots SET members = members - $3 WHERE segment_id = $1 AND number = $2",
        id,
        number,
        int(tag.rpartition(" ")[2]),
    )


async def _forget_old(inside: Connection, id: str, number: int) -> None:
    """Delete snapshots that are older than HISTORY but the newest of them, and members who left before that."""
    oldest = await inside.fetchval(
        "SELECT max(number) FROM segment_snapshots"
        " WHERE segment_id = $1 AND number < $2 AND made_at < now() - $3::interval",
        id,
        number,
        HISTORY,
    )
    if oldest is not None:
        await inside.execute("DELETE FROM segment_snapshots WHERE segment_id = $1 AND number < $2", id, oldest)
        await inside.execute("DELETE FROM segment_members WHERE segment_id = $1 AND gone <= $2", id, oldest)


async def snapshot_at(connection: Connection, id: str, moment: datetime) -> int | None:
    """The newest snapshot of a segment at a moment; 0 before its first one, None when that is forgotten."""
    row = await connection.fetchrow(
        "SELECT max(number) FILTER (WHERE made_at <= $2) AS newest, min(number) AS first"
        " FROM segment_snapshots WHERE segment_id = $1",
        id,
        moment,
    )
    if row["newest"] is not None:
        return int(row["newest"])
    return 0 if row["first"] in (None, 1) else None


async def has_snapshot(connection: Connection, id: str, number: int) -> bool:
    """Whether a snapshot can still be read."""
    found = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM segment_snapshots WHERE segment_id = $1 AND number = $2)", id, number
    )
    return bool(found)


async def members_of(
    connection: Connection, id: str, number: int, after: str, first: int, since: int | None = None
) -> list[Member]:
    """At most `first` members of a snapshot whose ids are above `after`, ascending.

    With `since`, an earlier snapshot: those who joined or left after it.
    """
    if since is None:
        rows = await connection.fetch(
            "SELECT user_id, false AS gone FROM segment_members WHERE segment_id = $1 AND user_id > $2"
            " AND joined <= $3 AND (gone IS NULL OR gone > $3) ORDER BY user_id LIMIT $4",
            id,
            after,
            number,
            first,
        )
    else:
        rows = await connection.fetch(
            "SELECT user_id, NOT is_now AS gone FROM ("
            "    SELECT user_id, bool_or(joined <= $3 AND (gone IS NULL OR gone > $3)) AS is_now,"
            "        bool_or(joined <= $5 AND (gone IS NULL OR gone > $5)) AS was"
            "    FROM segment_members WHERE segment_id = $1 AND user_id > $2 AND (joined > $5 OR gone > $5)"
            "    GROUP BY user_id"
            ") AS changed WHERE is_now <> was ORDER BY user_id LIMIT $4",
            id,
            after,
            number,
            first,
            since,
        )
    return [Member(**row) for row in rows]


async def erase_members(connection: Connection, users: Sequence[str]) -> int:
    """Delete users from all segments and figures, in a transaction of the caller's; returns how many rows there were.

    It deletes twice: a snapshot that is written meanwhile may hold rows that the first deletion waits for, so the lock
    is taken after it; what that snapshot added is seen by the second one.
    """
    deleted = await _delete_members(connection, users)
    await lock_transaction(connection, AdvisoryLock.MEMBERS)
    return deleted + await _delete_members(connection, users)


async def _delete_members(connection: Connection, users: Sequence[str]) -> int:
    tags = [
        await connection.execute(f"DELETE FROM {table} WHERE user_id = ANY($1::text[])", users)
        for table in ("segment_members", "segment_figures")
    ]
    return sum(int(tag.rpartition(" ")[2]) for tag in tags)


async def memberships_of(connection: Connection, users: Sequence[str]) -> dict[str, list[str]]:
    """The ids of the segments that each of these users belongs to, in order; those of the user they are now."""
    rows = await connection.fetch(
        "SELECT given.id, array_agg(segment_id ORDER BY segment_id) AS segments FROM unnest($1::text[]) AS given (id)"
        " LEFT JOIN merged_users ON merged_users.user_id = given.id"
        " JOIN segment_members ON segment_members.user_id = coalesce(into_id, given.id) AND gone IS NULL"
        " GROUP BY given.id",
        list(users),
    )
    return {row["id"]: row["segments"] for row in rows}


async def segments_of(connection: Connection, users: Sequence[str]) -> list[str]:
    """The ids of the segments that any of these users belongs to, in order."""
    rows = await connection.fetch(
        "SELECT DISTINCT segment_id FROM segment_members WHERE user_id = ANY($1::text[]) AND gone IS NULL ORDER BY 1",
        users,
    )
    return [row["segment_id"] for row in rows]
