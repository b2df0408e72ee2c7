"""Purchases, and what people said of items and returned, in bulk for training; and the most bought items."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.contract import BROWSING, OPINIONS, EventType
from db.postgres import Connection, Pool

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
BULK_TIMEOUT = 900.0  # seconds; a year of purchases takes a few
_COPY_HEADER = 19  # bytes before the first row of Postgres' binary COPY format
_COPY_TRAILER = 2
POSTGRES_EPOCH = 946_684_800  # 2000-01-01 in Unix seconds
_FIELDS = (
    ("person", ">i8"),
    ("item", ">i4"),
    ("occurred", ">i8"),
    ("quantity", ">i4"),
    ("cents", ">i8"),
    ("order", ">i8"),
    ("type", ">i4"),
)
SIGNALS: Final = (EventType.RETURN, *sorted(OPINIONS), *sorted(BROWSING))
"""The events beside purchases that training reads."""
MOST_BROWSED: Final = 2_000_000  # events of BROWSING that are read: the newest
MOST_OF_PERSON: Final = 20_000  # of these; where there are too many, whoever has more is a program and has none
ROUNDS: Final = 10  # in which such people are looked for: without those of one round, others may be among the newest
CODE: Final = {type: code for code, type in enumerate(EventType)}
_ROW = np.dtype(
    [("fields", ">i2"), *((name + part, kind) for name, of in _FIELDS for part, kind in (("_size", ">i4"), ("", of)))]
)

_PERSON = "CASE WHEN user_id IS NULL THEN hashtextextended(anonymous_id, 1) ELSE hashtextextended(user_id, 0) END"
_OPINIONS = ", ".join(f"'{type}'" for type in sorted(OPINIONS))
BROWSED = ", ".join(f"'{type}'" for type in sorted(BROWSING))
_SPAN = "item_id IS NOT NULL AND occurred_at < $1 AND occurred_at >= $2"
_BOUGHT = f"FROM events WHERE type = 'PURCHASE' AND {_SPAN}"
TYPE_CODE = " ".join(
    ["CASE type", *(f"WHEN '{type}' THEN {CODE[type]}" for type in (EventType.PURCHASE, *SIGNALS)), "END"]
)
LISTED = ", ".join(f"'{type}'" for type in (EventType.PURCHASE, *SIGNALS))
WHO = "coalesce('u' || user_id, 'g' || anonymous_id)"
_BROWSED_SINCE = f"""
    SELECT occurred_at FROM events WHERE type IN ({BROWSED}) AND {_SPAN} AND {WHO} <> ALL($4::text[])
    ORDER BY occurred_at DESC OFFSET $3 LIMIT 1
"""
_PROGRAMS = f"""
    SELECT {WHO} AS who FROM events WHERE type IN ({BROWSED}) AND {_SPAN} AND occurred_at > $3
        AND {WHO} <> ALL($4::text[])
    GROUP BY 1 HAVING count(*) > $5
"""
_ROWS = f"""
    WITH wanted AS (
        SELECT *, {_PERSON} AS person FROM events
        WHERE type IN ({LISTED}) AND {_SPAN}
            AND (type NOT IN ({BROWSED}) OR occurred_at > $3 AND {WHO} <> ALL($4::text[]))
    )
    SELECT person, coalesce(number, 0), occurred_at, coalesce(quantity, 1),
        round(CASE WHEN type = 'RATING' THEN coalesce(value, 0)
                   ELSE coalesce(unit_price * coalesce(quantity, 1), value, 0) END * 100)::bigint,
        CASE WHEN type IN ({_OPINIONS}) THEN (date_part('epoch', occurred_at) * 1000000)::bigint % 1000000
             WHEN type IN ({BROWSED}) THEN coalesce(hashtextextended(session_id, person), 0)
             WHEN order_id IS NOT NULL THEN hashtextextended(order_id, person)
             WHEN type = 'PURCHASE' THEN hashint8extended(floor(date_part('epoch', occurred_at))::bigint, person)
             ELSE 0 END,
        {TYPE_CODE}::integer
    FROM wanted LEFT JOIN items ON items.id = item_id
