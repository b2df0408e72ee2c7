"""The connection to Redis that all share, against a server that is killed, hangs, or answers something else."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, InvalidResponse, NoScriptError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from cli.stack.stores import temporary_stack
from core.errors import StoreUnavailable
from db.cache import connect_redis
from db.redis_client import ask, ask_now
from db.redis_link import ConnectionLost, Link, TooManyWaiting
from db.shared_connection import SharedConnection
from tests.faults import Relay, eventually

LONG = 20.0  # seconds


@pytest.fixture
async def client(redis: Redis, redis_url: str) -> AsyncIterator[Redis]:
    """Redis holds the squares of some numbers."""
    await redis.mset({str(number): number * number for number in range(1_000)})
    async with connect_redis(redis_url, LONG) as found:
        yield found


@pytest.fixture
async def link(client: Redis) -> AsyncIterator[Link]:
    found = await open_link(client)
    yield found
    await found.close()


@pytest.fixture(scope="module")
def own_valkey() -> Iterator[str]:
    """A server of this module's own, which may be stopped."""
    with temporary_stack() as stack:
        yield stack.start(["valkey"])["valkey"]


async def open_link(client: Redis, timeout: float = LONG, **bounds: int) -> Link:
    connection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    await connection.connect()
    return Link(connection, timeout, **bounds)


async def square(redis: Redis, number: int) -> int:
    (found,) = await ask(redis, ("GET", number))
    return int(found)


async def test_a_thousand_callers_each_get_their_own_answers(client: Redis) -> None:
    for _ in range(3):
        assert await asyncio.gather(*(square(client, n) for n in range(1_000))) == [n * n for n in range(1_000)]


def test_commands_of_many_callers_are_sent_on_uvloop_too(redis_url: str) -> None:
    async def asked() -> list[list[Any]]:
        async with connect_redis(redis_url, LONG) as client:
            return await asyncio.gather(*(ask(client, ("ECHO", n), ("ECHO", -n)) for n in range(500)))

    assert uvloop.run(asked()) == [[b"%d" % n, b"%d" % -n] for n in range(500)]


async def test_answers_of_many_sizes_reach_the_callers_in_order(client: Redis, redis: Redis) -> None:
    sizes = [0, 1, 70_000, 3, 900_000, 5, 300_000]
    for at, size in enumerate(sizes):
        await redis.set(f"size:{at}", b"x" * size)
    found = await asyncio.gather(*(ask(client, ("GET", f"size:{at}"), ("GET", "3")) for at in range(len(sizes))))
    assert [len(value) for value, _ in found] == sizes
    assert {nine for _, nine in found} == {b"9"}


async def test_a_caller_may_be_cancelled_at_any_moment(client: Redis) -> None:
    random = Random(7)  # noqa: S311 - no secret
    await square(client, 1)
    for _ in range(30):
        asking = [asyncio.create_task(square(client, n)) for n in range(100)]
        for _ in range(random.randrange(6)):  # before the commands are sent, while the answers come, after they came
            await asyncio.sleep(0)
        gone = set(random.sample(range(100), 30))
        for n in gone:
            asking[n].cancel()
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert [found[n] for n in range(100) if n not in gone] == [n * n for n in range(100) if n not in gone]
        assert all(found[n] == n * n or isinstance(found[n], asyncio.CancelledError) for n in gone)


async def test_a_caller_that_is_cancelled_while_the_connection_opens_leaves_it_to_the_others(client: Redis) -> None:
    for rounds in range(8):
        shared = SharedConnection(client.connection_pool, LONG)
        asking = [asyncio.create_task(shared.ask([("GET", n)])) for n in range(10)]
        for _ in range(rounds):
            await asyncio.sleep(0)
        asking[0].cancel()
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert found[1:] == [[b"%d" % (n * n)] for n in range(1, 10)]
        await shared.close()


async def test_an_error_in_a_pipeline_fails_its_own_call_alone(client: Redis, redis: Redis) -> None:
    await redis.set("text", "x")
    both = [("GET", "2"), ("ZRANGE", "text", 0, -1), ("GET", "3")]
    calls = [ask(client, *(both if n % 2 else both[::2])) for n in range(200)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(each, StoreUnavailable) for each in found[1::2])
    assert all(each == [b"4", b"9"] for each in found[::2])


async def test_a_script_that_is_not_there_is_told(link: Link, redis: Redis) -> None:
    digest = await redis.script_load("return ARGV[1]")
    assert await link.ask([("EVALSHA", digest, 0, "here")]) == [b"here"]
    await redis.script_flush()
    with pytest.raises(NoScriptError):
        await link.ask([("EVALSHA", digest, 0, "gone")])
    assert await link.ask([("EVAL", "return ARGV[1]", 0, "sent")]) == [b"sent"]


