"""The shares of a pool: none takes the connections of another, and a caller who leaves takes its statement along."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from core.errors import RateLimited, StoreUnavailable
from db.postgres import Connection, Pool, connect_pool, transaction
from db.shares import CALLER_WAITING, EXPENSIVE_WAITING, Share, ShareFull, Shares, share_out
from tests.faults import Relay, eventually

SLEEP = "SELECT pg_sleep(60)"
SIZES = range(1, 21)


async def sleeping(pool: Pool) -> int:
    """How many statements of `SLEEP` run in Postgres."""
    found: int = await pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = $1"
        " AND datname = current_database() AND pid <> pg_backend_pid()",
        SLEEP,
    )
    return found


async def until_sleeping(pool: Pool, count: int) -> None:
    async def holds() -> bool:
        return await sleeping(pool) == count

    await eventually(holds)


@asynccontextmanager
async def asleep(connections: Sequence[Connection]) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Run `SLEEP` on each of these until the block ends."""
    tasks = [asyncio.create_task(connection.execute(SLEEP)) for connection in connections]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def small(postgres_url: str) -> AsyncIterator[Pool]:
    """A pool of five connections: two for people, one for bulk, one for expensive reads, one for all else."""
    async with await connect_pool(postgres_url, size=5, timeout=60) as pool:
        yield pool


async def until_free(share: Share) -> None:
    async def holds() -> bool:
        return share.bulkhead.waiting == 0

    await eventually(holds)


async def test_full_shares_leave_the_pool_a_connection_and_each_other_their_own(pool: Pool, small: Pool) -> None:
    shares = share_out(small, 600)
    wanting = [*[shares.people] * 6, *[shares.bulk] * 6, *[shares.expensive] * 6]
    async with asleep(wanting):
        await until_sleeping(pool, 4)
        async with asyncio.timeout(30):
            assert await small.fetchval("SELECT 1") == 1
        assert await sleeping(pool) == 4
    async with asleep([shares.expensive] * 20), asyncio.timeout(30):
        await until_sleeping(pool, 1)
        assert await shares.people.fetchval("SELECT 1") == 1
        assert await shares.bulk.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("size", SIZES)
def test_every_size_of_pool_has_places_in_each_share_and_from_four_on_one_that_no_share_takes(size: int) -> None:
    class Sized:
        def get_max_size(self) -> int:
            return size

    places = [share.bulkhead._places._value for share in share_out(Sized(), 5)]  # type: ignore[arg-type]
    assert min(places) >= 1
    assert sum(places) < size or size < 4


async def test_a_pool_of_one_connection_serves_all_its_shares(pool: Pool, postgres_url: str) -> None:
    async with await connect_pool(postgres_url, size=1) as one:
        for share in (*share_out(one, 5), share_out(one, 5).expensive.of("a")):
            assert await share.fetchval("SELECT 1") == 1
            assert tuple(await share.fetchrow("SELECT 1")) == (1,)
            assert len(await share.fetch("SELECT 1")) == 1
            async with transaction(share) as inside:
                assert await inside.fetchval("SELECT 1") == 1


async def test_one_caller_cannot_take_every_place(pool: Pool) -> None:
    shares = share_out(pool, 600)
    greedy, other = shares.expensive.of("greedy"), shares.expensive.of("other")
    async with asleep([greedy] * 20):
        await until_sleeping(pool, 2)
        async with asyncio.timeout(30):
            assert await other.fetchval("SELECT 1") == 1
        assert await sleeping(pool) == 2


async def test_what_is_beyond_a_share_is_refused_at_once(pool: Pool) -> None:
    shares = share_out(pool, 600)
    greedy = shares.expensive.of("greedy")
    async with asleep([greedy] * (2 + CALLER_WAITING)):
        await until_sleeping(pool, 2)
        with pytest.raises(RateLimited):
            await greedy.fetchval("SELECT 1")
        many = [shares.expensive.of(number) for number in range(1 + EXPENSIVE_WAITING)]
        async with asleep(many):
            await until_sleeping(pool, 3)
            with pytest.raises(ShareFull):
                await shares.expensive.of("another").fetchval("SELECT 1")
    await until_free(greedy)
    assert await greedy.fetchval("SELECT 1") == 1


async def test_callers_without_a_running_read_are_forgotten(pool: Pool) -> None:
    shares = share_out(pool, 5)
    for number in range(100):
        assert await shares.expensive.of(number).fetchval("SELECT 1") == 1
    assert len(shares.expensive._callers._used) <= 1


async def test_an_expensive_read_has_less_time_than_the_pool_allows(small: Pool) -> None:
    expensive = share_out(small, 0.1).expensive
    with pytest.raises(StoreUnavailable, match="TimeoutError"):
        await expensive.fetchval(SLEEP)


@pytest.mark.parametrize("share", Shares._fields)
async def test_the_statement_of_a_caller_who_leaves_is_cancelled_in_postgres(pool: Pool, share: str) -> None:
    shares = share_out(pool, 600)
    async with asleep([getattr(shares, share)] * 3) as tasks:
        await until_sleeping(pool, {"people": 3, "bulk": 2, "expensive": 3}[share])
        for task in tasks:
            task.cancel()
        await until_sleeping(pool, 0)
    assert await getattr(shares, share).fetchval("SELECT 1") == 1


async def test_a_caller_leaves_in_time_although_postgres_does_not_answer(postgres_url: str) -> None:
    relay = Relay(postgres_url)
    cut = await connect_pool(await relay.open(), size=1, timeout=0.5, connect_timeout=0.5)
    share = share_out(cut, 60).expensive
    task = asyncio.create_task(share.execute("SELECT pg_sleep(60)", timeout=60))
    try:
        await asyncio.wait({task}, timeout=0.05)
        await relay.mute()  # the request to cancel gets no answer either
        task.cancel()
        async with asyncio.timeout(30):
            await asyncio.wait({task})
    finally:
        cut.terminate()
        await relay.close()