"""
_PEOPLE = f"""
    SELECT DISTINCT {_PERSON} AS person,
        CASE WHEN user_id IS NULL THEN 'guest:' || anonymous_id ELSE 'user:' || user_id END AS name
    {_BOUGHT}
"""
# `gone` are people who returned all that they bought of an item; returns count as `ml.returns` says. A return takes at
# most the units that are there, so what is left of `moved` is the last sum above the lowest (Lindley 1952).
_POPULAR = f"""
    WITH bought AS (
        SELECT item_id, count(DISTINCT {WHO}) AS people
        FROM events WHERE type = 'PURCHASE' AND occurred_at >= $1 GROUP BY item_id
    ), returns AS MATERIALIZED (
        SELECT {WHO} AS person, user_id, anonymous_id, item_id, order_id, occurred_at, coalesce(quantity, 1) AS units
        FROM events WHERE type = 'RETURN' AND item_id IS NOT NULL AND occurred_at >= $1
    ), lines AS MATERIALIZED (
        SELECT {WHO} AS person, item_id, order_id, occurred_at, coalesce(quantity, 1) AS units
        FROM events WHERE type = 'PURCHASE' AND item_id IS NOT NULL AND occurred_at >= $1
            AND ({WHO}, item_id) IN (SELECT person, item_id FROM returns)
    ), orders AS (
        SELECT person, item_id, order_id, max(occurred_at) AS occurred_at, sum(units) AS units
        FROM lines WHERE order_id IS NOT NULL GROUP BY person, item_id, order_id
    ), moved AS (
        SELECT person, item_id, occurred_at, 1 AS up, units FROM lines WHERE order_id IS NULL
        UNION ALL
        SELECT person, item_id, occurred_at, 1, greatest(units - coalesce(returned, 0), 0)
        FROM orders LEFT JOIN (
            SELECT person, item_id, order_id, sum(units) AS returned FROM returns GROUP BY person, item_id, order_id
        ) AS by_order USING (person, item_id, order_id)
        UNION ALL
        SELECT person, item_id, occurred_at, 0, -units FROM returns
        WHERE (person, item_id) IN (SELECT person, item_id FROM lines)
            AND NOT EXISTS (
                SELECT FROM orders
                WHERE (orders.person, orders.item_id, orders.order_id)
                    = (returns.person, returns.item_id, returns.order_id)
            ) AND NOT EXISTS (  -- an order from before the window
                SELECT FROM events
                WHERE type = 'PURCHASE' AND events.occurred_at < $1
                    AND (events.item_id, events.order_id) = (returns.item_id, returns.order_id)
                    AND (events.user_id = returns.user_id OR events.user_id IS NULL AND returns.user_id IS NULL
                         AND events.anonymous_id = returns.anonymous_id)
            )
    ), sums AS (
        SELECT person, item_id, units,
            sum(units) OVER (
                PARTITION BY person, item_id ORDER BY occurred_at, up DESC ROWS UNBOUNDED PRECEDING
            ) AS so_far
        FROM moved
    ), gone AS (
        SELECT item_id, count(*) AS people FROM (
            SELECT item_id FROM sums GROUP BY person, item_id HAVING sum(units) <= least(0, min(so_far))
        ) AS each GROUP BY item_id
    )
    SELECT items.id, number, bought.people - coalesce(gone.people, 0) AS people
    FROM bought LEFT JOIN gone USING (item_id) JOIN items ON items.id = item_id AND removed_at IS NULL
    WHERE bought.people > coalesce(gone.people, 0)
    ORDER BY people DESC, items.id LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class Signals:
    """What the people of a log returned, said of items and looked at, by person and time. Arrays are of one length."""

    person: NDArray[np.int32]  # index into the log's people
    item: NDArray[np.int32]  # item number
    occurred: NDArray[np.int64]  # Unix seconds
    quantity: NDArray[np.int32]
    cents: NDArray[np.int64]  # of a rating, hundredths of its value
    order: NDArray[np.int64]  # of a return as in the log, -1 for no order of the log; of an opinion its microseconds;
    # of BROWSING a hash of the session, 0 = none
    type: NDArray[np.int32]  # index in EventType


