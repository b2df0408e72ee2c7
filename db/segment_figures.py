"""The figures of users that segments are about, and which users conditions hold for."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from db.locks import AdvisoryLock, lock_transaction
from db.postgres import Connection, transaction
from db.segment_conditions import Definition, Query
from db.tombstones import ERASED_WHEN, HASH_OF_MEMBER, newest_tombstone

AT_ONCE: Final = 10_000  # users of one statement
WRITE_TIMEOUT: Final = 300.0  # seconds, of one statement
FIND_TIMEOUT: Final = 300.0  # seconds to find the members of a segment


_REPLACE: Final = (
    "DELETE FROM segment_figures AS old"
    " WHERE NOT EXISTS (SELECT FROM new_figures AS new WHERE new.user_id = old.user_id)",
    "INSERT INTO segment_figures (user_id, last_order, orders, cents, rfm, quiet)"
    " SELECT user_id, last_order, orders, cents, rfm, quiet FROM new_figures AS new WHERE NOT EXISTS ("
    "    SELECT FROM segment_figures AS old WHERE old.user_id = new.user_id"
    "    AND (old.last_order, old.orders, old.cents, old.rfm, old.quiet)"
    "        IS NOT DISTINCT FROM (new.last_order, new.orders, new.cents, new.rfm, new.quiet)"
    ") ON CONFLICT (user_id) DO UPDATE SET last_order = EXCLUDED.last_order, orders = EXCLUDED.orders,"
    " cents = EXCLUDED.cents, rfm = EXCLUDED.rfm, quiet = EXCLUDED.quiet",
)


class Figures(NamedTuple):
    """What a user ever bought. `quiet` are logarithms: see the migration."""

    user_id: str
    last_order: datetime
    orders: int
    cents: int
    rfm: str
    quiet: Sequence[float] | None


class FiguresMade(NamedTuple):
    """When the figures were found, and whether they have forecasts."""

    as_of: datetime
    forecast: bool


async def write_figures(
    connection: Connection, figures: Sequence[Figures], made: FiguresMade, erased_since: datetime
) -> None:
    """Put these figures in the place of all others, but for users who were erased since a moment.

    They are collected in a table of this transaction, so that erasures wait only while those that differ are written.
    """
    async with transaction(connection) as inside:
        await lock_transaction(inside, AdvisoryLock.FIGURES)
        await inside.execute("CREATE TEMPORARY TABLE new_figures (LIKE segment_figures) ON COMMIT DROP")
        for start in range(0, len(figures), AT_ONCE):
            *columns, quiet = zip(*figures[start : start + AT_ONCE], strict=True)
            await inside.execute(
                "INSERT INTO new_figures (user_id, last_order, orders, cents, rfm, quiet)"
                " SELECT user_id, last_order, orders, cents, rfm, quiet::real[] FROM unnest($1::text[],"
                " $2::timestamptz[], $3::integer[], $4::bigint[], $5::text[], $6::text[])"
                " AS given (user_id, last_order, orders, cents, rfm, quiet)",
                *columns,
                [None if each is None else f"{{{','.join(map(repr, each))}}}" for each in quiet],
                timeout=WRITE_TIMEOUT,
            )
        await inside.execute("CREATE UNIQUE INDEX ON new_figures (user_id)", timeout=WRITE_TIMEOUT)
        await inside.execute(
            "INSERT INTO segment_figures_made (as_of, forecast) VALUES ($1, $2) ON CONFLICT (single)"
            " DO UPDATE SET as_of = EXCLUDED.as_of, forecast = EXCLUDED.forecast",
            *made,
        )
        await lock_transaction(inside, AdvisoryLock.MEMBERS)  # erasures wait from here on until this is committed
        newest = await newest_tombstone(inside)
        if newest is not None and newest >= erased_since:
            await inside.execute(
                f"DELETE FROM new_figures WHERE {ERASED_WHEN.format(hash=HASH_OF_MEMBER)} >= $1",
                erased_since,
                timeout=WRITE_TIMEOUT,
            )
        for statement in _REPLACE:
            await inside.execute(statement, timeout=WRITE_TIMEOUT)


async def figures_made(connection: Connection) -> FiguresMade | None:
    """When the figures were found; None before the first time."""
    row = await connection.fetchrow("SELECT as_of, forecast FROM segment_figures_made")
    return row and FiguresMade(*row)


async def users_where(connection: Connection, where: Definition, now: datetime) -> list[str]:
    """The ids of the users for whom the conditions hold, in order."""
    query = Query(now)
    rows = await connection.fetch(f"{query.text(where)} ORDER BY 1", *query.args, timeout=FIND_TIMEOUT)
    return [row["user_id"] for row in rows]


async def count_where(connection: Connection, where: Definition, now: datetime, timeout: float) -> int:
    """How many users the conditions hold for. Raises StoreUnavailable, with the statement ended, after `timeout`."""
    query = Query(now)
    found: Any = await connection.fetchval(
        f"SELECT count(*) FROM ({query.text(where)}) AS found", *query.args, timeout=timeout
    )
    return int(found)
