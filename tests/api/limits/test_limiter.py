"""One process's limiter: what it does without Redis, and what it knows without asking."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import pytest
from redis.asyncio import Redis

from api.limits import limiter as limiters
from api.limits.limiter import LOCAL_SHARE, Counts, Limiter
from api.limits.policies import Bucket, Policy
from core.errors import StoreUnavailable
from db import rate_limits
from db.cache import connect_redis
from db.rate_limits import Charge, Taken
from tests.faults import Relay, eventually

DAY = 86_400


def bucket(most: int = 10, seconds: int = DAY, key: str = "rate:test:1", *, by_window: bool = False) -> Bucket:
    return Bucket(Policy("client", most, seconds, by_window), key)


async def allowed(limiter: Limiter, times: int, *buckets: Bucket) -> int:
    """How many of so many calls at the same time are allowed."""
    verdicts = await asyncio.gather(*(limiter.take(buckets, 1) for _ in range(times)))
    return sum(verdict.allowed for verdict in verdicts)


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of charges of each round trip to Redis."""
    seen: list[int] = []
    real: Callable[..., Awaitable[Taken]] = rate_limits.take

    async def counted(redis: Redis, charges: list[Charge]) -> Taken:
        seen.append(len(charges))
        return await real(redis, charges)

    monkeypatch.setattr(rate_limits, "take", counted)
    return seen


async def test_two_limiters_share_what_is_left(redis: Redis) -> None:
    first, second = Limiter(redis), Limiter(redis)
    counts = await asyncio.gather(allowed(first, 100, bucket(50)), allowed(second, 100, bucket(50)))
    assert sum(counts) == 50


async def test_all_limits_of_a_request_take_one_round_trip(redis: Redis, trips: list[int]) -> None:
    buckets = tuple(bucket(100, key=f"rate:test:{number}") for number in range(3))
    verdict = await Limiter(redis).take(buckets, 7)
    assert verdict.allowed
    assert [level.left for level in verdict.levels] == [93, 93, 93]
    assert trips == [3]


async def test_a_caller_known_to_be_over_is_refused_without_redis(redis: Redis, trips: list[int]) -> None:
    limiter, full = Limiter(redis), bucket(10)
    assert (await limiter.take((full,), 8)).allowed
    refused = await limiter.take((full,), 5)
    known = [await limiter.take((full,), 5) for _ in range(1_000)]
    assert len(trips) == 2
    assert {verdict.allowed for verdict in known} == {False}
    assert known[-1].levels[0].wait == pytest.approx(refused.levels[0].wait, abs=5)
    assert (await limiter.take((full,), 2)).allowed, "what does fit is asked for"
    assert (await limiter.take((bucket(10, key="rate:test:other"),), 5)).allowed