@dataclass(frozen=True, slots=True)
class PurchaseLog:
    """Every line bought in a span of time, sorted by person, time, order and item; returns are not deducted.

    All arrays but `item_numbers` are as long as there are lines.
    """

    people: list[str]  # "user:ID" or "guest:ID", sorted
    person: NDArray[np.int32]  # index into people
    item: NDArray[np.int32]  # item number
    occurred: NDArray[np.int64]  # Unix seconds
    quantity: NDArray[np.int32]
    cents: NDArray[np.int64]  # of the whole line
    order: NDArray[np.int64]  # dense; lines without an order id that share person and second are one order
    item_numbers: NDArray[np.int32]  # the catalogue, removed items too, ascending
    item_ids: list[str]  # beside item_numbers
    unknown: int  # lines left out because their item is not in the catalogue
    signals: Signals


class Bought(NamedTuple):
    """Lines and signals in no particular order, as columns by the names of `_FIELDS`; people's names by hash."""

    columns: dict[str, NDArray[Any]]
    names: dict[int, str]


async def purchase_log(
    pool: Pool, until: datetime, since: datetime | None = None, *, browsed: int = MOST_BROWSED
) -> PurchaseLog:
    """The purchases from `since` on and before `until`, from one snapshot.

    Of the events of BROWSING the newest are read: `browsed` at most, and where there are more, none of people with more
    than MOST_OF_PERSON among them: one program would push those of all customers out.
    """
    async with pool.acquire(timeout=BULK_TIMEOUT) as connection, connection.transaction(isolation="repeatable_read"):
        bought = await read_bought(connection, until, since or EARLIEST, browsed)
        items = await read_items(connection)
    return log_of([bought], items, browsed)


async def read_bought(connection: Any, until: datetime, since: datetime, browsed: int) -> Bought:
    """The lines from `since` on and before `until`, with the numbers of their items, 0 for unknown ones."""
    received = bytearray()

    async def collect(part: bytes) -> None:
        received.extend(part)

    before, programs = await _browsed_since(connection, until, since, browsed)
    bounds = until, since, before or EARLIEST - timedelta(days=1), programs
    await connection.copy_from_query(_ROWS, *bounds, output=collect, format="binary", timeout=BULK_TIMEOUT)
    people = await connection.fetch(_PEOPLE, until, since, timeout=BULK_TIMEOUT)
    count = (len(received) - _COPY_HEADER - _COPY_TRAILER) // _ROW.itemsize
    rows = np.frombuffer(received, _ROW, offset=_COPY_HEADER, count=count)
    columns = {name: rows[name].astype(kind[1:]) for name, kind in _FIELDS}
    return Bought(columns, {row["person"]: row["name"] for row in people})


async def _browsed_since(
    connection: Any, until: datetime, since: datetime, browsed: int
) -> tuple[datetime | None, list[str]]:
    """The moment after which at most `browsed` events of BROWSING came, without those of programs; and whose those are.

    None for a moment before all of them.
    """
    programs = list[str]()
    for _ in range(ROUNDS):
        before = await connection.fetchval(_BROWSED_SINCE, until, since, browsed, programs, timeout=BULK_TIMEOUT)
        if before is None:
            break
        bounds = until, since, before, programs, MOST_OF_PERSON
        more = await connection.fetch(_PROGRAMS, *bounds, timeout=BULK_TIMEOUT)
        if not more:
            break
        programs += [row["who"] for row in more]
    return before, programs


async def read_items(connection: Connection) -> dict[str, int]:
    """The number of every item, removed ones too, ascending."""
    rows = await connection.fetch("SELECT number, id FROM items ORDER BY number", timeout=BULK_TIMEOUT)
    return {row["id"]: row["number"] for row in rows}


