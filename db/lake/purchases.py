"""Purchases and signals from the lake, by DuckDB: the same columns as from Postgres, to the last bit."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from glob import escape
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from core.contract import BROWSING, OPINIONS, EventType, microseconds
from core.errors import InvalidInput, StoreUnavailable
from db.lake.day_contents import DAY, midnight
from db.lake.days import paths_of, read_contents
from db.lake.hashing import hash_integers, hash_texts
from db.lake.location import Lake
from db.postgres import Pool
from db.purchases import (
    BROWSED,
    BULK_TIMEOUT,
    CODE,
    EARLIEST,
    LISTED,
    MOST_BROWSED,
    MOST_OF_PERSON,
    POSTGRES_EPOCH,
    ROUNDS,
    TYPE_CODE,
    WHO,
    Bought,
    PurchaseLog,
    log_of,
    read_bought,
    read_items,
)

_ATTEMPTS: Final = 3
_USER, _GUEST = 0, 1  # seeds, as db/purchases.py hashes people
_OFFLINE: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
_BROWSING: Final = f"""
    FROM read_parquet($files) WHERE type IN ({BROWSED}) AND item_id IS NOT NULL
        AND epoch_us(occurred_at) >= $since AND epoch_us(occurred_at) < $until
        AND NOT list_contains($programs::VARCHAR[], {WHO})
"""
_BROWSED_SINCE: Final = f"SELECT epoch_us(occurred_at) {_BROWSING} ORDER BY 1 DESC LIMIT 1 OFFSET $most"
_PROGRAMS: Final = f"""
    SELECT {WHO} AS who {_BROWSING} AND epoch_us(occurred_at) > $browsed_since GROUP BY 1 HAVING count(*) > $of_person
