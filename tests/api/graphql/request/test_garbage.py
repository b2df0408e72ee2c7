"""What a request has read is freed with its answer, not by a garbage collection, which delays everybody."""

import asyncio
import gc
import weakref
from typing import Any

import httpx
import strawberry
from starlette.types import Receive, Scope, Send

from api.graphql.context import Info
from api.graphql.request.endpoint import GraphQLEndpoint
from engine.viewer import Viewer
from tests.storeless import Storeless

SEEN: list[weakref.ref[Any]] = []  # the contexts of requests


@strawberry.type
class Query:
    """A field that waits."""

    @strawberry.field
    async def later(self, info: Info) -> str | None:
        SEEN.append(weakref.ref(info.context))
        await asyncio.sleep(0)
        return "now"


class Anyone:
    """Every token is valid."""

    async def verify(self, token: str) -> Viewer:
        return Viewer("shop", frozenset(), None, 2**40)


async def test_what_a_request_read_is_freed_without_a_garbage_collection() -> None:
    endpoint = GraphQLEndpoint(strawberry.Schema(Query), graphiql=False, timeout=5)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"gateway": Storeless(), "verifier": Anyone(), "request_id": "r1"}
        await endpoint(scope, receive, send)

    SEEN.clear()
    gc.disable()
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
            for query in ("{ later }", "{ a: later b: later }"):
                answer = await client.post("/graphql", json={"query": query}, headers={"authorization": "Bearer t"})
                assert "errors" not in answer.json()
        assert [seen() for seen in SEEN] == [None] * 3
    finally:
        gc.enable()
