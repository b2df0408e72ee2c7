"""Events: each is stored once, however often it is delivered; they are read per person, newest first."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import asyncpg
import orjson

from core import telemetry
from core.contract import BROWSING, OPINIONS, PAID, Event, EventType, Person, identity_of, order_of
from db.merged_users import OWNER
from db.postgres import Connection, transaction

SLICE: Final = 100  # events of a person that are read between two rounds of the event loop
MONTHS_AHEAD: Final = timedelta(days=62)  # partitions are made before they are needed

_CODES: Final = {type.value: code for code, type in enumerate(EventType)}
_COLUMNS: Final = (
    "source, id, occurred_at, received_at, type, user_id, anonymous_id, item_id, item_ids, order_id, quantity,"
    " unit_price, currency, value, query, impression_id, session_id, properties"
)

_INSERT: Final = f"""
INSERT INTO events ({_COLUMNS}, digest)
SELECT source, id, occurred_at, received_at, type::event_type, user_id, anonymous_id, item_id,
       CASE WHEN item_ids IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(item_ids::jsonb)) END,
       order_id, quantity, unit_price, currency, value, query, impression_id, session_id, properties::jsonb, digest
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],
            $8::text[], $9::text[], $10::text[], $11::integer[], $12::numeric[], $13::text[], $14::numeric[],
            $15::text[], $16::text[], $17::text[], $18::text[], $19::bigint[])
     AS given ({_COLUMNS}, digest)
ORDER BY occurred_at, source, id  -- batches that overlap wait for each other in one order: no deadlock
ON CONFLICT DO NOTHING
RETURNING source, id, occurred_at, digest
"""


class HistoryPlace(NamedTuple):
    """The last event of a page of a history: the next page starts just before it."""

    occurred_at: datetime
    source: str
    id: str


class Span(NamedTuple):
    """A number of events, and the times of the first and the last."""

    events: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def plus(self, other: "Span") -> "Span":
        """Both spans as one."""
        moments = [each for each in (self.first, self.last, other.first, other.last) if each is not None]
        return Span(self.events + other.events, min(moments, default=None), max(moments, default=None))

    def as_json(self) -> dict[str, Any]:
        """The span as JSON."""
        return {
            "count": self.events,
            "first": self.first and self.first.isoformat(),
            "last": self.last and self.last.isoformat(),
        }


class StateEvent(NamedTuple):
    """An event as numbers, to fold a state from. `item` is 0 for an unknown item, `order` 0 for none."""

    identity: int
    type: int
    item: int
    occurred: int  # seconds since 1970
    quantity: int
    cents: int
    order: int
    received_at: datetime | None


async def insert_events(connection: Connection, events: Sequence[Event]) -> list[bool]:
    """Store the events that are not stored yet, in one statement; returns for each whether it was new.

    A month without a partition gets one, and the statement runs again: so not inside a transaction.
    """
    if not events:
        return []
    columns = _columns(events)
    with telemetry.span("INSERT events", "CLIENT", db__system="postgresql", db__collection__name="events"):
        try:
            stored = await connection.fetch(_INSERT, *columns)
        except asyncpg.CheckViolationError:
            stored = await _insert_with_months(connection, [event.occurred_at for event in events], columns)
    return [True] * len(events) if len(stored) == len(events) else _which(events, stored)


async def _insert_with_months(
    connection: Connection, moments: Sequence[datetime], columns: Sequence[Sequence[Any]]
) -> list[Any]:
    """Make the missing months, each in a transaction of its own: many would need too many locks at once. Then insert.

    An empty month may be dropped again before the insert, so the months are made once more and held.
    """
    await ensure_months(connection, moments)
    async with transaction(connection) as inside:
        await hold_months(inside, moments)
        return await inside.fetch(_INSERT, *columns)


async def find_conflicts(connection: Connection, events: Sequence[Event]) -> list[Event]:
    """The events whose identity is stored with another body."""
    if not events:
        return []
    rows = await connection.fetch(
        """
        SELECT nth FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bigint[]) WITH ORDINALITY
            AS given (source, id, occurred_at, digest, nth)
        WHERE digest <> (  -- a join may read whole months: this looks each event up by the primary key
            SELECT stored.digest FROM events AS stored
            WHERE (stored.source, stored.id, stored.occurred_at) = (given.source, given.id, given.occurred_at)
        )
        ORDER BY nth
        """,
        *([list(column) for column in zip(*map(_identified, events), strict=True)]),
    )
    return [events[row["nth"] - 1] for row in rows]


async def ensure_partitions(connection: Connection, earliest: datetime, latest: datetime) -> int:
    """Make the missing partitions of every month from `earliest` to `latest`; returns how many were missing."""
    made: int = await connection.fetchval("SELECT ensure_event_partitions($1, $2)", earliest, latest)
    return made


async def ensure_months(connection: Connection, moments: Iterable[datetime]) -> None:
    """Make the missing partitions of just the months these moments lie in."""
    for year, month in sorted({(moment.year, moment.month) for moment in moments}):
        first = datetime(year, month, 1, tzinfo=UTC)
        await ensure_partitions(connection, first, first)


async def hold_months(inside: Connection, moments: Sequence[datetime]) -> None:
    """Make the months of these moments, and keep them until the transaction that is open ends.

    Nobody drops a month while the table is locked. Without the lock, Postgres may also answer from its cache that a
    dropped month exists. A connection may also go on with a list of partitions that lacks a month, because the month
    was attached while the list was read; however often the insert is repeated, it fails. Setting a column's statistics
    to what they are changes nothing and makes the connection read the list again.
    """
    await inside.execute("LOCK TABLE ONLY events IN ROW EXCLUSIVE MODE")
    await ensure_months(inside, moments)
    await inside.execute("ALTER TABLE ONLY events ALTER COLUMN id SET STATISTICS -1")


_NEWEST_FIRST: Final = 'occurred_at DESC, source COLLATE "C" DESC, id COLLATE "C" DESC'


async def events_of_person(
    connection: Connection,
    person: Person,
    types: Sequence[EventType] | None = None,
    before: HistoryPlace | None = None,
    limit: int = 20,
) -> list[Event]:
    """A person's events, newest first, of these types (all when None), before a place."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM events WHERE {_whose(person)}"
        " AND ($2::text[] IS NULL OR type = ANY($2::text[]::event_type[]))"
        " AND ($3::timestamptz IS NULL OR (occurred_at <= $3"
        '   AND (occurred_at, source COLLATE "C", id COLLATE "C") < ($3, $4::text, $5::text)))'
        f" ORDER BY {_NEWEST_FIRST} LIMIT $6",
        person.id,
        None if types is None else [type.value for type in types],
        *(before or (None, None, None)),
        limit,
    )
    return [_event(row) for row in rows]


