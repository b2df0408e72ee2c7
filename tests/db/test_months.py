"""Old months without events are dropped: a few at once, and none that somebody is about to fill."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from core.contract import Event, read_event
from db.events import ensure_months, insert_events
from db.lake.owner import sole_writer
from db.loads.records import begin_load
from db.months import KEPT, MOST_CHECKED, MOST_DROPPED, _drop, drop_empty_months, months_of_events
from db.postgres import Pool

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD = datetime(2001, 5, 3, tzinfo=UTC)


@pytest.fixture
async def months(pool: Pool) -> AsyncIterator[Pool]:
    """A pool on a database where only the newest months have a partition, before and after the test."""
    await drop_all(pool)
    yield pool
    await pool.execute("TRUNCATE events")
    await drop_all(pool)


async def drop_all(pool: Pool) -> None:
    for minute in range(30):
        while await drop_empty_months(pool, NOW.replace(minute=minute)):
            pass


async def old_months(pool: Pool) -> list[date]:
    return [month for month in await months_of_events(pool) if month < date(2020, 1, 1)]


def event(moment: datetime, id: str = "e1") -> Event:
    raw = {"type": "VIEW", "id": id, "userId": "u1", "itemId": "i1", "occurredAt": moment}
    return read_event(raw, source="shop", received_at=NOW)


async def test_an_old_month_is_dropped_when_its_last_event_is_gone_and_made_again_for_the_next(months: Pool) -> None:
    await insert_events(months, [event(OLD)])
    assert await drop_empty_months(months, NOW) == []
    await months.execute("DELETE FROM events")
    assert await drop_empty_months(months, NOW) == [date(2001, 5, 1)]
    assert await old_months(months) == []
    assert await insert_events(months, [event(OLD)]) == [True]


async def test_months_that_late_events_usually_need_stay(months: Pool) -> None:
    recent = [NOW - KEPT + timedelta(days=1), NOW, NOW + timedelta(days=40), NOW + timedelta(days=400)]
    await ensure_months(months, recent)
    before = await months_of_events(months)
    assert await drop_empty_months(months, NOW) == []
    assert await months_of_events(months) == before


async def test_one_run_drops_a_few_months_and_many_runs_drop_all(months: Pool) -> None:
    await ensure_months(
        months, [datetime(year, month, 1, tzinfo=UTC) for year in range(1995, 2001) for month in range(1, 13)]
    )
    await insert_events(months, [event(datetime(1997, 7, 9, tzinfo=UTC))])
    assert len(await drop_empty_months(months, NOW)) == MOST_DROPPED < MOST_CHECKED
    await drop_all(months)
    assert await old_months(months) == [date(1997, 7, 1)]


async def test_a_month_that_a_statement_is_writing_to_stays(months: Pool) -> None:
    await ensure_months(months, [OLD])
    async with months.acquire() as writer, writer.transaction():
        await writer.execute(
            "INSERT INTO events (source, id, occurred_at, type, user_id, digest) VALUES ('s', 'e', $1, 'VIEW', 'u', 1)",
            OLD,
        )
        assert await drop_empty_months(months, NOW) == []
    assert await drop_empty_months(months, NOW) == [], "it has an event now"
    assert await months.fetchval("SELECT count(*) FROM events") == 1


async def test_a_month_that_got_an_event_since_it_was_checked_stays(months: Pool) -> None:
    await insert_events(months, [event(OLD)])
    async with months.acquire() as connection:
        assert await _drop(connection, date(2001, 5, 1)) is False
    assert await months.fetchval("SELECT count(*) FROM events") == 1


async def test_nothing_is_dropped_while_a_file_is_loaded_or_the_lake_is_written(
    months: Pool, postgres_url: str
) -> None:
    await ensure_months(months, [OLD])
    loader = await asyncpg.connect(postgres_url)
    try:
        await begin_load(loader, "load", "file.csv", "events", None)
        assert await drop_empty_months(months, NOW) == []
    finally:
        await loader.close()
    async with sole_writer(months):
        assert await drop_empty_months(months, NOW) == []
    assert await drop_empty_months(months, NOW) == [date(2001, 5, 1)]


async def test_events_stored_while_their_empty_months_are_dropped_are_all_stored(months: Pool) -> None:
    moments = [datetime(1999, month, 2, tzinfo=UTC) for month in range(1, 7)]
    stored: list[bool] = []

    async def write(writer: int) -> None:
        for turn in range(10):
            batch = [event(moment, f"{writer}-{turn}-{at}") for at, moment in enumerate(moments)]
            stored.extend(await insert_events(months, batch))
            await months.execute("DELETE FROM events WHERE id = ANY($1::text[])", [each.id for each in batch])

    async def drop() -> None:
        while len(stored) < 2 * 10 * len(moments):
            await drop_empty_months(months, NOW)

    await asyncio.gather(write(1), write(2), drop())
    assert all(stored)


async def test_two_runs_at_once_drop_each_month_once(months: Pool) -> None:
    await ensure_months(months, [OLD])
    dropped: list[Any] = await asyncio.gather(*(drop_empty_months(months, NOW) for _ in range(4)))
    assert sum(map(len, dropped)) <= 1 and await drop_empty_months(months, NOW) in ([], [date(2001, 5, 1)])
    assert await old_months(months) == []