async def test_a_wrong_password_is_an_error_and_no_connection_is_left(redis: Redis, redis_url: str) -> None:
    before = len(await redis.client_list())
    parts = urlsplit(redis_url)
    async with connect_redis(redis_url.replace(parts.password or "", "wrong")) as client:
        shared = SharedConnection(client.connection_pool, LONG)
        for _ in range(5):
            with pytest.raises((AuthenticationError, RedisConnectionError)):
                await shared.ask([("GET", "1")])
        await shared.close()
    await eventually(lambda: _clients(redis, before))


async def test_the_database_that_the_url_names_is_used(own_valkey: str) -> None:
    base = own_valkey.rpartition("/")[0]
    async with connect_redis(f"{base}/0") as first, connect_redis(f"{base}/7") as seventh:
        await ask(first, ("SET", "where", "first"))
        await ask(seventh, ("SET", "where", "seventh"))
        assert await ask(first, ("GET", "where")) == [b"first"]


@pytest.mark.parametrize("protocol", [2, 3])
async def test_both_versions_of_the_protocol_are_read(redis_url: str, protocol: int) -> None:
    async with connect_redis(f"{redis_url}?protocol={protocol}") as client:
        await ask(client, ("DEL", "scores"), ("ZADD", "scores", 1.5, "a"))
        found = await ask(client, ("ZRANGE", "scores", 0, -1), ("GET", "none"), ("EXISTS", "scores"))
        assert found == [[b"a"], None, 1]


async def test_a_killed_server_is_an_error_and_its_successor_is_used(redis: Redis, redis_url: str) -> None:
    relay = Relay(redis_url)
    async with connect_redis(await relay.open(), LONG) as client:
        for _ in range(3):
            await ask(client, ("SET", "here", "yes"))
            asking = [asyncio.create_task(ask(client, ("GET", "here"))) for _ in range(100)]
            await asyncio.sleep(0)
            await relay.close()
            found = await asyncio.gather(*asking, return_exceptions=True)
            assert all(each == [b"yes"] or isinstance(each, StoreUnavailable) for each in found)
            for _ in range(5):
                with pytest.raises(StoreUnavailable):
                    await ask(client, ("GET", "here"))
            await relay.open()
            await eventually(lambda: _answers(client))
    await relay.close()


async def test_while_a_server_is_away_callers_wait_for_no_connection_and_few_are_opened(redis_url: str) -> None:
    """The server accepts and never answers: the first callers wait, all later ones do not."""
    relay = Relay(redis_url)
    timeout, loop = 0.2, asyncio.get_running_loop()
    async with connect_redis(await relay.open(mute=True), timeout) as client:
        began = loop.time()
        for _ in range(2):
            calls = (ask(client, ("GET", "1")) for _ in range(1_000))
            found = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(each, StoreUnavailable) for each in found)
        await eventually(lambda: _fails_at_once(client))
        for _ in range(20):
            await asyncio.sleep(0.01)
            assert all(_fails_at_once(client) for _ in range(50))
        assert len(relay._streams) <= 4 + (loop.time() - began) / timeout, "one connection at a time was tried"
        await relay.close()
        await relay.open()
        await eventually(lambda: _answers(client))
    await relay.close()


async def test_a_server_that_hangs_fails_all_who_wait_and_is_used_when_it_goes_on(own_valkey: str) -> None:
    async with connect_redis(own_valkey, 0.3) as client:
        (info,) = await ask(client, ("INFO", "server"))
        process = int(info.partition(b"process_id:")[2].split()[0])
        await ask(client, ("SET", "here", "yes"))
        os.kill(process, signal.SIGSTOP)
        try:
            began = asyncio.get_running_loop().time()
            calls = (ask(client, ("GET", "here")) for _ in range(500))
            found = await asyncio.gather(*calls, return_exceptions=True)
            assert asyncio.get_running_loop().time() - began < 10, "all of them together, not one after the other"
            assert all(isinstance(each, StoreUnavailable) for each in found)
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await ask(client, ("GET", "here"))
        finally:
            os.kill(process, signal.SIGCONT)
        await eventually(lambda: _answers(client))


async def test_no_one_gets_an_answer_of_a_connection_before(own_valkey: str) -> None:
    """A call times out; its answer, which comes later, is not that of the next call."""
    async with connect_redis(own_valkey, 30) as client:
        shared = SharedConnection(client.connection_pool, 0.1)
        for number in range(5):
            with pytest.raises(RedisTimeoutError):
                await shared.ask([("BLPOP", "nothing", 0.15)])
            assert await shared.ask([("ECHO", number)]) == [b"%d" % number]
        await shared.close()


async def test_more_calls_than_may_wait_are_refused_and_cost_the_others_nothing(client: Redis) -> None:
    link = await open_link(client, most_waiting=10)
    asked = [link.ask([("ECHO", n)]) for n in range(10)]
    asked[3].cancel()  # it keeps its place
    with pytest.raises(TooManyWaiting):
        link.ask([("ECHO", "one too many")])
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert found[:3] == [[b"%d" % n] for n in range(3)]
    assert await link.ask([("ECHO", "again")]) == [b"again"]
    await link.close()


