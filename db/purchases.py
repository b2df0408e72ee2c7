"""Purchases in bulk: NumPy columns for training, and the most bought items."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
)
_ROW = np.dtype(
    [("fields", ">i2"), *((name + part, kind) for name, of in _FIELDS for part, kind in (("_size", ">i4"), ("", of)))]
)

_PERSON = "CASE WHEN user_id IS NULL THEN hashtextextended(anonymous_id, 1) ELSE hashtextextended(user_id, 0) END"
_BOUGHT = "FROM events WHERE type = 'PURCHASE' AND item_id IS NOT NULL AND occurred_at < $1 AND occurred_at >= $2"
_ROWS = f"""
    WITH bought AS (SELECT *, {_PERSON} AS person {_BOUGHT})
    SELECT person, coalesce(number, 0), occurred_at, coalesce(quantity, 1),
        round(coalesce(unit_price * coalesce(quantity, 1), value, 0) * 100)::bigint,
        CASE WHEN order_id IS NULL THEN hashint8extended((date_part('epoch', occurred_at) * 1000000)::bigint, person)
             ELSE hashtextextended(order_id, person) END
    FROM bought LEFT JOIN items ON items.id = item_id
"""
_PEOPLE = f"""
    SELECT DISTINCT {_PERSON} AS person,
        CASE WHEN user_id IS NULL THEN 'guest:' || anonymous_id ELSE 'user:' || user_id END AS name
    {_BOUGHT}
"""
_POPULAR = """
    SELECT items.id, number, people
    FROM (
        SELECT item_id, count(DISTINCT coalesce('u' || user_id, 'g' || anonymous_id)) AS people
        FROM events WHERE type = 'PURCHASE' AND occurred_at >= $1 GROUP BY item_id
    ) AS bought JOIN items ON items.id = item_id AND removed_at IS NULL
    ORDER BY people DESC, items.id LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class PurchaseLog:
    """Every line bought in a span of time, sorted by person, time, order and item.

    All arrays but the last two are as long as there are lines.
    """

    people: list[str]  # "user:ID" or "guest:ID", sorted
    person: NDArray[np.int32]  # index into people
    item: NDArray[np.int32]  # item number
    occurred: NDArray[np.int64]  # Unix seconds
    quantity: NDArray[np.int32]
    cents: NDArray[np.int64]  # of the whole line
    order: NDArray[np.int64]  # dense; lines without an order id that share person and time are one order
    item_numbers: NDArray[np.int32]  # the catalogue, removed items too, ascending
    item_ids: list[str]  # beside item_numbers
    unknown: int  # lines left out because their item is not in the catalogue


class Bought(NamedTuple):
    """Lines in no particular order, as columns by the names of `_FIELDS`, and their people's names by hash."""

    columns: dict[str, NDArray[Any]]
    names: dict[int, str]


async def purchase_log(pool: Pool, until: datetime, since: datetime | None = None) -> PurchaseLog:
    """The purchases from `since` on and before `until`, from one snapshot."""
    async with pool.acquire(timeout=BULK_TIMEOUT) as connection, connection.transaction(isolation="repeatable_read"):
        bought = await read_bought(connection, until, since or EARLIEST)
        items = await read_items(connection)
    return log_of([bought], items)


async def read_bought(connection: Any, until: datetime, since: datetime) -> Bought:
    """The lines from `since` on and before `until`, with the numbers of their items, 0 for unknown ones."""
    received = bytearray()

    async def collect(part: bytes) -> None:
        received.extend(part)

    await connection.copy_from_query(_ROWS, until, since, output=collect, format="binary", timeout=BULK_TIMEOUT)
    people = await connection.fetch(_PEOPLE, until, since, timeout=BULK_TIMEOUT)
    count = (len(received) - _COPY_HEADER - _COPY_TRAILER) // _ROW.itemsize
    rows = np.frombuffer(received, _ROW, offset=_COPY_HEADER, count=count)
    columns = {name: rows[name].astype(kind[1:]) for name, kind in _FIELDS}
    return Bought(columns, {row["person"]: row["name"] for row in people})


async def read_items(connection: Connection) -> dict[str, int]:
    """The number of every item, removed ones too, ascending."""
    rows = await connection.fetch("SELECT number, id FROM items ORDER BY number", timeout=BULK_TIMEOUT)
    return {row["id"]: row["number"] for row in rows}


async def popular_items(
    connection: Connection, since: datetime, limit: int, *, timeout: float | None = None
) -> list[tuple[str, int, int]]:
    """The live items that most people bought since then: (id, number, people), ties by id."""
    rows = await connection.fetch(_POPULAR, since, limit, timeout=timeout)
    return [(row["id"], row["number"], row["people"]) for row in rows]


def log_of(several: Sequence[Bought], items: dict[str, int]) -> PurchaseLog:
    """The log of several sources together."""
    columns = {name: np.concatenate([bought.columns[name] for bought in several]) for name, _ in _FIELDS}
    names = {person: name for bought in several for person, name in bought.names.items()}
    known = columns["item"] > 0
    unknown = int(len(known) - known.sum())
    columns = {name: column[known] for name, column in columns.items()}
    columns["person"], people = _dense_people(columns["person"], names)
    columns["order"] = np.unique(columns["order"], return_inverse=True)[1]
    ordered = np.lexsort([columns[name] for name in ("cents", "quantity", "item", "order", "occurred", "person")])
    columns = {name: column[ordered] for name, column in columns.items()}
    return PurchaseLog(
        people=people,
        person=columns["person"].astype(np.int32),
        item=columns["item"],
        occurred=columns["occurred"] // 1_000_000 + POSTGRES_EPOCH,
        quantity=columns["quantity"],
        cents=columns["cents"],
        order=columns["order"],
        item_numbers=np.array(list(items.values()), np.int32),
        item_ids=list(items),
        unknown=unknown,
    )


def _dense_people(hashes: NDArray[np.int64], name_of: dict[int, str]) -> tuple[NDArray[np.int64], list[str]]:
    """The hashes as indices into the sorted names of the people who occur."""
    distinct, inverse = np.unique(hashes, return_inverse=True)
    names = [name_of[person] for person in distinct.tolist()]
    by_name = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), np.int64)
    rank[by_name] = np.arange(len(names))
    return rank[inverse], [names[position] for position in by_name]
