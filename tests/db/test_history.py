"""History from files is stored whole, also while retention drops the months that it belongs to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from db.history import COLUMNS, CopyResult, HistoryCopier
from db.postgres import Contended, Pool

MONTHS = [datetime(1998, month, 1, tzinfo=UTC) for month in range(1, 5)]


@pytest.fixture
async def connection(pool: Pool) -> AsyncIterator[Any]:
    async with pool.acquire() as opened:
        yield opened


def rows(batch: str) -> bytes:
    """An event in each month, as CSV."""
    given = {"source": "load", "type": "VIEW", "user_id": "u", "item_id": "i", "digest": "1"}
    events = ({**given, "id": f"{batch}-{month:%m}", "occurred_at": f"{month:%F}T12:00:00Z"} for month in MONTHS)
    return "".join(",".join(event.get(name, "") for name in COLUMNS) + "\n" for event in events).encode()


async def drop(pool: Pool, month: datetime) -> None:
    """As retention drops a month that the lake has, if nobody uses it: it gives up before a deadlock is noticed."""
    partition = f"events_{month:%Y_%m}"
    with suppress(Contended):
        await drop_partition(pool, partition)


async def drop_partition(pool: Pool, partition: str) -> None:
    async with pool.acquire() as other, other.transaction():
        await other.execute("SET LOCAL lock_timeout TO '300ms'")
        await other.execute(f"LOCK TABLE {partition} IN SHARE MODE")
        await other.execute(f"ALTER TABLE events DETACH PARTITION {partition}")
        await other.execute(f"DROP TABLE {partition}")


async def ids(pool: Pool) -> list[str]:
    return [row["id"] for row in await pool.fetch("SELECT id FROM events ORDER BY id")]


@pytest.mark.parametrize("known", [False, True], ids=["straight", "beside known events"])
async def test_a_month_that_was_dropped_since_it_was_made_is_made_again(
    pool: Pool, connection: Any, known: bool
) -> None:
    history, saved = HistoryCopier(connection), list[CopyResult]()

    async def save(copied: CopyResult) -> None:
        saved.append(copied)

    await history.store(rows("first"), MONTHS, save)
    await drop(pool, MONTHS[1])
    await history.store(rows("first" if known else "second"), MONTHS, save)
    if known:
        assert (saved[1].stored, saved[1].duplicate) == (1, 3)
        assert await ids(pool) == ["first-01", "first-02", "first-03", "first-04"]
    else:
        assert saved[1].stored == 4
        assert [id for id in await ids(pool) if id.startswith("second")] == [f"second-{month:%m}" for month in MONTHS]


async def test_a_batch_is_saved_once_and_whole_while_its_months_are_dropped_all_the_time(
    pool: Pool, connection: Any
) -> None:
    history, saved = HistoryCopier(connection), list[int]()
    ended = asyncio.Event()

    async def drop_all() -> None:
        while not ended.is_set():
            for month in MONTHS:
                if await pool.fetchval("SELECT to_regclass($1)::text", f"events_{month:%Y_%m}"):
                    await drop(pool, month)

    async def load() -> None:
        async def save(copied: CopyResult) -> None:
            saved.append(copied.stored)

        try:
            for turn in range(30):
                await history.store(rows(str(turn)), MONTHS, save)
        finally:
            ended.set()

    await asyncio.gather(drop_all(), load())
    assert saved == [4] * 30


async def test_the_outcome_is_not_saved_when_the_batch_cannot_be_stored(pool: Pool, connection: Any) -> None:
    history = HistoryCopier(connection)

    async def fail(_: CopyResult) -> None:
        raise ValueError("disk")

    with pytest.raises(ValueError, match="disk"):
        await history.store(rows("first"), MONTHS, fail)
    assert await ids(pool) == []
