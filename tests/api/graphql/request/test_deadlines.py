"""The deadline of an operation, and a caller who leaves, end the work for it: in Postgres, in Redis and in threads."""

import asyncio
from collections.abc import Awaitable, Callable
from threading import Event
from time import monotonic
from typing import Any

import orjson
import pytest
import strawberry
from starlette.types import Message, Scope

from api.gateway import Gateway
from api.graphql.context import Info
from api.graphql.request.endpoint import GraphQLEndpoint
from db.cache import connect_redis
from db.postgres import connect_pool, transaction
from engine.viewer import Viewer
from tests.faults import Relay, eventually

DEADLINE = 0.5  # seconds
SOON = 1.0  # seconds after the answer
SLEEP = "SELECT pg_sleep(60)"


@strawberry.type
class Query:
    """Fields that take a minute, each in another store."""

    @strawberry.field
    async def statement(self, info: Info) -> str | None:
        return str(await info.context.gateway.pool.fetchval(SLEEP))

    @strawberry.field
    async def share(self, info: Info) -> str | None:
        return str(await info.context.reads.fetchval(SLEEP, timeout=60))

    @strawberry.field
    async def block(self, info: Info) -> str | None:
        async with transaction(info.context.gateway.pool) as held:
            return str(await held.fetchval(SLEEP))

    @strawberry.field
    async def list(self, info: Info) -> str | None:
        return str(await info.context.gateway.redis.blpop("nothing", 25))

    @strawberry.field
    def greeting(self) -> str:
        return "hello"


@strawberry.type
class Mutation:
    """A change that takes a minute, or as long as a lock is held."""

    @strawberry.mutation
    async def change(self, info: Info, seconds: int) -> str:
        async with transaction(info.context.gateway.pool) as held:
            await held.execute("INSERT INTO oauth_clients (id, grants, scopes) VALUES ('new', '{}', '{}')")
            await held.fetchval("SELECT pg_sleep($1::int / 10.0)", seconds)
        return "changed"


SCHEMA = strawberry.Schema(Query, Mutation)


class Everybody:
    """Every token is valid."""

    async def verify(self, token: str) -> Viewer:
        return Viewer("shop", frozenset({"schema:read"}), None, 2**40)