_HISTORIES: Final = f"""
    SELECT asked.part, found.* FROM unnest(
        $1::int[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::int[]
    ) AS asked (part, person, types, moment, last_source, last_id, most), LATERAL (
        SELECT {{columns}} FROM events WHERE {{whose}}
            AND (asked.types IS NULL OR type = ANY(string_to_array(asked.types, ',')::event_type[]))
            AND occurred_at <= coalesce(asked.moment, 'infinity') AND (asked.moment IS NULL OR
                (occurred_at, source COLLATE "C", id COLLATE "C") < (asked.moment, asked.last_source, asked.last_id))
        ORDER BY {_NEWEST_FIRST} LIMIT asked.most
    ) AS found ORDER BY part, {_NEWEST_FIRST}
"""


class HistoryPart(NamedTuple):
    """A page of a history: what `events_of_person` reads."""

    person: Person
    types: tuple[EventType, ...] | None
    before: HistoryPlace | None
    limit: int


async def events_of_people(connection: Connection, parts: Sequence[HistoryPart]) -> dict[HistoryPart, list[Event]]:
    """Pages of the histories of several people: a query for those of users, and one for those of guests."""
    found: dict[HistoryPart, list[Event]] = {part: [] for part in parts}
    for kind in dict.fromkeys(part.person.kind for part in parts):
        asked = [
            (
                at,
                part.person.id,
                None if part.types is None else ",".join(type.value for type in part.types),
                *(part.before or (None, None, None)),
                part.limit,
            )
            for at, part in enumerate(parts)
            if part.person.kind == kind
        ]
        whose = _whose(Person(kind, "")).replace("$1", "asked.person")
        columns = [list(column) for column in zip(*asked, strict=True)]
        for row in await connection.fetch(_HISTORIES.format(columns=_COLUMNS, whose=whose), *columns):
            found[parts[row["part"]]].append(_event(row))
    return found


def place_of(event: Event) -> HistoryPlace:
    """The place of an event in a history."""
    return HistoryPlace(event.occurred_at, event.source, event.id)


