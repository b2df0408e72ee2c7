"""A month leaves Postgres only when the lake has every event of it, and later events are added to it."""

import asyncio
from datetime import UTC, date, datetime

import pytest

from db.events import insert_events
from db.lake.days import MANIFEST, folder_of, read_contents
from db.lake.location import Lake
from db.lake.owner import sole_writer
from db.lake.retention import drop_exported_months
from db.postgres import Pool
from tests.db.lake.conftest import DAY, NOON, event, export, store
from tests.db.lake.test_export import content, rows
from tests.faults import eventually

LATER = datetime(2026, 6, 1, 12, tzinfo=UTC)  # January is more than 90 days ago, March is not
JANUARY = date(2026, 1, 1)


async def drop(pool: Pool, lake: Lake, keep: int = 90) -> list[date]:
    async with sole_writer(pool) as connection:
        gone = await drop_exported_months(connection, lake, keep, LATER)
    return [month for month in gone if month == JANUARY]  # other tests' months are empty


async def count(pool: Pool) -> int:
    found: int = await pool.fetchval("SELECT count(*) FROM events")
    return found


async def test_an_old_month_that_is_in_the_lake_is_dropped_and_a_newer_one_stays(pool: Pool, lake: Lake) -> None:
    await store(pool, event(1), event(2, NOON + DAY), event(3, datetime(2026, 3, 31, tzinfo=UTC)))
    await export(pool, lake, LATER)
    before = content(lake)
    assert await drop(pool, lake) == [JANUARY]
    assert await pool.fetchval("SELECT to_regclass('events_2026_01') IS NULL")
    assert [row["id"] for row in await pool.fetch("SELECT id FROM events")] == ["3"]
    assert await drop(pool, lake) == []
    assert (await export(pool, lake, LATER)).days == 0
    assert content(lake) == before


async def test_a_month_stays_when_one_event_is_not_in_the_lake(pool: Pool, lake: Lake) -> None:
    await store(pool, event(1), event(2, NOON + DAY))
    assert await drop(pool, lake) == []
    await export(pool, lake, LATER)
    await store(pool, event(3))
    assert await drop(pool, lake) == []
    await export(pool, lake, LATER)
    await pool.execute("UPDATE events SET digest = digest + 1 WHERE id = '2'")
    assert await drop(pool, lake) == []
    assert await count(pool) == 3
    await export(pool, lake, LATER)
    assert await drop(pool, lake) == [JANUARY]


@pytest.mark.parametrize("lost", ["a file", "a manifest", "the end of a file"])
async def test_a_month_stays_when_the_lake_lost_something(pool: Pool, lake: Lake, lost: str) -> None:
    await store(pool, event(1), event(2, NOON + DAY))
    await export(pool, lake, LATER)
    day = read_contents(lake).days[NOON.date()]
    name = MANIFEST if lost == "a manifest" else day.parts[0].name
    if lost == "the end of a file":
        lake.write(folder_of(day.day), name, content(lake)[f"{folder_of(day.day)}/{name}"][:-1])
    else:
        lake.remove([f"{folder_of(day.day)}/{name}"])
    assert await drop(pool, lake) == []
    assert await count(pool) == 2


async def test_late_events_of_a_dropped_month_are_added_to_its_files(pool: Pool, lake: Lake) -> None:
    await store(pool, event(1), event(2, NOON + DAY))
    await export(pool, lake, LATER)
    assert await drop(pool, lake) == [JANUARY]
    kept = content(lake)
    await store(pool, event(4), event(1))  # the second one is in the lake already; Postgres no longer has it
    assert (await export(pool, lake, LATER)).days == 1
    assert [row["id"] for row in rows(lake)] == ["1", "4"]
    assert {name: data for name, data in content(lake).items() if name in kept and not name.endswith(MANIFEST)} == {
        name: data for name, data in kept.items() if not name.endswith(MANIFEST)
    }
    assert (await export(pool, lake, LATER)).days == 0
    await store(pool, event(5))
    await export(pool, lake, LATER)
    assert [row["id"] for row in rows(lake)] == ["1", "4", "5"]
    assert await drop(pool, lake) == [JANUARY]
    await store(pool, event(6))
    await export(pool, lake, LATER)
    assert [row["id"] for row in rows(lake)] == ["1", "4", "5", "6"]
    assert [part.layer for part in read_contents(lake).days[NOON.date()].parts] == [0, 1, 2]


async def test_a_month_stays_while_an_event_of_it_is_being_written(pool: Pool, lake: Lake) -> None:
    await store(pool, event(1))
    await export(pool, lake, LATER)
    async with pool.acquire() as writer, writer.transaction():
        await insert_events(writer, [event(2)])
        assert await drop(pool, lake) == []  # the month is locked
    assert await drop(pool, lake) == []  # the lake does not have it
    assert await count(pool) == 2


async def test_a_writer_goes_first_while_a_month_is_checked(pool: Pool, lake: Lake) -> None:
    await store(pool, event(1), event(4, NOON + 60 * DAY))
    await export(pool, lake, LATER)

    async def checked() -> bool:
        waits = "SELECT true FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        return bool(await pool.fetchval(waits))

    async with pool.acquire() as writer, writer.transaction():
        await insert_events(writer, [event(2, NOON + 60 * DAY)])  # the whole table cannot be locked while this lasts
        dropping = asyncio.create_task(drop(pool, lake))
        await eventually(checked)
        assert await insert_events(writer, [event(3)]) == [True]  # waits for the month until the drop gives up
    assert await dropping == []
    assert await count(pool) == 4


async def test_an_event_stored_while_its_month_is_dropped_is_not_lost(pool: Pool, lake: Lake) -> None:
    await store(pool, event(1))
    await export(pool, lake, LATER)
    gone, stored = await asyncio.gather(drop(pool, lake), insert_events(pool, [event(2)]))
    assert stored == [True]
    assert await count(pool) == (1 if gone else 2)
    await export(pool, lake, LATER)
    assert [row["id"] for row in rows(lake)] == ["1", "2"]


async def test_a_month_stays_while_a_slow_reader_uses_it(pool: Pool, lake: Lake) -> None:
    await store(pool, event(1))
    await export(pool, lake, LATER)
    async with pool.acquire() as reader, reader.transaction():
        await reader.fetch("SELECT FROM events LIMIT 1")
        assert await drop(pool, lake) == []
    assert await drop(pool, lake) == [JANUARY]
