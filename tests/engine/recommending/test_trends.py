"""Trends are counted in few windows, one at a time, and kept; nobody's statement outlives its callers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from core import clock
from core.contract import read_event
from core.errors import InvalidInput, RateLimited, StoreUnavailable
from db import purchases
from db.events import insert_events
from db.items import upsert_items
from db.postgres import Pool
from db.shares import Shares, share_out
from engine.recommending import trends as module
from engine.recommending.trends import WINDOWS, Trends
from tests.faults import eventually

DAY = timedelta(days=1)
WEEK = 7 * DAY


@pytest.fixture
async def shares(pool: Pool) -> Shares:
    await upsert_items(pool, [{"id": id, "updated_at": clock.now()} for id in ("milk", "soap", "vase")])
    return share_out(pool, 600)


@pytest.fixture
async def trends(shares: Shares) -> AsyncIterator[Trends]:
    opened = Trends(shares.expensive, timedelta(days=28), empty_age=3600)
    yield opened
    await opened.close()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[timedelta]:
    """The windows that Postgres was asked to count, rounded to hours."""
    calls: list[timedelta] = []

    async def popular_items(connection: object, since: object, *rest: object, **named: object) -> object:
        hour = timedelta(hours=1)
        calls.append(round((clock.now() - since) / hour) * hour)  # type: ignore[operator]
        return await purchases.popular_items(connection, since, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "popular_items", popular_items)
    return calls


async def bought(pool: Pool, *lines: tuple[str, str, timedelta]) -> None:
    now = clock.now()
    raws = [
        {"type": "PURCHASE", "userId": who, "itemId": item, "id": f"{who}-{item}", "occurredAt": str(now - ago)}
        for who, item, ago in lines
    ]
    await insert_events(pool, [read_event(raw, source="till", received_at=now) for raw in raws])


@asynccontextmanager
async def counting_waits(pool: Pool) -> AsyncIterator[None]:
    """Every count waits for a lock until the block ends."""
    async with pool.acquire() as held, held.transaction():
        await held.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        yield


async def until_counting(pool: Pool, count: int) -> None:
    async def holds() -> bool:
        found = await pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%count(DISTINCT%'"
            " AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        return bool(found == count)

    await eventually(holds)


@pytest.mark.parametrize(
    ("wanted", "counted"),
    [
        (timedelta(hours=1), timedelta(hours=1)),
        (timedelta(hours=1, seconds=1), timedelta(hours=6)),
        (timedelta(hours=7), DAY),
        (WEEK, WEEK),
        (WEEK + timedelta(minutes=5), 14 * DAY),
        (28 * DAY, 28 * DAY),
        (29 * DAY, 30 * DAY),
        (181 * DAY, 365 * DAY),
        (365 * DAY, 365 * DAY),
    ],
)
async def test_a_window_is_rounded_up_to_one_of_a_few(trends: Trends, wanted: timedelta, counted: timedelta) -> None:
    assert trends.window_for(wanted) == counted


@pytest.mark.parametrize("wanted", [timedelta(0), timedelta(minutes=59), timedelta(days=365, seconds=1)])
async def test_a_window_out_of_bounds_is_refused(trends: Trends, wanted: timedelta) -> None:
    with pytest.raises(InvalidInput):
        trends.window_for(wanted)


async def test_however_many_ask_a_window_is_counted_once(
    trends: Trends, shares: Shares, pool: Pool, counted: list[timedelta]
) -> None:
    await bought(pool, ("a", "soap", DAY), ("c", "vase", 40 * DAY), ("d", "vase", 41 * DAY))
    window = 90 * DAY
    callers = [shares.expensive.of(number % 3) for number in range(12)]
    found = await asyncio.gather(*(trends.popular(window, caller) for caller in callers))
    assert all(one is found[0] for one in found)
    assert found[0].people.tolist() == [2, 1]
    assert await trends.popular(window, callers[0]) is found[0]
    assert counted == [window]


async def test_all_windows_are_counted_one_after_the_other_and_kept(
    trends: Trends, shares: Shares, pool: Pool, counted: list[timedelta]
) -> None:
    await bought(pool, ("a", "soap", timedelta(minutes=1)))
    windows = [trends.window_for(timedelta(days=days)) for days in range(1, 366)]
    async with counting_waits(pool):
        callers = [asyncio.create_task(trends.popular(window, shares.people)) for window in windows]
        await until_counting(pool, 1)
        assert len(counted) == 1
    await asyncio.gather(*callers)
    assert sorted(counted) == sorted(set(windows)) == [*WINDOWS[2:6], 28 * DAY, *WINDOWS[6:]]
    for window in windows:
        await trends.popular(window, shares.people)
    assert len(counted) == len(set(windows))


async def test_the_count_of_a_caller_who_leaves_ends_in_postgres(trends: Trends, shares: Shares, pool: Pool) -> None:
    caller = shares.expensive.of("one")
    async with counting_waits(pool):
        leaves = [asyncio.create_task(trends.popular(WEEK, caller)) for _ in range(3)]
        await until_counting(pool, 1)
        leaves[0].cancel()
        stays = asyncio.create_task(trends.popular(WEEK, shares.expensive.of("another")))
        await asyncio.wait([leaves[0]])
        for task in leaves:
            task.cancel()
        await asyncio.wait(leaves)
        await until_counting(pool, 1)  # another caller wants it still
        stays.cancel()
        await asyncio.wait([stays])
        await until_counting(pool, 0)
        again = asyncio.create_task(trends.popular(WEEK, caller))
        await until_counting(pool, 1)
    assert (await again).numbers.tolist() == []


async def test_an_old_count_answers_while_the_next_one_runs(
    trends: Trends, shares: Shares, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = shares.expensive.of("one")
    await bought(pool, ("a", "soap", DAY))
    monkeypatch.setattr(module, "REST", 0)
    monkeypatch.setattr(module, "LEAST_AGE", 30.0)
    first = await trends.popular(WEEK, caller)
    now = asyncio.get_running_loop().time()
    monkeypatch.setattr(module, "_now", lambda: now + 31)
    async with counting_waits(pool):
        assert await trends.popular(WEEK, caller) is first
        await until_counting(pool, 1)
        monkeypatch.setattr(module, "_now", lambda: now + 61)
        waits = asyncio.create_task(trends.popular(WEEK, caller))
        await until_counting(pool, 1)
        assert not waits.done()
    assert await waits is not first


async def test_after_a_failure_nothing_is_counted_for_a_growing_time(
    trends: Trends, shares: Shares, pool: Pool, counted: list[timedelta], monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, now = shares.expensive.of("one"), asyncio.get_running_loop().time()
    moment = now
    monkeypatch.setattr(module, "_now", lambda: moment)
    await pool.execute("ALTER TABLE events RENAME TO hidden")
    try:
        for _ in range(200):
            with pytest.raises(StoreUnavailable):
                await trends.popular(WEEK, caller)
            moment += 1
    finally:
        await pool.execute("ALTER TABLE hidden RENAME TO events")
    assert len(counted) == 9  # after 0, 1, 3, 7, 15, 31, 63, 123 and 183 seconds
    moment += 60
    assert (await trends.popular(WEEK, caller)).numbers.tolist() == []


async def test_a_caller_waits_for_few_windows_and_other_callers_wait_beside_it(
    trends: Trends, shares: Shares, pool: Pool
) -> None:
    impatient = share_out(pool, 0.01)
    greedy, other = impatient.expensive.of("greedy"), shares.expensive.of("other")
    async with counting_waits(pool):
        asked = [asyncio.create_task(trends.popular(window, greedy)) for window in WINDOWS for _ in range(3)]
        waits = asyncio.create_task(trends.popular(WINDOWS[-1], other))
        await until_counting(pool, 1)

        async def refused() -> bool:
            return sum(task.done() for task in asked) == 3 * (len(WINDOWS) - 2)

        await eventually(refused)
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in found].count(RateLimited) == 3 * (len(WINDOWS) - 2)
    assert (await waits).numbers.tolist() == []
