"""Dead events: what no worker could store, kept until a person replays or discards it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from core.contract import Person
from db.postgres import Connection

Kind = Literal["EVENT", "MESSAGE"]
_LISTED: Final = (
    "id, kind, state, died_at, reason, detail, attempts, task, source, event_id, occurred_at, event_type, user_id,"
    " anonymous_id, decided_at, decided_by, decision"
)

_NAMES: Final = tuple(_LISTED.split(", "))


class DeadReason(StrEnum):
    """Why it could not be stored."""

    CONFLICT = "CONFLICT"
    INVALID = "INVALID"
    UNSTORABLE = "UNSTORABLE"
    CRASHED = "CRASHED"
    FAILED = "FAILED"
    UNREADABLE = "UNREADABLE"
    UNKNOWN_TASK = "UNKNOWN_TASK"


class DeadState(StrEnum):
    """What was decided about it; DEAD while nothing was."""

    DEAD = "DEAD"
    REPLAYED = "REPLAYED"
    DISCARDED = "DISCARDED"


class Burial(NamedTuple):
    """What is to be kept of one event, or of a message that cannot be read. `key` is the same when it dies again.

    `moment`, when it happened at the latest, is not stored: it says whether it is to be kept at all.
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
        """Whose it is, as far as that can be read."""
        if self.user_id is not None:
            return Person("user", self.user_id)
        return None if self.anonymous_id is None else Person("guest", self.anonymous_id)


@dataclass(frozen=True, slots=True)
class DeadEvent:
    """One of them, as it is listed: without its body."""

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


class Remains(NamedTuple):
    """What a replay needs of a dead event. Its `attempts` tell whether it has died again since."""

    id: int
    kind: Kind
    state: DeadState
    attempts: int
    reason: str
    task: str | None
    body: bytes | None
    envelope_version: int
    envelope_id: UUID


async def bury(connection: Connection, burials: Iterable[Burial]) -> None:
    """Keep these; what died before and was not discarded is the same row, dead again."""
    once = {burial.key: burial for burial in burials}
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


async def list_dead(
    connection: Connection,
    first: int,
    before: int | None = None,
    *,
    reason: DeadReason | None = None,
    state: DeadState = DeadState.DEAD,
) -> list[DeadEvent]:
    """At most `first`, newest first; `before` is the id after which the page begins."""
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
    """The one with this id."""
    row = await connection.fetchrow(f"SELECT {_LISTED} FROM dead_events WHERE id = $1", id)
    return row and _dead_event(row)


async def dead_bodies(connection: Connection, ids: Sequence[int]) -> dict[int, bytes]:
    """What came of these, as it came; what was replayed or discarded has no body any more."""
    rows = await connection.fetch("SELECT id, body FROM dead_events WHERE id = ANY($1) AND body IS NOT NULL", list(ids))
    return {row["id"]: row["body"] for row in rows}


async def undecided_ids(
    connection: Connection, limit: int, after: int = 0, *, reason: DeadReason | None = None
) -> list[int]:
    """The oldest that nobody has decided about, from the one after `after` on."""
    rows = await connection.fetch(
        "SELECT id FROM dead_events WHERE state = 'DEAD' AND id > $1 AND ($2::text IS NULL OR reason = $2)"
        " ORDER BY id LIMIT $3",
        after,
        reason,
        limit,
    )
    return [row["id"] for row in rows]


async def count_dead(connection: Connection) -> dict[str, int]:
    """How many wait for a decision, by reason; reasons nobody died of are left out."""
    rows = await connection.fetch("SELECT reason, count(*) AS dead FROM dead_events WHERE state = 'DEAD' GROUP BY 1")
    return {row["reason"]: row["dead"] for row in rows}


async def find_remains(connection: Connection, ids: Sequence[int]) -> dict[int, Remains]:
    """What a replay needs of those of these that there are."""
    rows = await connection.fetch(
        "SELECT id, kind, state, attempts, reason, task, body, envelope_version, envelope_id FROM dead_events"
        " WHERE id = ANY($1)",
        list(ids),
    )
    return {row["id"]: Remains(**{**row, "state": DeadState(row["state"])}) for row in rows}


async def mark_replayed(connection: Connection, replayed: Sequence[Remains], by: str) -> None:
    """The broker has confirmed these: their bodies are not needed any more.

    What has died again since it was read stays dead, with the body it has now.
    """
    await connection.execute(
        "UPDATE dead_events SET state = 'REPLAYED', body = NULL, decided_at = now(), decided_by = $3"
        " FROM unnest($1::bigint[], $2::bigint[]) AS told (id, attempts)"
        " WHERE dead_events.id = told.id AND dead_events.attempts = told.attempts AND state = 'DEAD'",
        [each.id for each in replayed],
        [each.attempts for each in replayed],
        by,
    )


async def discard_dead(connection: Connection, ids: Sequence[int], reason: str, by: str) -> set[int]:
    """Delete the bodies of these and keep who wanted it and why; returns which there were to discard."""
    rows = await connection.fetch(
        "UPDATE dead_events SET state = 'DISCARDED', body = NULL, decided_at = now(), decided_by = $3, decision = $2"
        " WHERE id = ANY($1) AND state = 'DEAD' RETURNING id",
        list(ids),
        reason,
        by,
    )
    return {row["id"] for row in rows}


async def erase_dead(connection: Connection, people: Sequence[Person], before: datetime | None = None) -> int:
    """Erase what died of these people, or only what happened before a moment, traces too; returns how many."""
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


async def dead_of_user(connection: Connection, user_id: str, limit: int) -> list[tuple[DeadEvent, bytes | None]]:
    """What died of a user and of the guests they were, with what came, newest first."""
    rows = await connection.fetch(
        f"SELECT {_LISTED}, body FROM dead_events WHERE user_id = $1 OR (user_id IS NULL AND anonymous_id IN"
        " (SELECT anonymous_id FROM identities WHERE user_id = $1)) ORDER BY id DESC LIMIT $2",
        user_id,
        limit,
    )
    return [(_dead_event({name: row[name] for name in _NAMES}), row["body"]) for row in rows]


def _dead_event(row: Any) -> DeadEvent:
    return DeadEvent(**{**row, "state": DeadState(row["state"])})
