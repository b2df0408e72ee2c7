"""Expensive reads take Postgres from nobody: they have a share of it, and so has each caller."""

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from starlette.types import Message, Scope

from api.gateway import Gateway
from api.graphql.request.endpoint import GraphQLEndpoint
from api.graphql.schema import SCHEMA
from core import clock
from core.contract import Person
from db.cache import read_person
from db.postgres import Pool
from db.shares import CALLER_WAITING, share_out
from db.users import upsert_users, user_by_id
from engine.scopes import SCOPES
from engine.viewer import Viewer
from tests.faults import eventually
from tests.fixtures.gateway import Ask, IssuedTokens

ANNA = Person("user", "anna")
CALLS, ALIASES = 18, 19
LIGHT = 'user(id: "anna") { traits }'
EXPENSIVE = 3  # connections of a pool of ten


def trending(call: int) -> str:
    """A light field and many windows; together the calls ask for a window of almost every day of the year."""
    days = [1 + (call * ALIASES + alias) % 365 for alias in range(ALIASES)]
    return f"{{ {LIGHT} {' '.join(f'd{day}: trending(window: {day_of(day)}) {{ nodes {{ id }} }}' for day in days)} }}"


def day_of(day: int) -> str:
    return f'"P{day}D"'


def history(call: int) -> str:
    """A light field and the histories of many people."""
    people = (f'a{n}: user(id: "u{call}-{n}") {{ history(first: 5) {{ nodes {{ id }} }} }}' for n in range(ALIASES))
    return f"{{ {LIGHT} {' '.join(people)} }}"


@pytest.fixture
async def anna(pool: Pool) -> None:
    await upsert_users(pool, [{"id": "anna", "traits": {"city": "Bonn"}, "updated_at": clock.now()}])