async def popular_items(
    connection: Connection, since: datetime, limit: int, *, timeout: float | None = None
) -> list[tuple[str, int, int]]:
    """The live items that most people bought and kept since then: (id, number, people), ties by id."""
    rows = await connection.fetch(_POPULAR, since, limit, timeout=timeout)
    return [(row["id"], row["number"], row["people"]) for row in rows]


def log_of(several: Sequence[Bought], items: dict[str, int], browsed: int = MOST_BROWSED) -> PurchaseLog:
    """The log of several sources together; of the events of BROWSING the newest, `browsed` at most."""
    columns = {name: np.concatenate([bought.columns[name] for bought in several]) for name, _ in _FIELDS}
    names = {person: name for bought in several for person, name in bought.names.items()}
    is_bought, is_known = columns["type"] == CODE[EventType.PURCHASE], columns["item"] > 0
    bought = _rows(columns, is_bought & is_known)
    people, dense = _dense_people(np.unique(bought["person"]), names)
    orders = np.unique(bought["order"])
    signals = _rows(columns, ~is_bought & is_known)
    signals = _rows(signals, _is_among(signals["person"], dense.hashes))
    signals = _rows(signals, _newest(signals, browsed))
    is_return = signals["type"] == CODE[EventType.RETURN]
    own_orders = signals["order"]
    for rows in (bought, signals):
        is_listed = _is_among(rows["order"], orders)
        rows["order"] = np.where(is_listed, np.searchsorted(orders, rows["order"]), -1)
        rows["person"] = dense.ranks[np.searchsorted(dense.hashes, rows["person"])].astype(np.int32)
        rows["occurred"] = rows["occurred"] // 1_000_000 + POSTGRES_EPOCH
    signals["order"] = np.where(is_return, signals["order"], own_orders)
    signals = _sorted(signals, ("cents", "quantity", "item", "order", "type", "occurred", "person"))
    log = _sorted(bought, ("cents", "quantity", "item", "order", "occurred", "person"))
    return PurchaseLog(
        people=people,
        **{name: log[name] for name in ("person", "item", "occurred", "quantity", "cents", "order")},
        item_numbers=np.array(list(items.values()), np.int32),
        item_ids=list(items),
        unknown=int((is_bought & ~is_known).sum()),
        signals=Signals(**signals),
    )


def _newest(signals: dict[str, NDArray[Any]], browsed: int) -> NDArray[np.bool_]:
    """Which signals are kept: of those of BROWSING the newest; of one second all or none."""
    browsing = np.isin(signals["type"], [CODE[type] for type in BROWSING])
    moments = signals["occurred"][browsing]
    if len(moments) <= browsed:
        return np.ones(len(browsing), np.bool_)
    limit = np.partition(moments, len(moments) - browsed - 1)[len(moments) - browsed - 1]
    kept: NDArray[np.bool_] = ~browsing | (signals["occurred"] > limit)
    return kept


def _rows(columns: dict[str, NDArray[Any]], kept: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    return {name: column[kept] for name, column in columns.items()}


def _sorted(columns: dict[str, NDArray[Any]], by: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The rows, sorted by the last column of `by` first."""
    order = np.lexsort([columns[name] for name in by])
    return {name: column[order] for name, column in columns.items()}


def _is_among(values: NDArray[np.int64], ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    found: NDArray[np.bool_] = ascending[np.minimum(ascending.searchsorted(values), len(ascending) - 1)] == values
    return found


class _Ranks(NamedTuple):
    hashes: NDArray[np.int64]  # (people,) ascending
    ranks: NDArray[np.int64]  # (people,) the index into the sorted names of each


def _dense_people(hashes: NDArray[np.int64], name_of: dict[int, str]) -> tuple[list[str], _Ranks]:
    """The sorted names of distinct people, and the index of each by hash."""
    names = [name_of[person] for person in hashes.tolist()]
    by_name = sorted(range(len(names)), key=names.__getitem__)
    ranks = np.empty(len(names), np.int64)
    ranks[by_name] = np.arange(len(names))
    return [names[position] for position in by_name], _Ranks(hashes, ranks)
