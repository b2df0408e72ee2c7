"""A caller has few dear operations at a time; others wait a moment for them. Cheap ones wait for nothing."""

import asyncio
from typing import Any

import httpx
import pytest
import strawberry
from starlette.types import Receive, Scope, Send
from strawberry.schema.config import StrawberryConfig

from api.graphql.request.answering import DEAR_AT_ONCE
from api.graphql.request.endpoint import GraphQLEndpoint
from api.graphql.request.limits import MANY_LISTS
from api.graphql.types.scalars import SCALARS
from engine.viewer import Viewer
from tests.storeless import Storeless

DEAR = "{ a: many(first: 100) { a b c d e f g h i: h } b: many(first: 100) { a } }"
CHEAP = "{ many(first: 1) { a } }"
DEADLINE = 10.0  # seconds


@strawberry.type
class Thing:
    """What costs a unit for each field."""

    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
    e: int = 0
    f: int = 0
    g: int = 0
    h: int = 0


class Gate:
    """Where the operations that run wait."""

    def __init__(self) -> None:
        self.open, self.running = asyncio.Event(), 0
        self._another_runs = asyncio.Event()

    async def pass_(self) -> None:
        self.running += 1
        self._another_runs.set()
        await self.open.wait()

    async def next(self) -> None:
        """Wait until another one runs."""
        await self._another_runs.wait()
        self._another_runs.clear()


@strawberry.type
class Query:
    """Lists of any cost, that take time when they have more than one element."""

    @strawberry.field
    async def many(self, info: strawberry.Info, first: int) -> list[Thing]:
        if first > 1:
            await info.context.gateway.gate.pass_()
        return []


SCHEMA = strawberry.Schema(Query, config=StrawberryConfig(scalar_map=SCALARS))


class ByToken:
    """The token is the client's id."""

    async def verify(self, token: str) -> Viewer:
        return Viewer(token, frozenset(), None, 2**40)


MANY = "{ " + " ".join(f"m{n}: many(first: 2) {{ a }}" for n in range(MANY_LISTS + 1)) + " }"  # of few units


@pytest.mark.parametrize(("dear", "lists"), [(DEAR, 2), (MANY, MANY_LISTS + 1)], ids=["units", "lists"])
async def test_dear_operations_of_a_caller_wait_for_each_other_and_no_other_operation_does(
    dear: str, lists: int
) -> None:
    gateway: Any = Storeless()
    gateway.gate = gate = Gate()
    endpoint = GraphQLEndpoint(SCHEMA, graphiql=False, timeout=DEADLINE)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"gateway": gateway, "verifier": ByToken(), "request_id": "r1"}
        await endpoint(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:

        async def ask(caller: str, query: str) -> Any:
            headers = {"authorization": f"Bearer {caller}"}
            return (await client.post("/graphql", json={"query": query}, headers=headers)).json()

        async with asyncio.timeout(DEADLINE):
            asked = [asyncio.create_task(ask("greedy", dear)) for _ in range(10)]
            while gate.running < lists * DEAR_AT_ONCE:
                await gate.next()
            assert await ask("greedy", CHEAP) == {"data": {"many": []}}
            assert gate.running == lists * DEAR_AT_ONCE
            other = asyncio.create_task(ask("other", dear))
            while gate.running < lists * (DEAR_AT_ONCE + 1):
                await gate.next()
            while gate.running < lists * (len(asked) + 1):  # they have waited long enough
                await gate.next()
            gate.open.set()
            answers = [await task for task in [*asked, other]]
    assert all(list(answer) == ["data"] and len(answer["data"]) == lists for answer in answers)
