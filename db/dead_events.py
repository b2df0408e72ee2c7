"""Dead events: what could not be stored, kept with its reason until a person replays or discards it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import orjson

from core.contract import Person
from core.sources import named_source
from db.merged_users import IDS, OWNER
from db.postgres import Connection

Kind = Literal["EVENT", "MESSAGE"]
_LISTED: Final = (
    "id, kind, state, died_at, reason, detail, attempts, task, source, event_id, occurred_at, event_type, user_id,"
    " anonymous_id, decided_at, decided_by, decision"
)

_NAMES: Final = tuple(_LISTED.split(", "))
_ESCAPED: Final = b"\\u001f"  # a namespace's separator, in JSON


class DeadReason(StrEnum):
    """Why a dead event could not be stored."""

    CONFLICT = "CONFLICT"
    INVALID = "INVALID"
    UNSTORABLE = "UNSTORABLE"
    CRASHED = "CRASHED"
    FAILED = "FAILED"
    UNREADABLE = "UNREADABLE"
    UNKNOWN_TASK = "UNKNOWN_TASK"


class DeadState(StrEnum):
    """The decision about a dead event; DEAD until there is one."""

    DEAD = "DEAD"
    REPLAYED = "REPLAYED"
    DISCARDED = "DISCARDED"


class NewDeadEvent(NamedTuple):
    """An event, or a whole message that cannot be read, to be kept as a dead event.

    `key` is the same when the same event is dead-lettered again. `moment` is the latest time at which the event
    can have happened. It is not stored: events from before their person's erasure are not kept.
    """

    key: str
    kind: Kind
    reason: DeadReason
    detail: str
    attempts: int
    task: str | None
    source: str | None
    event_id: str | None
    occurred_at: datetime | None
    event_type: str | None
    user_id: str | None
    anonymous_id: str | None
    body: bytes
    moment: datetime

    @property
    def person(self) -> Person | None:
        """The person of the event, as far as it can be read."""
        if self.user_id is not None:
            return Person("user", self.user_id)
        return None if self.anonymous_id is None else Person("guest", self.anonymous_id)


@dataclass(frozen=True, slots=True)
class DeadEvent:
    """A dead event without its body, for lists."""

    id: int
    kind: Kind
    state: DeadState
    died_at: datetime
    reason: str
    detail: str
    attempts: int
    task: str | None
    source: str | None
    event_id: str | None
    occurred_at: datetime | None
    event_type: str | None
    user_id: str | None
    anonymous_id: str | None
    decided_at: datetime | None
    decided_by: str | None
    decision: str | None


class ReplayableEvent(NamedTuple):
    """The fields of a dead event that a replay needs. `attempts` grows when it is dead-lettered again."""

    id: int
    kind: Kind
    state: DeadState
    attempts: int
    reason: str
    task: str | None
    body: bytes | None
    envelope_version: int
    envelope_id: UUID


async def insert_dead_events(connection: Connection, events: Iterable[NewDeadEvent]) -> None:
    """Store these. If an event has a row that was not discarded, that row becomes DEAD again."""
    once = {event.key: event for event in events}
    if not once:
        return
    columns = [list(column) for column in zip(*(once[key][:-1] for key in sorted(once)), strict=True)]
    await connection.execute(
        """
        INSERT INTO dead_events (key, kind, reason, detail, attempts, task, source, event_id, occurred_at, event_type,
                                 user_id, anonymous_id, body)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
                             $8::text[], $9::timestamptz[], $10::text[], $11::text[], $12::text[], $13::bytea[])
        ON CONFLICT (key) WHERE state <> 'DISCARDED' DO UPDATE
        SET state = 'DEAD', died_at = now(), reason = excluded.reason, detail = excluded.detail,
            attempts = dead_events.attempts + excluded.attempts, body = excluded.body, decided_at = NULL,
            decided_by = NULL
        """,
        *columns,
    )


async def list_dead_events(
    connection: Connection,
    first: int,
    before: int | None = None,
    *,
    reason: DeadReason | None = None,
    state: DeadState = DeadState.DEAD,
) -> list[DeadEvent]:
    """At most `first` dead events, newest first; `before` is the id after which the page begins."""
    rows = await connection.fetch(
        f"SELECT {_LISTED} FROM dead_events WHERE state = $1 AND ($2::text IS NULL OR reason = $2)"
        " AND ($3::bigint IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
        state,
        reason,
        before,
        first,
    )
    return [_dead_event(row) for row in rows]


async def dead_event_by_id(connection: Connection, id: int) -> DeadEvent | None:
    """The dead event with this id."""
    row = await connection.fetchrow(f"SELECT {_LISTED} FROM dead_events WHERE id = $1", id)
    return row and _dead_event(row)


async def bodies_of_dead_events(connection: Connection, ids: Sequence[int]) -> dict[int, bytes]:
    """The bodies of these, as their senders know them; a dead event that was replayed or discarded has none."""
    rows = await connection.fetch("SELECT id, body FROM dead_events WHERE id = ANY($1) AND body IS NOT NULL", list(ids))
    return {row["id"]: _as_sent(row["body"]) for row in rows}


async def undecided_ids(
    connection: Connection, limit: int, after: int = 0, *, reason: DeadReason | None = None
) -> list[int]:
    """The oldest dead events without a decision, after the id `after`."""
    rows = await connection.fetch(
        "SELECT id FROM dead_events WHERE state = 'DEAD' AND id > $1 AND ($2::text IS NULL OR reason = $2)"
        " ORDER BY id LIMIT $3",
        after,
        reason,
        limit,
    )
    return [row["id"] for row in rows]


async def count_dead_events(connection: Connection) -> dict[str, int]:
    """How many dead events wait for a decision, by reason; reasons without any are left out."""
    rows = await connection.fetch("SELECT reason, count(*) AS dead FROM dead_events WHERE state = 'DEAD' GROUP BY 1")
    return {row["reason"]: row["dead"] for row in rows}


async def find_replayable(connection: Connection, ids: Sequence[int]) -> dict[int, ReplayableEvent]:
    """These dead events with the fields that a replay needs; ids that do not exist are left out."""
    rows = await connection.fetch(
        "SELECT id, kind, state, attempts, reason, task, body, envelope_version, envelope_id FROM dead_events"
        " WHERE id = ANY($1)",
        list(ids),
    )
    return {row["id"]: ReplayableEvent(**{**row, "state": DeadState(row["state"])}) for row in rows}


async def mark_replayed(connection: Connection, replayed: Sequence[ReplayableEvent], by: str) -> None:
    """Mark these as replayed and delete their bodies: the broker has confirmed them.

    One that was dead-lettered again since it was read stays DEAD, with its body.
    """
    await connection.execute(
        "UPDATE dead_events SET state = 'REPLAYED', body = NULL, decided_at = now(), decided_by = $3"
        " FROM unnest($1::bigint[], $2::bigint[]) AS given (id, attempts)"
        " WHERE dead_events.id = given.id AND dead_events.attempts = given.attempts AND state = 'DEAD'",
        [each.id for each in replayed],
        [each.attempts for each in replayed],
        by,
    )


async def discard_dead_events(connection: Connection, ids: Sequence[int], reason: str, by: str) -> set[int]:
    """Delete the bodies of these, and record who decided it and why. Returns the ids that were DEAD before."""
    rows = await connection.fetch(
        "UPDATE dead_events SET state = 'DISCARDED', body = NULL, decided_at = now(), decided_by = $3, decision = $2"
        " WHERE id = ANY($1) AND state = 'DEAD' RETURNING id",
        list(ids),
        reason,
        by,
    )
    return {row["id"] for row in rows}


async def erase_dead_events(connection: Connection, people: Sequence[Person], before: datetime | None = None) -> int:
    """Delete the dead events of these people, with `before` only those from before it. Returns how many."""
    ids = {kind: [person.id for person in people if person.kind == kind] for kind in ("user", "guest")}
    tag = await connection.execute(
        "DELETE FROM dead_events"
        " WHERE (user_id = ANY($1::text[]) OR (user_id IS NULL AND anonymous_id = ANY($2::text[])))"
        " AND ($3::timestamptz IS NULL OR least(occurred_at, died_at) < $3)",
        ids["user"],
        ids["guest"],
        before,
    )
    return int(tag.rpartition(" ")[2])


async def dead_events_of_user(connection: Connection, user_id: str, limit: int) -> list[tuple[DeadEvent, bytes | None]]:
    """The dead events of a user, of their old ids and of their guests, with bodies, newest first."""
    rows = await connection.fetch(
        f"SELECT {_LISTED}, body FROM dead_events WHERE user_id = ANY({IDS}) OR (user_id IS NULL AND anonymous_id IN"
        f" (SELECT anonymous_id FROM identities WHERE user_id = {OWNER})) ORDER BY id DESC LIMIT $2",
        user_id,
        limit,
    )
    return [(_dead_event({name: row[name] for name in _NAMES}), row["body"] and _as_sent(row["body"])) for row in rows]


def _as_sent(body: bytes) -> bytes:
    """The JSON of an event without the sender's namespace in its source; any other body unchanged."""
    if _ESCAPED not in body:
        return body
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    if not isinstance(event, dict) or not isinstance(event.get("source"), str):
        return body
    return orjson.dumps({**event, "source": named_source(event["source"])})


def _dead_event(row: Any) -> DeadEvent:
    return DeadEvent(**{**row, "state": DeadState(row["state"])})
