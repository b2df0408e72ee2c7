"""Introspection needs the scope schema:read by every way in: by POST and GET, in fragments, and by a document's id."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from starlette.types import Receive, Scope, Send

from api.graphql.request.endpoint import GraphQLEndpoint
from api.graphql.request.persisted.store import ClientDocuments
from api.graphql.schema import SCHEMA
from db.clients import Client, create_client
from db.documents import TrustedDocument, digest_of, push_documents
from db.postgres import Pool
from engine.viewer import Viewer
from tests.storeless import Storeless

QUERIES = [
    "{ __schema { types { name } } }",
    '{ __type(name: "Query") { name } }',
    "query A { __typename } query B { __schema { types { name } } }",
    "{ ... { ... on Query { __schema { types { name } } } } }",
    '{ ...F } fragment F on Query { ...G } fragment G on Query { __type(name: "Query") { name } }',
    "query($no: Boolean = false) { __schema @skip(if: $no) { types { name } } }",
]


class Tokens:
    """A token is a list of scopes of one client."""

    async def verify(self, token: str) -> Viewer:
        return Viewer("web", frozenset(token.split("+")), None, 2**40)


@pytest.fixture
async def client(pool: Pool, redis: Redis) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose documents are the queries."""
    await create_client(pool, Client("web", None, (), ()))
    trusted = [TrustedDocument(digest_of(query), query, "", "query") for query in QUERIES]
    await push_documents(pool, "web", trusted)
    documents, endpoint = ClientDocuments(pool, redis), GraphQLEndpoint(SCHEMA, graphiql=False, timeout=30)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"gateway": Storeless(), "verifier": Tokens(), "request_id": "r", "documents": documents}
        await endpoint(scope, receive, send)

    accept = {"accept": "application/graphql-response+json"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop", headers=accept) as opened:
        yield opened
    await documents.close()


@pytest.mark.parametrize("query", QUERIES)
async def test_introspection_needs_its_scope_by_every_way_in(client: httpx.AsyncClient, query: str) -> None:
    name = {"operationName": "B"} if query.startswith("query A") else {}
    ways: list[tuple[str, dict[str, Any]]] = [
        (method, {place: {**document, **name}})
        for document in ({"query": query}, {"documentId": digest_of(query).hex()})
        for method, place in (("POST", "json"), ("GET", "params"))
    ]
    for method, parts in ways:
        answers = [
            await client.request(method, "/graphql", **parts, headers={"authorization": f"Bearer {scopes}"})
            for scopes in ("schema:read", "catalog:read+models:read", "schema:read+catalog:read")
        ]
        assert [answer.status_code for answer in answers] == [200, 403, 200]
        assert answers[1].json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        assert "data" not in answers[1].json()


async def test_the_name_of_the_root_type_needs_no_scope(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/graphql", json={"query": "{ __typename }"}, headers={"authorization": "Bearer catalog:read"}
    )
    assert answer.json() == {"data": {"__typename": "Query"}}
