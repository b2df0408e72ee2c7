"""The units that callers have used, in Redis: taken from all keys or from none, and back steadily or by windows."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from cli.stack.stores import temporary_stack
from core.errors import StoreFull, StoreUnavailable
from db.cache import connect_redis, rate_key
from db.postgres import Pool
from db.rate_limits import Charge, ClientLimits, client_limits, list_client_limits, set_client_limits, take
from tests.full_stores import full_redis
from tests.running import CLIENT, register_client

DAY = 86_400
KEY = rate_key("client", "shop")


@pytest.fixture(scope="module")
def own_valkey() -> Iterator[str]:
    """A server of this module's own."""
    with temporary_stack() as stack:
        yield stack.start(["valkey"])["valkey"]


@pytest.fixture
async def own_redis(own_valkey: str) -> AsyncIterator[Redis]:
    async with connect_redis(own_valkey) as client:
        await client.flushall()
        yield client


def charge(units: int = 1, most: int = 10, seconds: int = DAY, key: str = KEY, *, by_window: bool = False) -> Charge:
    return Charge(key, units, most, seconds, by_window)


async def stored(redis: Redis, key: str = KEY) -> tuple[float, float]:
    """The units that are used, and since when, in seconds."""
    packed = await redis.get(key)
    assert isinstance(packed, bytes)
    used, since = struct.unpack(">dd", packed)
    return used, since / 1e6


async def store(redis: Redis, used: float, age: float, key: str = KEY) -> None:
    """Let so many units have been used `age` seconds ago, by the clock of Redis."""
    seconds, micro = await redis.time()
    await store_since(redis, used, seconds - age + micro / 1e6, key)


async def store_since(redis: Redis, used: float, since: float, key: str = KEY) -> None:
    """Let so many units have been used at this time, in seconds since 1970."""
    await redis.set(key, struct.pack(">dd", used, since * 1e6))


async def test_so_many_units_are_taken_and_no_more(redis: Redis) -> None:
    verdicts = [await take(redis, [charge(3)]) for _ in range(4)]
    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False]
    assert [round(verdict.used[0], 1) for verdict in verdicts] == [3, 6, 9, 9]
    assert (await take(redis, [charge(1)])).allowed, "what is left fits"
    assert abs(verdicts[0].now - time.time()) < 60


async def test_units_are_taken_from_all_keys_or_from_none(redis: Redis) -> None:
    other = rate_key("person", "user:anna")
    both = [charge(2, most=100), charge(2, most=3, key=other)]
    first, second = await take(redis, both), await take(redis, both)
    assert (first.allowed, second.allowed) == (True, False)
    assert [round(used, 1) for used in second.used] == [2, 2]
    assert round((await stored(redis))[0], 1) == 2, "a refusal takes nothing from the other key"


async def test_of_calls_at_the_same_time_as_many_succeed_as_units_are_there(redis: Redis) -> None:
    for round_ in range(20):
        charges = [charge(most=50, key=f"rate:test:{round_}")]
        verdicts = await asyncio.gather(*(take(redis, charges) for _ in range(200)))
        assert sum(verdict.allowed for verdict in verdicts) == 50


async def test_units_come_back_steadily_without_an_edge(redis: Redis) -> None:
    await store(redis, used=10, age=30)
    half = await take(redis, [charge(4, most=10, seconds=60)])
    assert half.allowed
    assert half.used[0] == pytest.approx(9, abs=0.2)
    assert not (await take(redis, [charge(4, most=10, seconds=60)])).allowed
    await store(redis, used=10, age=1e6)
    assert (await take(redis, [charge(10, most=10, seconds=60)])).used[0] == 10, "never more than all come back"


async def test_a_clock_that_was_set_back_locks_nobody_out(redis: Redis) -> None:
    await store(redis, used=10, age=-3_600)
    refused = await take(redis, [charge(1, most=10, seconds=60)])
    assert not refused.allowed
    _, since = await stored(redis)
    assert since == pytest.approx(refused.now, abs=1), "the units come back from now on"


async def test_units_by_window_begin_anew_with_each_window(redis: Redis) -> None:
    window = 1_000_000_000  # seconds: no window begins between two looks at the clock, until 2033
    one = charge(seconds=window, by_window=True)
    await store_since(redis, used=10, since=window + 1)
    assert not (await take(redis, [one])).allowed, "the same window: nothing has come back"
    await store_since(redis, used=10, since=window - 1)
    assert (await take(redis, [one])).used == (1.0,), "a second before is another window"


async def test_a_lower_limit_counts_at_once_and_does_not_lock_out_for_long(redis: Redis) -> None:
    await take(redis, [charge(10_000, most=10_000, seconds=60)])
    lowered = await take(redis, [charge(1, most=10, seconds=60)])
    assert not lowered.allowed
    assert lowered.used == (10.0,)


async def test_a_key_lives_until_it_would_be_empty(redis: Redis) -> None:
    await take(redis, [charge(5, most=10, seconds=60)])
    assert 25_000 < await redis.pttl(KEY) <= 31_000
    await take(redis, [charge(5, most=10, by_window=True)])
    assert DAY * 1000 - 60_000 < await redis.pttl(KEY) <= DAY * 1000 + 1000


async def test_flushed_scripts_are_sent_again(own_redis: Redis) -> None:
    assert (await take(own_redis, [charge()])).used == (1.0,)
    await own_redis.script_flush()
    assert (await take(own_redis, [charge()])).used[0] == pytest.approx(2, abs=0.01)


async def test_a_full_redis_is_a_store_that_is_full(own_redis: Redis, own_valkey: str) -> None:
    with full_redis(own_valkey), pytest.raises(StoreFull):
        await take(own_redis, [charge()])
    assert (await take(own_redis, [charge()])).allowed


async def test_a_redis_that_is_away_is_a_store_that_is_away() -> None:
    async with connect_redis("redis://127.0.0.1:1/0") as client:
        with pytest.raises(StoreUnavailable):
            await take(client, [charge()])


async def test_limits_of_one_client_are_stored_with_it(pool: Pool) -> None:
    await register_client(pool)
    assert await client_limits(pool, CLIENT) == ClientLimits()
    assert await list_client_limits(pool) == {}
    assert await set_client_limits(pool, CLIENT, ClientLimits("5/minute", 100))
    assert await list_client_limits(pool) == {CLIENT: ClientLimits("5/minute", 100)}
    assert not await set_client_limits(pool, "nobody", ClientLimits())
    assert await client_limits(pool, "nobody") is None
