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

from api.graphql.request.documents import Document, Documents
from api.graphql.request.endpoint import GraphQLEndpoint
from api.graphql.request.slow_work import CALLER_PLACES, CALLER_WAITING, SlowWork
from api.graphql.types.scalars import SCALARS
from core.errors import Overloaded, RateLimited
from engine.viewer import Viewer
from tests.storeless import Storeless


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
    return await ask_of(GraphQLEndpoint(SCHEMA, graphiql=False, timeout=30), query, variables)


async def ask_of(endpoint: GraphQLEndpoint, query: str, variables: dict[str, Any]) -> Any:
    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"gateway": Storeless(), "verifier": Anyone(), "request_id": "r1"}
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
    waiting = [asyncio.create_task(slow.run(caller, work, started, go_on)) for caller in "ab"]
    await asyncio.to_thread(started.wait, 10)
    with pytest.raises(Overloaded):
        await slow.run("c", work, started, go_on)
    go_on.set()
    assert await asyncio.gather(*waiting) == [True, True]
    assert await slow.run("c", work, started, go_on)


async def test_a_caller_with_much_slow_work_is_refused_and_others_are_not() -> None:
    slow, started, go_on = SlowWork(), threading.Event(), threading.Event()
    most = CALLER_PLACES + CALLER_WAITING
    waiting = [asyncio.create_task(slow.run("greedy", work, started, go_on)) for _ in range(most)]
    await asyncio.to_thread(started.wait, 10)
    with pytest.raises(RateLimited):
        await slow.run("greedy", work, started, go_on)
    other = asyncio.create_task(slow.run("other", work, started, go_on))
    go_on.set()
    assert await other
    assert await asyncio.gather(*waiting) == [True] * most


async def test_a_document_that_many_ask_for_at_once_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = list[str]()
    prepare = Documents.prepare

    def count(self: Documents, text: str, hide_suggestions: bool = True) -> Document:
        prepared.append(text)
        return prepare(self, text, hide_suggestions)

    endpoint, text = GraphQLEndpoint(SCHEMA, graphiql=False, timeout=30), "{ echo(value: 1) } #" + "x" * 5_000
    monkeypatch.setattr(Documents, "prepare", count)
    answers = await asyncio.gather(*(ask_of(endpoint, text, {}) for _ in range(60)))
    assert answers == [{"data": {"echo": 1}}] * 60
    assert prepared == [text]


def work(started: threading.Event, go_on: threading.Event) -> bool:
    started.set()
    return go_on.wait(10)
