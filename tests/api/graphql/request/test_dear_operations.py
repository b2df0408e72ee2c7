"""A caller has few dear operations at a time; others wait in a bounded line. Cheap ones wait for nothing."""

import asyncio
from typing import Any

import httpx
import strawberry
from starlette.types import Receive, Scope, Send
from strawberry.schema.config import StrawberryConfig

from api.graphql.request.endpoint import DEAR_AT_ONCE, GraphQLEndpoint
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
        self.another_runs = asyncio.Event()

    async def pass_(self) -> None:
        self.running += 1
        self.another_runs.set()
        await self.open.wait()


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


async def test_dear_operations_of_a_caller_wait_for_each_other_and_no_other_operation_does() -> None:
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
            asked = [asyncio.create_task(ask("greedy", DEAR)) for _ in range(60)]
            refused, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            assert await ask("greedy", CHEAP) == {"data": {"many": []}}
            assert gate.running == 2 * DEAR_AT_ONCE  # each has two lists
            gate.another_runs.clear()
            other = asyncio.create_task(ask("other", DEAR))
            await gate.another_runs.wait()
            gate.open.set()
            answers = [await task for task in [*asked, other]]
    codes = [answer["errors"][0]["extensions"]["code"] for answer in answers if "errors" in answer]
    assert set(codes) == {"RATE_LIMITED"}
    assert len(refused) <= len(codes) == 60 - 32 - DEAR_AT_ONCE