async def test_what_is_asked_in_passing_is_not_sent_where_too_many_wait(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = SharedConnection(client.connection_pool, LONG)
    monkeypatch.setattr(client, "_shared", shared)
    assert await square(client, 3) == 9
    assert shared._link is not None
    shared._link._most_waiting = 0
    assert ask_now(client, ("GET", 3)) is None, "its caller then asks, and learns why"
    with pytest.raises(StoreUnavailable, match="Too many commands wait"):
        await square(client, 3)
    await shared.close()


@pytest.mark.parametrize("command", [("GET", "large"), ("LRANGE", "list", 0, -1)])
async def test_an_answer_that_is_too_long_ends_the_connection(client: Redis, redis: Redis, command: Any) -> None:
    await redis.set("large", b"x" * 3_000_000)
    await redis.rpush("list", *[b"x" * 1_000] * 3_000)
    link = await open_link(client, most_bytes=1_000_000)
    for _ in range(20):  # many answers that are long enough together
        assert len((await link.ask([("GETRANGE", "large", 0, 300_000)]))[0]) == 300_001
    asked = [link.ask([command]), link.ask([("GET", "1")])]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(each, InvalidResponse) for each in found)
    assert link.lost
    await link.close()


@pytest.mark.parametrize(
    "answer", [b"+one\r\n+nobody asked\r\n", b"nonsense\r\n", b"-LOADING Redis is loading\r\n", b""]
)
async def test_a_server_that_says_something_else_ends_the_connection(redis_url: str, answer: bytes) -> None:
    """After the handshake; an answer that is right is still given."""
    parts, writers = urlsplit(redis_url), list[asyncio.StreamWriter]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1_000)
        writers.append(writer)
        writer.write(answer)
        if not answer:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = Redis(host=parts.hostname or "", port=port, protocol=2, redis_connect_func=_no_handshake)
    link = await open_link(client)
    asked = [link.ask([("PING",)])]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert found == [[b"one"]] or isinstance(found[0], RedisConnectionError | InvalidResponse)
    await eventually(lambda: link.lost)
    with pytest.raises(ConnectionLost):
        link.ask([("PING",)])
    await link.close()
    server.close()
    for writer in writers:
        writer.close()
        await writer.wait_closed()


async def test_what_the_server_pushes_is_no_answer(redis: Redis, redis_url: str) -> None:
    """A client of RESP3 that tracks keys is told of changes, in between."""
    async with connect_redis(f"{redis_url}?protocol=3", LONG) as client:
        await ask(client, ("CLIENT", "TRACKING", "ON", "BCAST"))
        for number in range(50):
            await redis.set("changed", number)
            assert await ask(client, ("ECHO", number)) == [b"%d" % number]


async def test_commands_that_cannot_be_packed_are_not_sent(client: Redis, link: Link) -> None:
    asked = link.ask([("GET", "4")])
    with pytest.raises(TypeError):
        link.ask([("GET", "5"), ("GET", object())])
    assert await asked == [b"16"]
    assert await link.ask([("GET", "6")]) == [b"36"]


async def test_many_kinds_of_trouble_at_the_same_time_mix_no_answers(redis: Redis, redis_url: str) -> None:
    """Cancelled callers, refused commands and cut connections beside calls whose answers are known."""
    random = Random(11)  # noqa: S311 - no secret
    await redis.set("text", "x")
    relay = Relay(redis_url)
    async with connect_redis(await relay.open(), LONG) as client:

        async def call(number: int) -> None:
            for at in range(20):
                try:
                    found = await ask(client, ("ECHO", f"{number}:{at}"), ("ECHO", number))
                except StoreUnavailable:
                    await asyncio.sleep(0.001)
                else:
                    assert found == [f"{number}:{at}".encode(), b"%d" % number]

        async def refused() -> None:
            with pytest.raises(StoreUnavailable):
                await ask(client, ("ECHO", "x"), ("LPUSH", "text", "y"))

        calls = [asyncio.create_task(call(number)) for number in range(50)]
        others = [asyncio.create_task(refused()) for _ in range(50)]
        for victim in random.sample(calls, 10):
            await asyncio.sleep(0)
            victim.cancel()
        await relay.close()
        await relay.open()
        ended = await asyncio.gather(*calls, *others, return_exceptions=True)
        assert [error for error in ended if not isinstance(error, asyncio.CancelledError | None)] == []
    await relay.close()


async def _no_handshake(connection: Any) -> None:
    connection._parser.on_connect(connection)


def _fails_at_once(client: Redis) -> bool:
    """Whether a call fails before it waits for anything."""
    call = ask(client, ("GET", "1"))
    try:
        call.send(None)
    except StoreUnavailable:
        return True
    call.close()
    return False


async def _answers(client: Redis) -> bool:
    try:
        return await ask(client, ("ECHO", "back")) == [b"back"]
    except StoreUnavailable:
        return False


async def _clients(redis: Redis, most: int) -> bool:
    return len(await redis.client_list()) <= most