async def events_for_items(
    connection: Connection, person: Person, item_ids: Sequence[str], each: int = 3
) -> dict[str, list[Event]]:
    """The person's newest events about each of these items: the evidence. Items without any are left out."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM (SELECT *, row_number() OVER"
        " (PARTITION BY item_id ORDER BY occurred_at DESC, source DESC, id DESC) AS nth"
        f" FROM events WHERE {_whose(person)} AND item_id = ANY($2::text[])) ranked"
        " WHERE nth <= $3 ORDER BY occurred_at DESC, source DESC, id DESC",
        person.id,
        list(item_ids),
        each,
    )
    found: dict[str, list[Event]] = {}
    for row in rows:
        found.setdefault(row["item_id"], []).append(_event(row))
    return found


_STATE_EVENTS: Final = (
    "SELECT user_id, events.source, events.id, occurred_at, type, coalesce(items.number, 0) AS item,"
    " floor(extract(epoch FROM occurred_at))::bigint AS occurred, coalesce(quantity, 1) AS quantity,"
    " (round(CASE WHEN type = 'RATING' THEN coalesce(value, 0) * 100"
    "   WHEN unit_price IS NOT NULL THEN unit_price * coalesce(quantity, 1) * 100"
    "   WHEN type = ANY($2::text[]::event_type[]) THEN coalesce(value, 0) * 100 ELSE 0 END))::bigint AS cents,"
    " order_id, session_id, received_at FROM events LEFT JOIN items ON items.id = events.item_id WHERE"
)


async def state_events(connection: Connection, person: Person) -> list[StateEvent]:
    """Every event of a person, to fold a state from, in no particular order."""
    rows = await connection.fetch(f"{_STATE_EVENTS} {_whose(person)}", person.id, sorted(PAID))
    events: list[StateEvent] = []
    for start in range(0, len(rows), SLICE):
        events += map(_state_event, rows[start : start + SLICE])
        await asyncio.sleep(0)
    return events


async def state_events_of_users(connection: Connection, users: Sequence[str]) -> dict[str, list[StateEvent]]:
    """The events of each of these users, as `state_events` returns them. No user may be merged into another."""
    rows = await connection.fetch(f"{_STATE_EVENTS} user_id = ANY($1::text[])", list(users), sorted(PAID))
    found: dict[str, list[StateEvent]] = {user: [] for user in users}
    for start in range(0, len(rows), SLICE):
        for row in rows[start : start + SLICE]:
            found[row["user_id"]].append(_state_event(row))
        await asyncio.sleep(0)
    return found


def _whose(person: Person) -> str:
    """SQL: whose events. An event with a user id is the user's, also when it has an anonymous id.

    The events of a merged user are those of the user they are now.
    """
    return f"user_id = {OWNER}" if person.kind == "user" else "anonymous_id = $1 AND user_id IS NULL"


def _columns(events: Sequence[Event]) -> list[list[Any]]:
    rows = (
        (
            event.source, event.id, event.occurred_at, event.received_at, event.type.value, event.user_id,
            event.anonymous_id, event.item_id, _json(event.item_ids), event.order_id, event.quantity,
            event.unit_price, event.currency, event.value, event.query, event.impression_id, event.session_id,
            _json(event.properties), event.digest,
        )
        for event in events
    )  # fmt: skip
    return [list(column) for column in zip(*rows, strict=True)]


def _json(value: object) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _which(events: Sequence[Event], stored: Iterable[Any]) -> list[bool]:
    left = {(row["source"], row["id"], row["occurred_at"], row["digest"]) for row in stored}
    new = []
    for event in events:
        key = _identified(event)
        new.append(key in left)
        left.discard(key)
    return new


def _identified(event: Event) -> tuple[str, str, datetime, int]:
    """The identity and the digest: of two bodies under one identity in a batch, only one was stored."""
    return event.source, event.id, event.occurred_at, event.digest


def _event(row: Any) -> Event:
    """The event, not validated again: the contract may be stricter now than when it was stored."""
    columns = dict(row)
    columns["type"] = EventType(columns["type"])
    columns["item_ids"] = None if columns["item_ids"] is None else tuple(columns["item_ids"])
    return Event.model_construct(**columns)


def _order_of(row: Any) -> int:
    """As `Event.order`."""
    if row["type"] in OPINIONS:
        moment: datetime = row["occurred_at"]
        return moment.microsecond
    return order_of(row["session_id"] if row["type"] in BROWSING else row["order_id"])


def _state_event(row: Any) -> StateEvent:
    return StateEvent(
        identity_of(row["source"], row["id"], row["occurred_at"]),
        _CODES[row["type"]],
        row["item"],
        row["occurred"],
        row["quantity"],
        row["cents"],
        _order_of(row),
        row["received_at"],
    )
