"""Large inputs and long documents are read in a thread, and too many at once are refused."""

import asyncio
import threading
from typing import Any

import httpx
import pytest
import strawberry
from starlette.types import Receive, Scope, Send
from strawberry.scalars import JSON
from strawberry.schema.config import StrawberryConfig

from api.graphql.request.endpoint import GraphQLEndpoint
from api.graphql.request.slow_work import SlowWork
from api.graphql.types.scalars import SCALARS
from core.errors import Overloaded
from engine.viewer import Viewer


@strawberry.type
class Query:
    """One field that takes anything."""

    @strawberry.field
    def echo(self, value: JSON) -> JSON | None:
        return value


SCHEMA = strawberry.Schema(Query, config=StrawberryConfig(scalar_map=SCALARS))


class Anyone:
    """Every token is valid."""

    async def verify(self, token: str) -> Viewer:
        return Viewer("shop", frozenset(), None, 2**40)


async def ask(query: str, **variables: Any) -> Any:
    endpoint = GraphQLEndpoint(SCHEMA, graphiql=False, timeout=30)

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"gateway": None, "verifier": Anyone(), "request_id": "r1"}
        await endpoint(scope, receive, send)

    headers = {"authorization": "Bearer t"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(call), base_url="http://shop", headers=headers
    ) as client:
        return (await client.post("/graphql", json={"query": query, "variables": variables})).json()


async def test_large_inputs_and_long_documents_are_answered_too() -> None:
    value = [[1]] * 20_000
    assert await ask("query($v: JSON!) { echo(value: $v) }", v=value) == {"data": {"echo": value}}
    assert await ask("{ echo(value: 1) } #" + "x" * 5_000) == {"data": {"echo": 1}}
    (error,) = (await ask("{ nothing } #" + "x" * 5_000))["errors"]
    assert error["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


async def test_too_much_slow_work_is_refused() -> None:
    slow, started, go_on = SlowWork(max_waiting=2), threading.Event(), threading.Event()
    waiting = [asyncio.create_task(slow.run(work, started, go_on)) for _ in range(2)]
    await asyncio.to_thread(started.wait, 10)
    with pytest.raises(Overloaded):
        await slow.run(work, started, go_on)
    go_on.set()
    assert await asyncio.gather(*waiting) == [True, True]
    assert await slow.run(work, started, go_on)


def work(started: threading.Event, go_on: threading.Event) -> bool:
    started.set()
    return go_on.wait(10)