"""
_BOUGHT: Final = f"""
    SELECT coalesce(merged.into_id, events.user_id, joined.user_id) AS user_id, anonymous_id, item_id, order_id,
        session_id,
        epoch_us(occurred_at) AS occurred, coalesce(quantity, 1)::INTEGER AS quantity,
        (((CASE WHEN type = 'RATING' THEN coalesce(CAST(value * 10000 AS HUGEINT), 0)
                ELSE coalesce(CAST(unit_price * 10000 AS HUGEINT) * coalesce(quantity, 1),
                              CAST(value * 10000 AS HUGEINT), 0) END)
            + 50) // 100)::BIGINT AS cents,
        ({TYPE_CODE})::INTEGER AS type
    FROM read_parquet($files) AS events LEFT JOIN joined USING (anonymous_id)
        LEFT JOIN merged ON merged.user_id = events.user_id
    WHERE type IN ({LISTED}) AND item_id IS NOT NULL
        AND epoch_us(occurred_at) >= $since AND epoch_us(occurred_at) < $until
        AND (type NOT IN ({BROWSED}) OR epoch_us(occurred_at) > $browsed_since
            AND NOT list_contains($programs::VARCHAR[],
                coalesce('u' || events.user_id, 'g' || events.anonymous_id)))
"""
_NOTHING: Final = pa.schema(
    {
        **dict.fromkeys(("user_id", "anonymous_id", "item_id", "order_id", "session_id"), pa.string()),
        "occurred": pa.int64(),
        "quantity": pa.int32(),
        "cents": pa.int64(),
        "type": pa.int32(),
    }
).empty_table()
NOBODY: Final[Mapping[str, str]] = MappingProxyType({})


async def purchase_log_with_lake(
    pool: Pool,
    lake: Lake,
    until: datetime,
    since: datetime | None = None,
    joined: Mapping[str, str] = NOBODY,
    merged: Mapping[str, str] = NOBODY,
) -> PurchaseLog:
    """The purchases from `since` on and before `until`: days of the lake from there, all others from Postgres.

    `joined` gives the user of a guest by anonymous id, `merged` the user of an old user id: files keep the state of
    their export, Postgres is up to date.
    Raises InvalidInput without DuckDB, StoreUnavailable when the lake cannot be read.
    """
    since = since or EARLIEST
    async with pool.acquire(timeout=BULK_TIMEOUT) as connection, connection.transaction(isolation="repeatable_read"):
        await connection.execute("LOCK TABLE events IN ACCESS SHARE MODE")  # so that no month is dropped meanwhile
        contents = await asyncio.to_thread(read_contents, lake)
        days = [day for day in contents.days if since - DAY < midnight(day) < until]
        bought = [await read_bought(connection, end, start, MOST_BROWSED) for start, end in gaps(days, since, until)]
        items = await read_items(connection)
    if days:
        bought.append(await asyncio.to_thread(_bought, lake, days, since, until, items, joined, merged))
    return log_of(bought, items)


def gaps(days: Sequence[date], since: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
    """The spans between `since` and `until` that none of these days, in order, covers; one at least, if an empty one.

    >>> from datetime import UTC
    >>> first, last = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 5, tzinfo=UTC)
    >>> [f"{start:%d}-{end:%d}" for start, end in gaps([date(2026, 1, 1), date(2026, 1, 3)], first, last)]
    ['02-03', '04-05']
    """
    starts = [since, *(midnight(day) + DAY for day in days)]
    ends = [*(midnight(day) for day in days), until]
    found = [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]
    return found or [(until, until)]


def _bought(
    lake: Lake,
    days: Sequence[date],
    since: datetime,
    until: datetime,
    items: Mapping[str, int],
    joined: Mapping[str, str],
    merged: Mapping[str, str],
) -> Bought:
    """The lines of these days. Tried again when an export replaces files meanwhile."""
    for left in reversed(range(_ATTEMPTS)):
        try:
            contents = read_contents(lake)
            paths = paths_of(lake, [contents.days[day] for day in days if day in contents.days])
            lines = _lines(lake, paths, microseconds(since), microseconds(until), joined, merged)
            break
        except StoreUnavailable:
            if not left:
                raise
    person, names = _people(lines)
    occurred = lines["occurred"].to_numpy() - POSTGRES_EPOCH * 1_000_000
    columns = {
        "person": person,
        "item": _numbers(lines["item_id"], items),
        "occurred": occurred,
        "quantity": lines["quantity"].to_numpy(),
        "cents": lines["cents"].to_numpy(),
        "order": _orders(lines, person, lines["occurred"].to_numpy()),
        "type": lines["type"].to_numpy(),
    }
    return Bought(columns, names)


def _lines(
    lake: Lake, paths: Sequence[str], since: int, until: int, joined: Mapping[str, str], merged: Mapping[str, str]
) -> pa.Table:
    try:
        import duckdb
    except ImportError:
        raise InvalidInput("Training from the lake needs the package duckdb (penchant[lake]).") from None
    if not paths:
        return _NOTHING
    with lake.translated(), duckdb.connect(config=_OFFLINE) as engine:
        if not isinstance(lake.files, LocalFileSystem):
            engine.register_filesystem(lake.files)  # DuckDB's own client would download an extension
            paths = [escape(lake.files.unstrip_protocol(path)) for path in paths]  # DuckDB reads paths as patterns
        engine.register("joined", _pairs("anonymous_id", "user_id", joined))
        engine.register("merged", _pairs("user_id", "into_id", merged))
        given: dict[str, object] = {"files": list(paths), "since": since, "until": until}
        given |= _browsed_since(engine, given)
        return engine.sql(_BOUGHT, params=given).to_arrow_table().combine_chunks()


def _browsed_since(engine: Any, given: Mapping[str, object]) -> dict[str, object]:
    """As `db.purchases` has it."""
    programs, since = list[str](), -(2**62)
    for _ in range(ROUNDS):
        asked = {**given, "programs": programs}
        row = engine.execute(_BROWSED_SINCE, {**asked, "most": MOST_BROWSED}).fetchone()
        since = row[0] if row else -(2**62)
        bounds = {"browsed_since": since, "of_person": MOST_OF_PERSON}
        more = engine.execute(_PROGRAMS, asked | bounds).fetchall() if row else []
        if not more:
            break
        programs = [*programs, *(who for (who,) in more)]
    return {"browsed_since": since, "programs": programs}


def _pairs(key: str, value: str, pairs: Mapping[str, str]) -> pa.Table:
    return pa.table({key: pa.array(list(pairs), pa.string()), value: pa.array(list(pairs.values()), pa.string())})


def _people(lines: pa.Table) -> tuple[NDArray[np.int64], dict[int, str]]:
    """The hash of the person of each line, and the names by hash."""
    users, guests = lines["user_id"].combine_chunks(), lines["anonymous_id"].combine_chunks()
    signed = users.is_valid().to_numpy(zero_copy_only=False)
    person = np.empty(len(lines), np.int64)
    names: dict[int, str] = {}
    for texts, whose, kind, seed in ((users, signed, "user", _USER), (guests, ~signed, "guest", _GUEST)):
        coded = texts.filter(pa.array(whose)).dictionary_encode()
        hashes = hash_texts(coded.dictionary, np.full(len(coded.dictionary), seed, np.int64))
        person[whose] = hashes[coded.indices.to_numpy()]
        names.update(zip(hashes.tolist(), (f"{kind}:{id}" for id in coded.dictionary.to_pylist()), strict=True))
    return person, names


def _numbers(item_ids: Any, items: Mapping[str, int]) -> NDArray[np.int32]:
    coded = item_ids.combine_chunks().dictionary_encode()
    numbers = np.array([items.get(id, 0) for id in coded.dictionary.to_pylist()], np.int32)
    found: NDArray[np.int32] = numbers[coded.indices.to_numpy()]
    return found


def _orders(lines: pa.Table, person: NDArray[np.int64], occurred: NDArray[np.int64]) -> NDArray[np.int64]:
    """What `order` is of each line: the hash of its order's id, or of its second; of opinions microseconds.

    Of views and the like it is the hash of the session.
    """
    ids = lines["order_id"].combine_chunks()
    named = ids.is_valid().to_numpy(zero_copy_only=False)
    type = lines["type"].to_numpy()
    orders = np.where(type == CODE[EventType.PURCHASE], hash_integers(occurred // 1_000_000, person), 0)
    orders[named] = hash_texts(ids.filter(pa.array(named)), person[named])
    sessions = lines["session_id"].combine_chunks()
    browsing = np.isin(type, [CODE[each] for each in BROWSING])
    orders[browsing] = 0
    known = browsing & sessions.is_valid().to_numpy(zero_copy_only=False)
    orders[known] = hash_texts(sessions.filter(pa.array(known)), person[known])
    said = np.isin(type, [CODE[opinion] for opinion in OPINIONS])
    orders[said] = occurred[said] % 1_000_000
    return orders
