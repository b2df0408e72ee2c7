"""What a request read is freed at once, so that garbage collections have little to do."""

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
    """A field that is not answered at once."""

    @strawberry.field
    async def later(self, info: Info) -> str | None:
        SEEN.append(weakref.ref(info.context))
        await asyncio.sleep(0)
        return "now"


class Anyone:
    """Accepts every token."""

    async def verify(self, token: str) -> Viewer:
        return Viewer("shop", frozenset(), None, 2**40)


async def test_what_a_request_read_is_freed_without_a_garbage_collection() -> None:
    endpoint = GraphQLEndpoint(strawberry.Schema(Query), graphiql=False, timeout=5)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"gateway": Storeless(), "verifier": Anyone(), "request_id": "r1"}
        await endpoint(scope, receive, send)

    headers = {"authorization": "Bearer t"}
    SEEN.clear()
    gc.disable()
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s", headers=headers) as shop:
            for query in ("{ later }", "{ a: later b: later }"):
                assert "errors" not in (await shop.post("/graphql", json={"query": query})).json()
        assert [seen() for seen in SEEN] == [None] * 3
    finally:
        gc.enable()
