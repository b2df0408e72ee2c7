"""Persisted documents over /graphql: trusted ones, automatic ones, and clients that may send no texts."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from hashlib import sha256
from typing import Any

import httpx
import pytest
import strawberry
from redis.asyncio import Redis
from starlette.types import Receive, Scope, Send

from api.graphql.context import Info
from api.graphql.request.endpoint import GraphQLEndpoint
from api.graphql.request.persisted import store
from api.graphql.request.persisted.store import ClientDocuments
from core.errors import StoreUnavailable
from db.automatic_documents import read_automatic
from db.cache import connect_redis
from db.clients import Client, create_client
from db.documents import TrustedDocument, digest_of, push_documents, remove_documents, require_documents
from db.postgres import Pool
from engine.viewer import Viewer
from tests.faults import Relay
from tests.storeless import Storeless

HELLO, CALL = "query Hello($n: String!) { hello(name: $n) trusted }", "mutation { call }"
BOTH = "query A { hello(name: 1) } query B { hello(name: 2) }".replace("1", '"a"').replace("2", '"b"')
FOR = {"n": "you"}


@strawberry.type
class Query:
    """A greeting, and what the context says of the document."""

    @strawberry.field
    def hello(self, name: str) -> str:
        return f"hello {name}"

    @strawberry.field
    def trusted(self, info: Info) -> str | None:
        return info.context.trusted_document


@strawberry.type
class Mutation:
    """One."""

    @strawberry.mutation
    def call(self) -> str:
        return "called"


SCHEMA = strawberry.Schema(Query, Mutation)


class Tokens:
    """A token is the id of its client; `schema` may read the schema."""

    async def verify(self, token: str) -> Viewer:
        return Viewer(token, frozenset({"schema:read"} if token == "schema" else ()), None, 2**40)


class Counted:
    """A pool that counts its statements, and that may be away."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self.statements, self.away = pool, 0, False

    def __getattr__(self, name: str) -> Any:
        self.statements += 1
        if self.away:
            raise StoreUnavailable("postgres")
        return getattr(self._pool, name)