async def test_a_known_refusal_ends_when_the_units_would_fit(
    redis: Redis, trips: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter, full = Limiter(redis), bucket(10, 60)
    await limiter.take((full,), 10)
    refused = await limiter.take((full,), 1)
    assert 5 < refused.levels[0].wait <= 6
    monkeypatch.setattr(limiters, "ASK_AGAIN", 1e9)
    later = monotonic() + 5
    monkeypatch.setattr("api.limits.policies.monotonic", lambda: later)
    assert limiter.known_refusal((full,), 1) is not None
    later += 1.1
    assert limiter.known_refusal((full,), 1) is None


async def test_redis_is_asked_again_after_some_seconds(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    limiter, full = Limiter(redis), bucket(10)
    await limiter.take((full,), 10)
    assert not (await limiter.take((full,), 1)).allowed
    await redis.flushdb()
    assert not (await limiter.take((full,), 1)).allowed
    later = monotonic() + limiters.ASK_AGAIN
    monkeypatch.setattr(limiters, "monotonic", lambda: later)
    assert (await limiter.take((full,), 1)).allowed


async def test_without_redis_each_process_has_the_limit_once_and_a_share_of_the_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with connect_redis("redis://127.0.0.1:1/0") as away:
        limiter, limit = Limiter(away), bucket(100, 100)
        assert await allowed(limiter, 300, limit) == pytest.approx(100, abs=2)
        refused = await limiter.take((limit,), 10)
        assert not refused.allowed
        assert 30 < refused.levels[0].wait <= 10 / LOCAL_SHARE
        later = monotonic() + 40
        monkeypatch.setattr("api.limits.policies.monotonic", lambda: later)
        assert await allowed(limiter, 300, limit) == pytest.approx(40 * LOCAL_SHARE, abs=2)


async def test_a_dead_redis_is_waited_for_once_a_pause_and_is_used_when_it_is_back(
    redis_url: str, redis: Redis
) -> None:
    relay = Relay(redis_url)
    async with connect_redis(await relay.open(), timeout=0.2) as through:
        limiter = Limiter(through, pause=0.4)
        assert (await limiter.take((bucket(1_000),), 1)).levels[0].left == 999
        await relay.close()
        await relay.open(mute=True)
        began = monotonic()
        assert (await limiter.take((bucket(1_000),), 1)).allowed
        assert monotonic() - began < 1
        waits: list[float] = []
        while monotonic() - began < 1.5:
            at = monotonic()
            assert (await limiter.take((bucket(1_000),), 1)).levels[0].left < 999
            waits.append(monotonic() - at)
            await asyncio.sleep(0)
        assert sum(wait > 0.15 for wait in waits) <= 4, "one call waits for the dead Redis after each pause"
        assert len(waits) > 100
        await relay.close()
        await relay.open()

        async def shared() -> bool:
            verdict = await limiter.take((bucket(1_000, key="rate:test:back"),), 1)
            return verdict.allowed and await redis.exists("rate:test:back") == 1

        await eventually(shared)
    await relay.close()


async def test_one_call_tries_a_dead_redis_and_the_others_do_not_wait_for_it(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, trips = asyncio.Event(), list[int]()

    async def dead(_: Redis, charges: list[Charge]) -> Taken:
        trips.append(len(charges))
        await over.wait()
        raise StoreUnavailable("redis")

    monkeypatch.setattr(rate_limits, "take", dead)
    limiter = Limiter(redis, pause=60)
    trying = asyncio.create_task(limiter.take((bucket(1_000),), 1))
    limiter._paused_until = monotonic()  # as after a pause
    assert await allowed(limiter, 200, bucket(1_000)) == 200
    assert len(trips) == 1
    over.set()
    assert (await trying).allowed


def test_the_table_of_a_process_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiters, "MAX_COUNTED", 100)
    counts = Counts()
    for number in range(1_000):
        counts.set(bucket(key=f"rate:test:{number}"), 5)
    assert len(counts._used) == 100
    assert counts.used(bucket(key="rate:test:0")) == 0
    assert counts.used(bucket(key="rate:test:999")) == pytest.approx(5, abs=0.01)


def test_a_clock_that_was_set_back_does_not_lock_out(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, now = Counts(), [monotonic()]
    monkeypatch.setattr("api.limits.policies.monotonic", lambda: now[0])
    counts.set(bucket(10, 10), 10)
    now[0] -= 1_000
    assert counts.used(bucket(10, 10)) == 10
    now[0] += 5
    assert counts.used(bucket(10, 10)) == pytest.approx(5)


def test_a_quota_of_a_day_ends_at_midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Policy("daily", 10, DAY, by_window=True)
    assert policy.left_over(7, DAY * 3 - 1, DAY * 3 - 0.5) == 7
    assert policy.left_over(7, DAY * 3 - 1, DAY * 3) == 0
    assert policy.seconds_until(7, DAY * 3 - 30) == 30


def test_text_of_a_policy() -> None:
    found: Any = Policy("client", 5, 60).text
    assert found == '"client";q=5;w=60'