class Call:
    """A request to the endpoint, whose caller may leave, and its answer."""

    def __init__(self, endpoint: GraphQLEndpoint, gateway: Gateway, query: str) -> None:
        self.left = asyncio.Event()
        self.sent: list[Message] = []
        self._unread: list[Message] = [{"type": "http.request", "body": orjson.dumps({"query": query})}]
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "headers": [(b"authorization", b"Bearer a"), (b"content-type", b"application/json")],
            "query_string": b"",
            "state": {"gateway": gateway, "verifier": Everybody(), "request_id": "r"},
        }
        self.task = asyncio.create_task(endpoint(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        if self._unread:
            return self._unread.pop()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    async def answer(self) -> tuple[int, Any]:
        """The status and the body, once the answer is sent."""
        await self.task
        return self.sent[0]["status"], orjson.loads(self.sent[1]["body"])


Start = Callable[..., Call]


@pytest.fixture
def start(gateway: Gateway) -> Start:
    def start(query: str, *, deadline: float = DEADLINE, on: Gateway = gateway) -> Call:
        return Call(GraphQLEndpoint(SCHEMA, graphiql=False, timeout=deadline), on, query)

    return start


async def sleeping(gateway: Gateway) -> int:
    """The statements of this database that sleep, and transactions that are open."""
    found: int = await gateway.pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND (state <> 'idle') AND query ~ 'pg_sleep|INSERT'"
    )
    return found


async def blocked(gateway: Gateway) -> int:
    """The callers of Redis that wait for a list."""
    return int((await gateway.redis.info("clients"))["blocked_clients"])


STORES = [("statement", sleeping), ("share", sleeping), ("block", sleeping), ("list", blocked)]


async def until(counted: Callable[[Gateway], Awaitable[int]], gateway: Gateway, count: int, within: float) -> None:
    async def holds() -> bool:
        return await counted(gateway) == count

    await eventually(holds, within)


@pytest.mark.parametrize(("field", "counted"), STORES)
async def test_after_the_deadline_the_answer_is_a_timeout_and_the_work_is_gone(
    start: Start, gateway: Gateway, field: str, counted: Any
) -> None:
    call = start(f"{{ greeting {field} }}", deadline=2.0)
    await until(counted, gateway, 1, within=1.9)
    status, answer = await call.answer()
    assert (status, answer["errors"][0]["extensions"]) == (504, {"code": "TIMEOUT"})
    assert "data" not in answer
    await until(counted, gateway, 0, within=SOON)


@pytest.mark.parametrize(("field", "counted"), STORES)
async def test_when_the_caller_leaves_the_work_is_gone(
    start: Start, gateway: Gateway, field: str, counted: Any
) -> None:
    call = start(f"{{ {field} }}", deadline=60)
    await until(counted, gateway, 1, within=10)
    call.left.set()
    await until(counted, gateway, 0, within=SOON)
    await call.task
    assert call.sent == []


async def test_the_connections_can_be_used_again(start: Start, gateway: Gateway) -> None:
    size = gateway.pool.get_max_size()
    # The fields have begun by then: a task that is cancelled before that leaves a coroutine that was never awaited.
    calls = [start(f"{{ statement block a{number}: greeting }}", deadline=2.0) for number in range(size)]
    assert [(await call.answer())[0] for call in calls] == [504] * size
    async with asyncio.timeout(60):
        assert await asyncio.gather(*(gateway.pool.fetchval("SELECT 1") for _ in range(size))) == [1] * size
    await until(sleeping, gateway, 0, within=10)


async def test_a_mutation_that_is_too_slow_is_rolled_back(start: Start, gateway: Gateway) -> None:
    status, answer = await start("mutation { change(seconds: 600) }").answer()
    assert (status, answer["errors"][0]["extensions"]["code"]) == (504, "TIMEOUT")
    await until(sleeping, gateway, 0, within=SOON)
    assert await gateway.pool.fetchval("SELECT count(*) FROM oauth_clients") == 0


async def test_a_mutation_is_finished_when_the_caller_leaves(start: Start, gateway: Gateway) -> None:
    call = start("mutation { change(seconds: 5) }", deadline=30)
    await until(sleeping, gateway, 1, within=10)
    call.left.set()
    assert (await call.answer())[1] == {"data": {"change": "changed"}}
    assert await gateway.pool.fetchval("SELECT count(*) FROM oauth_clients") == 1


@pytest.mark.parametrize("field", ["statement", "block"])
async def test_postgres_that_does_not_end_a_statement_does_not_hold_the_answer_up(
    start: Start, gateway: Gateway, postgres_url: str, field: str
) -> None:
    relay = Relay(postgres_url)
    address = await relay.open()
    async with await connect_pool(address, size=1, timeout=60) as slow:
        await relay.mute()  # it answers no request to cancel, which takes a connection of its own
        watched, gateway.pool = gateway.pool, slow
        call = start(f"{{ {field} }}", deadline=1.0)
        began = monotonic()
        status, answer = await call.answer()
        assert (status, answer["errors"][0]["extensions"]["code"]) == (504, "TIMEOUT")
        assert monotonic() - began < 30, "not after the 60 seconds that a statement may take"
        assert slow.get_size() == 0, "it has given the connection up"
    await relay.close()
    await watched.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query = $1",
        SLEEP,
    )


async def test_redis_that_answers_nothing_more_does_not_hold_the_answer_up(
    start: Start, gateway: Gateway, redis_url: str
) -> None:
    relay = Relay(redis_url)
    gateway.redis = slow = connect_redis(await relay.open(), timeout=60)
    await slow.ping()
    await relay.mute()
    began = monotonic()
    status, _ = await start("{ list }", deadline=0.5).answer()
    assert (status, monotonic() - began < 30) == (504, True), "not after the 60 seconds that a command may take"
    await slow.aclose()
    await relay.close()


async def test_a_computation_that_waits_for_the_thread_is_dropped(start: Start, gateway: Gateway) -> None:
    """One that runs is finished: Python cannot stop it. It is bounded by the limits of documents and variables."""
    endpoint = GraphQLEndpoint(SCHEMA, graphiql=False, timeout=DEADLINE)
    hold = Event()
    running = asyncio.create_task(endpoint.operations.slow.run("other", hold.wait, 30))
    try:
        call = Call(endpoint, gateway, "{ __schema { types { name } } }")
        status, answer = await call.answer()
        assert (status, answer["errors"][0]["extensions"]["code"]) == (504, "TIMEOUT")
        assert len(endpoint.operations.slow._waiting) == 1, "only the one that runs"
    finally:
        hold.set()
    assert await running