@pytest.fixture
async def reported() -> list[dict[str, Any]]:
    """What asyncio reports, such as an exception that was never retrieved."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    return found


@asynccontextmanager
async def locked(pool: Pool, table: str) -> AsyncIterator[None]:
    """Every statement about the table waits until the block ends."""
    async with pool.acquire() as held, held.transaction():
        await held.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


async def waiting(pool: Pool) -> int:
    """The statements of this database that wait for a lock."""
    found: int = await pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        " AND leader_pid IS NULL"
    )
    return found


async def until_waiting(pool: Pool, count: int) -> None:
    async def holds() -> bool:
        return await waiting(pool) == count

    await eventually(holds)


@pytest.mark.parametrize("attack", [trending, history])
async def test_many_expensive_reads_of_one_caller_leave_postgres_to_the_others(
    ask: Ask, pool: Pool, anna: None, reported: list[dict[str, Any]], attack: Any
) -> None:
    async with locked(pool, "events"):
        calls = [asyncio.create_task(ask(attack(call))) for call in range(CALLS)]
        left, most = set(calls), 0
        while left:
            answer = await ask(f"{{ {LIGHT} }}", person=ANNA)
            assert answer.data == {"user": {"traits": {"city": "Bonn"}}}
            most = max(most, await waiting(pool))
            _, left = await asyncio.wait(left, timeout=0.05)
    assert 1 <= most < EXPENSIVE
    for answer in await asyncio.gather(*calls):
        assert answer.data["user"] == {"traits": {"city": "Bonn"}}
        assert set(answer.codes) <= {"RATE_LIMITED", "SERVICE_UNAVAILABLE"}
    codes = Counter(code for call in calls for code in call.result().codes)
    assert codes["RATE_LIMITED"] > 0
    await until_waiting(pool, 0)
    await asyncio.sleep(0)
    gc.collect()
    assert reported == []


async def test_many_callers_fill_the_share_and_nothing_else(ask: Ask, pool: Pool, anna: None) -> None:
    people = [Person("user", f"u{number}") for number in range(60)]
    query = f"{{ me {{ history {{ nodes {{ id }} }} }} visitor: {LIGHT} }}"
    async with locked(pool, "events"):
        calls = [asyncio.create_task(ask("{ me { history { nodes { id } } } }", person=each)) for each in people]
        await until_waiting(pool, EXPENSIVE)
        answer = await ask(f"{{ {LIGHT} }}", person=ANNA)
        assert answer.data == {"user": {"traits": {"city": "Bonn"}}}
        refused = await ask(query)
        assert (refused.data["visitor"], refused.codes) == ({"traits": {"city": "Bonn"}}, [])
        assert await waiting(pool) <= EXPENSIVE
    codes = Counter(code for answer in await asyncio.gather(*calls) for code in answer.codes)
    assert set(codes) <= {"SERVICE_UNAVAILABLE"}


async def test_a_caller_who_is_refused_everything_gets_429_and_when_to_try_again(gateway: Gateway, pool: Pool) -> None:
    gateway.shares = share_out(pool, 600)
    caller, query = Caller(gateway), '{ user(id: "u") { history(first: 5) { nodes { id } } } }'
    await caller.send(query)  # its document is kept from now on, so that all ask at once
    own = gateway.shares.expensive._callers.of(caller.viewer.caller)

    async def as_many_wait_as_may() -> bool:
        return own.waiting == CALLER_WAITING

    async with locked(pool, "events"):
        others = [asyncio.create_task(caller.send(query)) for _ in range(EXPENSIVE - 1 + CALLER_WAITING)]
        await eventually(as_many_wait_as_may)
        status, headers = await caller.send("{ trending { nodes { id } } }")
        assert (status, headers[b"retry-after"]) == (429, b"1")
    assert {status for status, _ in await asyncio.gather(*others)} == {200}
    assert await caller.send("{ trending { nodes { id } } }") != (429, headers)


class Caller:
    """Calls the endpoint as a server does, and may close the connection."""

    def __init__(self, gateway: Gateway) -> None:
        self._endpoint = GraphQLEndpoint(SCHEMA, graphiql=False, timeout=30)
        self._gateway, self._tokens = gateway, IssuedTokens()
        self.viewer = Viewer("tests", frozenset(SCOPES), None, 2**33)
        self._token = self._tokens.issue(self.viewer)
        self.gone = asyncio.Event()

    async def send(self, query: str) -> tuple[int, dict[bytes, bytes]]:
        """The status and the headers of the answer; (0, {}) without one."""
        unread = [orjson.dumps({"query": query})]
        sent: list[Message] = []

        async def receive() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope: Scope = {
            "type": "http",
            "method": "POST",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json"), (b"authorization", f"Bearer {self._token}".encode())],
            "state": {"gateway": self._gateway, "verifier": self._tokens, "request_id": "request"},
        }
        await self._endpoint(scope, receive, send)
        return (sent[0]["status"], dict(sent[0]["headers"])) if sent else (0, {})


@pytest.mark.parametrize(
    "query", ["{ trending { nodes { id } } }", '{ user(id: "u") { history { nodes { id } } known } }']
)
async def test_the_statements_of_a_caller_who_disconnects_end(
    gateway: Gateway, pool: Pool, reported: list[dict[str, Any]], query: str
) -> None:
    caller = Caller(gateway)
    async with locked(pool, "events"):
        call = asyncio.create_task(caller.send(query))

        async def runs() -> bool:
            return await waiting(pool) > 0

        await eventually(runs)
        caller.gone.set()
        assert await call == (0, {})
        await until_waiting(pool, query.count("known"))  # a person's state is read to its end: it is kept for the next

    async def kept() -> bool:
        return "known" not in query or (await read_person(gateway.redis, Person("user", "u")))[0] is not None

    await eventually(kept)
    await asyncio.sleep(0)
    gc.collect()
    assert reported == []


async def test_a_mutation_that_was_begun_is_finished_for_a_caller_who_disconnects(gateway: Gateway, pool: Pool) -> None:
    caller = Caller(gateway)
    mutation = 'mutation { upsertUsers(users: [{id: "ben", traits: {}}]) { accepted } }'
    async with locked(pool, "users"):
        call = asyncio.create_task(caller.send(mutation))
        await until_waiting(pool, 1)
        caller.gone.set()
        done, _ = await asyncio.wait({call}, timeout=0.2)
        assert not done
    assert (await call)[0] == 200
    assert await user_by_id(pool, "ben") is not None


async def test_the_same_window_under_many_aliases_is_one_read(ask: Ask, pool: Pool) -> None:
    aliases = " ".join(f"a{n}: trending {{ nodes {{ id }} }}" for n in range(20))
    async with locked(pool, "events"):
        calls = [asyncio.create_task(ask(f"{{ {aliases} }}")) for _ in range(10)]
        await until_waiting(pool, 1)
    answers = await asyncio.gather(*calls)
    assert [answer.codes for answer in answers] == [[]] * 10