Process = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@asynccontextmanager
async def process(pool: Any, redis: Redis | None, poll: float = 0.0) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway process of its own; without Redis there is no store of documents at all."""
    documents = None if redis is None else ClientDocuments(pool, redis, poll=poll)
    endpoint = GraphQLEndpoint(SCHEMA, graphiql=False, timeout=5)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        state = {"gateway": Storeless(), "verifier": Tokens(), "request_id": "r1"}
        scope["state"] = state if documents is None else state | {"documents": documents}
        await endpoint(scope, receive, send)

    headers = {"authorization": "Bearer web", "accept": "application/graphql-response+json"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop", headers=headers) as opened:
        yield opened
    if documents is not None:
        await documents.close()


@pytest.fixture
async def web(pool: Pool, redis: Redis) -> AsyncIterator[httpx.AsyncClient]:
    for client_id in ("web", "app"):
        await create_client(pool, Client(client_id, None, (), ()))
    async with process(pool, redis) as opened:
        yield opened


def document(text: str, *aliases: str) -> TrustedDocument:
    return TrustedDocument(digest_of(text), text, "", "query", aliases)


def hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def automatic(hash: str, version: Any = 1) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": version, "sha256Hash": hash}}}


async def get(client: httpx.AsyncClient, client_id: str = "web", **parameters: Any) -> httpx.Response:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
    return await client.get("/graphql", params=texts, headers={"authorization": f"Bearer {client_id}"})


async def post(client: httpx.AsyncClient, client_id: str = "web", **body: Any) -> httpx.Response:
    return await client.post("/graphql", json=body, headers={"authorization": f"Bearer {client_id}"})


def outcome(response: httpx.Response) -> tuple[int, str, str]:
    """The status, the code and the message of an answer that is one error, and has no data."""
    answer = response.json()
    assert "data" not in answer
    (error,) = answer["errors"]
    return response.status_code, error["extensions"]["code"], error["message"]


UNKNOWN = (200, "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")


@pytest.mark.parametrize("send", [get, post])
@pytest.mark.parametrize(
    "named",
    [
        {"documentId": hashed(HELLO)},
        {"documentId": hashed(HELLO).upper()},
        {"documentId": f"sha256:{hashed(HELLO)}"},
        {"documentId": "page-1"},
        automatic(hashed(HELLO)),
        automatic("page-1"),
    ],
    ids=["digest", "capitals", "prefixed", "alias", "Apollo's hash", "Apollo's id"],
)
async def test_a_trusted_document_runs_by_each_of_its_ids(
    web: httpx.AsyncClient, pool: Pool, send: Callable[..., Any], named: dict[str, Any]
) -> None:
    assert outcome(await send(web, **named, variables=FOR)) == UNKNOWN
    await push_documents(pool, "web", [document(HELLO, "page-1")])
    answer = await send(web, **named, variables=FOR)
    assert answer.json() == {"data": {"hello": "hello you", "trusted": hashed(HELLO)}}
    assert outcome(await send(web, "app", **named, variables=FOR)) == UNKNOWN, "it is the client's own"


async def test_a_text_is_not_trusted_even_when_it_is_that_of_a_trusted_document(
    web: httpx.AsyncClient, pool: Pool
) -> None:
    await push_documents(pool, "web", [document(HELLO)])
    assert (await post(web, query=HELLO, variables=FOR)).json()["data"]["trusted"] is None
    assert (await post(web, query=HELLO, variables=FOR, **automatic(hashed(HELLO)))).json()["data"]["trusted"] is None
    assert (await post(web, **automatic(hashed(HELLO)), variables=FOR)).json()["data"]["trusted"] == hashed(HELLO)


async def test_a_trusted_document_is_checked_as_its_text_is(web: httpx.AsyncClient, pool: Pool) -> None:
    texts = [BOTH, CALL, "{ nothing }", "{ __schema { types { name } } }", "fragment F on Query { __typename }"]
    await push_documents(pool, "web", [document(text) for text in texts])
    assert (await get(web, documentId=hashed(BOTH), operationName="B")).json() == {"data": {"hello": "hello b"}}
    assert outcome(await get(web, documentId=hashed(BOTH)))[:2] == (400, "BAD_USER_INPUT")
    assert outcome(await get(web, documentId=hashed(CALL)))[:2] == (405, "METHOD_NOT_ALLOWED")
    assert (await post(web, documentId=hashed(CALL))).json() == {"data": {"call": "called"}}
    assert outcome(await get(web, documentId=hashed(texts[2])))[:2] == (400, "GRAPHQL_VALIDATION_FAILED")
    assert outcome(await get(web, documentId=hashed(texts[3])))[:2] == (403, "FORBIDDEN")
    assert outcome(await get(web, documentId=hashed(texts[4])))[:2] == (400, "GRAPHQL_VALIDATION_FAILED")


async def test_a_removed_document_is_unknown_and_a_pushed_one_is_known_again(
    web: httpx.AsyncClient, pool: Pool
) -> None:
    for _ in range(2):
        await push_documents(pool, "web", [document(HELLO, "page-1")])
        assert (await get(web, documentId="page-1", variables=FOR)).status_code == 200
        await remove_documents(pool, "web", ["page-1"])
        assert outcome(await get(web, documentId="page-1", variables=FOR)) == UNKNOWN
        assert outcome(await get(web, documentId=hashed(HELLO), variables=FOR)) == UNKNOWN


async def test_a_client_that_was_deleted_and_created_again_runs_its_own_documents(
    web: httpx.AsyncClient, pool: Pool
) -> None:
    other = HELLO.replace("hello(", "said: hello(")
    assert other != HELLO
    for text, key in ((HELLO, "hello"), (other, "said")):
        await push_documents(pool, "web", [document(text, "greeting")])
        found = await get(web, documentId="greeting", variables={"n": "you"})
        assert list(found.json()["data"]) == [key, "trusted"]
        await pool.execute("DELETE FROM oauth_clients WHERE id = 'web'")
        await create_client(pool, Client("web", None, (), ()))


async def test_known_and_unknown_ids_ask_postgres_once(web: httpx.AsyncClient, pool: Pool, redis: Redis) -> None:
    await push_documents(pool, "web", [document(HELLO)])
    counted = Counted(pool)
    async with process(counted, redis, poll=1_000) as other:
        for id, statements in ((hashed(HELLO), 2), ("unknown", 1), (hashed("{ unknown }"), 1)):
            before = counted.statements
            first = await get(other, documentId=id, variables=FOR)
            assert counted.statements == before + statements
            assert (await get(other, documentId=id, variables=FOR)).json() == first.json()
            assert counted.statements == before + statements
        assert outcome(await get(other, "app", documentId="unknown")) == UNKNOWN, "a client without documents"
        assert counted.statements == 4


async def test_what_a_process_keeps_is_bounded(
    web: httpx.AsyncClient, pool: Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_KEPT", 800)
    monkeypatch.setattr(store, "MAX_UNKNOWN", 2)
    texts = [f'{{ hello(name: "{"x" * 100}{number}") }}' for number in range(5)]
    await push_documents(pool, "web", [document(text) for text in texts])
    counted = Counted(pool)
    async with process(counted, redis, poll=1_000) as other:
        for _ in range(2):
            for text in texts:
                assert (await get(other, documentId=hashed(text))).status_code == 200
                assert outcome(await get(other, documentId=f"no {text[-6:]}")) == UNKNOWN
    assert counted.statements == 1 + 2 * 2 * len(texts), "each was forgotten before it was asked for again"


async def test_while_postgres_is_away_known_documents_run_and_others_are_503(
    web: httpx.AsyncClient, pool: Pool, redis: Redis
) -> None:
    await push_documents(pool, "web", [document(HELLO)])
    counted = Counted(pool)
    async with process(counted, redis, poll=1_000) as other:
        counted.away = True
        assert outcome(await post(other, query=HELLO, variables=FOR))[:2] == (503, "SERVICE_UNAVAILABLE"), (
            "nothing says yet that this client may send texts"
        )
    async with process(counted, redis) as other:
        counted.away = False
        assert (await get(other, documentId=hashed(HELLO), variables=FOR)).status_code == 200
        counted.away = True
        assert (await get(other, documentId=hashed(HELLO), variables=FOR)).status_code == 200
        assert (await post(other, query=HELLO, variables=FOR)).status_code == 200
        assert outcome(await get(other, documentId="other"))[:2] == (503, "SERVICE_UNAVAILABLE")
        await post(other, query=BOTH, operationName="A", **automatic(hashed(BOTH)))
        assert (await post(other, operationName="A", **automatic(hashed(BOTH)))).status_code == 200


@pytest.mark.parametrize("send", [get, post])
async def test_an_automatic_document_is_registered_once_for_all_processes(
    web: httpx.AsyncClient, pool: Pool, redis: Redis, send: Callable[..., Any]
) -> None:
    assert outcome(await send(web, **automatic(hashed(HELLO)), variables=FOR)) == UNKNOWN
    expected = {"data": {"hello": "hello you", "trusted": None}}
    assert (await send(web, query=HELLO, **automatic(hashed(HELLO)), variables=FOR)).json() == expected
    assert (await send(web, **automatic(hashed(HELLO)), variables=FOR)).json() == expected
    async with process(pool, redis) as other:
        assert (await send(other, **automatic(hashed(HELLO)), variables=FOR)).json() == expected
        assert (await send(other, documentId=hashed(HELLO), variables=FOR)).json() == expected
        assert outcome(await send(other, "app", **automatic(hashed(HELLO)), variables=FOR)) == UNKNOWN


@pytest.mark.parametrize("send", [get, post])
async def test_a_wrong_hash_is_400_and_nothing_is_stored(
    web: httpx.AsyncClient, redis: Redis, send: Callable[..., Any]
) -> None:
    for wrong in (hashed(CALL), "page-1", "0"):
        refused = await send(web, query=HELLO, **automatic(wrong), variables=FOR)
        assert outcome(refused)[:2] == (400, "BAD_REQUEST")
        assert outcome(await send(web, **automatic(wrong), variables=FOR)) == UNKNOWN
    assert await redis.keys("document*") == []


async def test_an_invalid_text_is_not_stored(web: httpx.AsyncClient, redis: Redis) -> None:
    for text in ("{ nothing }", "{", "{ " + "hello " * 30 + "}", "# " + "x" * 70_000):
        await post(web, query=text, **automatic(hashed(text)))
        assert outcome(await post(web, **automatic(hashed(text)))) == UNKNOWN
    assert await redis.keys("document*") == []


async def test_without_redis_a_text_is_answered_and_its_hash_works_in_the_same_process(pool: Pool) -> None:
    async with connect_redis("redis://127.0.0.1:1/0", timeout=0.5) as nobody, process(pool, nobody) as alone:
        assert outcome(await post(alone, **automatic(hashed(HELLO)))) == UNKNOWN
        answer = await post(alone, query=HELLO, **automatic(hashed(HELLO)), variables=FOR)
        assert answer.json()["data"]["hello"] == "hello you"
        assert (await get(alone, **automatic(hashed(HELLO)), variables=FOR)).json() == answer.json()


async def test_a_redis_that_hangs_refuses_nobody(pool: Pool, redis_url: str) -> None:
    relay = Relay(redis_url)
    async with connect_redis(await relay.open(mute=True), timeout=0.3) as hung, process(pool, hung) as alone:
        texts = [f'{{ a{number}: hello(name: "you") }}' for number in range(70)]
        answers = await asyncio.gather(*(post(alone, query=text, **automatic(hashed(text))) for text in texts))
        assert {answer.status_code for answer in answers} == {200}
        assert all("data" in answer.json() for answer in answers)
        known = await asyncio.gather(*(get(alone, **automatic(hashed(text))) for text in texts))
        assert all("data" in answer.json() for answer in known)
        unknown = await asyncio.gather(*(get(alone, **automatic(hashed(f"{n}"))) for n in range(70)))
        assert {outcome(answer) for answer in unknown} == {UNKNOWN}
    await relay.close()


async def test_another_version_is_not_supported(web: httpx.AsyncClient) -> None:
    for version in (2, "1", None):
        bodies: list[dict[str, Any]] = [{}, {"query": HELLO, "variables": FOR}]
        for more in bodies:
            refused = await post(web, **automatic(hashed(HELLO), version), **more)
            assert outcome(refused) == (400, "PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported")


async def test_a_process_without_documents_supports_none(pool: Pool) -> None:
    async with process(pool, None) as alone:
        assert outcome(await post(alone, **automatic(hashed(HELLO))))[1] == "PERSISTED_QUERY_NOT_SUPPORTED"
        assert (await post(alone, query=HELLO, variables=FOR)).status_code == 200


@pytest.mark.parametrize("send", [get, post])
async def test_a_client_in_require_mode_runs_trusted_documents_only(
    web: httpx.AsyncClient, pool: Pool, redis: Redis, send: Callable[..., Any]
) -> None:
    await push_documents(pool, "web", [document(HELLO)])
    await send(web, query=BOTH, operationName="A", **automatic(hashed(BOTH)))
    await require_documents(pool, "web", required=True)
    for named in ({}, automatic(hashed(HELLO))):
        refused = await send(web, query=HELLO, variables=FOR, **named)
        assert outcome(refused)[:2] == (403, "PERSISTED_QUERY_REQUIRED")
    assert (await send(web, documentId=hashed(HELLO), variables=FOR)).json()["data"]["trusted"] == hashed(HELLO)
    assert outcome(await send(web, operationName="A", **automatic(hashed(BOTH)))) == UNKNOWN, "that one is automatic"
    assert (await send(web, "app", query=HELLO, variables=FOR)).status_code == 200, "another client may"
    await require_documents(pool, "web", required=False)
    assert (await send(web, query=HELLO, variables=FOR)).status_code == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"documentId": "a", "query": HELLO}, "not both"),
        ({"documentId": 1}, "documentId must be"),
        ({"documentId": ""}, "documentId must be"),
        ({"documentId": "a" * 129}, "documentId must be"),
        ({"documentId": "a\u0000b"}, "documentId must be"),
        ({"extensions": {"persistedQuery": "a"}}, "persistedQuery must be an object"),
        ({"extensions": {"persistedQuery": {"version": 1}}}, "sha256Hash must be"),
        ({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": ["a"]}}}, "sha256Hash must be"),
        ({"query": "", **automatic("a")}, "query must be"),
        ({"query": 5, **automatic("a")}, "query must be"),
        ({"query": None, "documentId": None}, "query must be"),
    ],
)
async def test_malformed_ids_are_400(web: httpx.AsyncClient, body: dict[str, Any], said: str) -> None:
    status, code, message = outcome(await post(web, **body))
    assert (status, code) == (400, "BAD_REQUEST")
    assert said in message


async def test_a_registered_text_is_stored_as_it_is(web: httpx.AsyncClient, redis: Redis) -> None:
    text = '{ hello(name: "é") }  # é'
    await post(web, query=text, **automatic(hashed(text)))
    assert await read_automatic(redis, "web", hashed(text)) == text
