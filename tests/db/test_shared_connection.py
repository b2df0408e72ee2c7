"""Reads of all requests share one connection: each gets its own answers, whatever happens to the others."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from db.cache import connect_redis
from db.shared_connection import SharedConnection
from tests.faults import Relay

TIMEOUT = 20.0  # seconds


@pytest.fixture
async def relay(redis_url: str) -> AsyncIterator[Relay]:
    relay = Relay(redis_url)
    yield relay
    await relay.close()


@pytest.fixture
async def shared(redis: Redis, relay: Relay) -> AsyncIterator[SharedConnection]:
    """Through the relay; Redis holds the squares of some numbers."""
    await redis.mset({str(number): number * number for number in range(300)})
    async with connect_redis(await relay.open(), TIMEOUT) as client:
        connection = SharedConnection(client.connection_pool, TIMEOUT)
        yield connection
        await connection.close()


async def square(shared: SharedConnection, number: int) -> int:
    twice = await shared.ask([("GET", number), ("GET", number)])
    assert twice[0] == twice[1]
    return int(twice[0])


async def test_each_caller_gets_its_own_answers_on_one_connection(shared: SharedConnection, redis: Redis) -> None:
    before = {each["id"] for each in await redis.client_list()}
    assert await asyncio.gather(*(square(shared, n) for n in range(300))) == [n * n for n in range(300)]
    assert len({each["id"] for each in await redis.client_list()} - before) == 1


async def test_callers_of_one_moment_are_sent_together_and_answered_together(
    shared: SharedConnection, relay: Relay
) -> None:
    await square(shared, 1)
    relay.passed.clear()
    assert await asyncio.gather(*(square(shared, n) for n in range(10))) == [n * n for n in range(10)]
    assert [by_client for by_client, _ in relay.passed] == [True, False]


async def test_what_a_cancelled_caller_asked_is_sent_with_what_the_others_ask(shared: SharedConnection) -> None:
    await square(shared, 1)
    first = asyncio.create_task(square(shared, 2))
    await asyncio.sleep(0)
    first.cancel()
    assert [*await asyncio.gather(square(shared, 3), square(shared, 4))] == [9, 16]
    assert first.cancelled()


async def test_callers_that_are_cancelled_leave_the_others_their_answers(shared: SharedConnection) -> None:
    await square(shared, 1)
    asking = [asyncio.create_task(square(shared, n)) for n in range(300)]
    await asyncio.sleep(0)
    for n in range(0, 300, 3):
        asking[n].cancel()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [found[n] for n in range(300) if n % 3] == [n * n for n in range(300) if n % 3]
    assert all(isinstance(found[n], asyncio.CancelledError) for n in range(0, 300, 3))
    assert await square(shared, 7) == 49


async def test_a_lost_connection_is_opened_again(shared: SharedConnection, relay: Relay) -> None:
    for n in range(5):
        assert await square(shared, n) == n * n
        asking = [asyncio.create_task(square(shared, n)) for n in range(50)]
        await asyncio.sleep(0)
        await relay.close()
        await relay.open()
        assert await asyncio.gather(*asking) == [n * n for n in range(50)]


async def test_without_a_server_every_caller_gets_an_error(shared: SharedConnection, relay: Relay) -> None:
    await square(shared, 1)
    await relay.close()
    found = await asyncio.gather(*(square(shared, n) for n in range(20)), return_exceptions=True)
    assert all(isinstance(each, OSError | RedisConnectionError) for each in found)
    await relay.open()
    assert await square(shared, 9) == 81


async def test_nobody_waits_behind_an_answer_that_takes_too_long(redis: Redis, redis_url: str) -> None:
    await redis.set("1", 1)
    async with connect_redis(redis_url) as client:
        hasty = SharedConnection(client.connection_pool, 1.0)
        assert await square(hasty, 1) == 1
        slow = [asyncio.create_task(hasty.ask([("BLPOP", "nothing", 0)])) for _ in range(3)]
        found = await asyncio.gather(*slow, return_exceptions=True)
        assert all(isinstance(error, RedisTimeoutError) for error in found)
        assert await square(hasty, 1) == 1
        await hasty.close()


async def test_a_command_that_redis_refuses_fails_alone(shared: SharedConnection, redis: Redis) -> None:
    await redis.set("text", "x")
    refused, found = await asyncio.gather(
        shared.ask([("GET", "2"), ("ZRANGE", "text", 0, -1)]), square(shared, 3), return_exceptions=True
    )
    assert isinstance(refused, ResponseError)
    assert found == 9


async def test_after_closing_nothing_waits(shared: SharedConnection) -> None:
    await square(shared, 1)
    waiting = asyncio.create_task(shared.ask([("BLPOP", "nothing", 0)]))
    await asyncio.sleep(0)
    await shared.close()
    with pytest.raises(RedisConnectionError):
        await waiting
