"""What caches may keep: answers of trusted documents with public fields alone, of nobody, without errors."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from api.graphql.request.answers.public import without_person
from api.oauth.clients.registration import register
from api.oauth.grant_types import CLIENT_CREDENTIALS, TOKEN_EXCHANGE, USER_ID
from core import clock
from core.contract import Person
from core.settings import Stores
from core.uploads import ItemPatch
from db.clients import create_client, disable_client, set_client_scopes
from db.documents import TrustedDocument, digest_of, push_documents
from db.items import upsert_items
from db.postgres import Pool
from engine.scopes import SCOPES
from engine.viewer import Viewer
from tests.erasing import authorize
from tests.in_process import Configured, asked
from tests.running import CLIENT, SECRET
from tests.shared_cache import SharedCache

ITEM = "query Item($id: ID!) { item(id: $id) { id title } }"
PRICE = "query Price($id: ID!) { item(id: $id) { title price { amount } } }"
TITLES = "query Titles($ids: [ID!]) { items(ids: $ids, first: 100) { nodes { title } } }"
TRENDING = "{ trending { nodes { id } } }"
NEAR = '{ item(id: "milk") { similar { edges { rank reason { code text item { title } } node { title } } } } }'
BOTH = 'query A { item(id: "milk") { title } } query B { item(id: "milk") { title } trending { impressionId } }'
PERSONAL = [
    "{ me { id } }",
    '{ user(id: "anna") { known } }',
    '{ item(id: "milk") { title } me { id } }',
    "{ trending { impressionId nodes { id } } }",
    "{ trending { edges { probability } } }",
    "{ trending { edges { reason { events { id } } } } }",
    "query ($no: Boolean!) { trending { nodes { id } impressionId @include(if: $no) } }",
    "{ trending { nodes { ...F } } } fragment F on Item { id similar { ... { impressionId } } }",
    '{ node(nodeId: "SXRlbTptaWxr") { nodeId ... on Item { title } } }',
    "{ readiness: __typename }",
]
DOCUMENTS = [ITEM, PRICE, TITLES, TRENDING, NEAR, BOTH, *PERSONAL, "{ nothing }"]
NO_STORE = "private, no-store"


@asynccontextmanager
async def serving(stores: Stores, tokenless: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    settings = Configured(stores)
    settings.gateway = settings.gateway.model_copy(update={"tokenless_client": tokenless})
    async with asked(settings) as client:
        yield client


@pytest.fixture
async def shop(stores: Stores, pool: Pool, redis: Redis, channel: AbstractChannel) -> Stores:
    """A shop with items, and a client with documents."""
    items: list[ItemPatch] = [
        {"id": id, "title": id.upper(), "updated_at": clock.now()} for id in ("milk", "soap", "öl & salz")
    ]
    await upsert_items(pool, items)
    grants = [CLIENT_CREDENTIALS, TOKEN_EXCHANGE]
    await create_client(pool, register(CLIENT, SECRET, grants=grants, scope=" ".join(SCOPES)))
    documents = [
        TrustedDocument(digest_of(text), text, "", "query", (f"alias-{n}",)) for n, text in enumerate(DOCUMENTS)
    ]
    await push_documents(pool, CLIENT, documents)
    return stores


@pytest.fixture
async def http(shop: Stores) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(shop) as client:
        await authorize(client, grant_type=CLIENT_CREDENTIALS)
        yield client


def hash_of(text: str) -> str:
    return digest_of(text).hex()


async def get(client: httpx.AsyncClient, text: str, *, headers: Any = None, **parameters: Any) -> httpx.Response:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
    return await client.get("/graphql", params={"documentId": hash_of(text), **texts}, headers=headers)


def kept(response: httpx.Response) -> str:
    """Cache-Control. What goes with it, and nothing of the caller, is there exactly where it says public."""
    control = response.headers["cache-control"]
    public = control.startswith("public")
    assert ("etag" in response.headers, "surrogate-key" in response.headers) == (public, public)
    assert not public or not any(name.startswith(("ratelimit", "set-cookie")) for name in response.headers)
    return str(control)


PUBLIC: list[tuple[str, dict[str, Any], int, str]] = [
    (ITEM, {"id": "milk"}, 300, "catalogue item:milk"),
    (PRICE, {"id": "milk"}, 60, "catalogue item:milk"),
    (ITEM, {"id": "öl & salz"}, 300, "catalogue item:%C3%B6l%20%26%20salz"),
    (ITEM, {"id": "none yet"}, 300, "catalogue item:none%20yet"),
    (TITLES, {}, 60, "catalogue items item:milk item:soap item:%C3%B6l%20%26%20salz"),
    (TITLES, {"ids": ["soap", "gone", "soap"]}, 60, "catalogue items item:soap item:gone"),
    (TITLES, {"ids": [f"item {n}" for n in range(201)]}, 60, "catalogue items many-items"),
    (TITLES, {"ids": [f"{n:0120}" for n in range(40)]}, 60, "catalogue items many-items"),
    (TRENDING, {}, 60, "catalogue trending"),
]
"""Documents with variables, and how long everybody may keep the answer, by which keys."""


async def test_everybody_may_keep_the_answer_to_a_public_document(http: httpx.AsyncClient) -> None:
    for text, variables, age, keys in PUBLIC:
        answer = await get(http, text, variables=variables)
        assert "errors" not in answer.json()
        assert (kept(answer), answer.headers["surrogate-key"]) == (f"public, max-age={age}", keys)
        assert "Accept" in answer.headers["vary"]


async def test_the_items_of_a_list_and_of_its_reasons_are_its_keys(http: httpx.AsyncClient) -> None:
    answer = await get(http, NEAR)
    assert len(answer.json()["data"]["item"]["similar"]["edges"]) == 2
    assert set(answer.headers["surrogate-key"].split()) == {
        "catalogue", "item:milk", "item:soap", "item:%C3%B6l%20%26%20salz",
    }  # fmt: skip


async def test_nobody_keeps_an_answer_that_has_one_private_field(http: httpx.AsyncClient) -> None:
    for text in PERSONAL:
        assert kept(await get(http, text, variables={"no": False})) == NO_STORE, text


async def test_nobody_keeps_the_answer_to_a_request_that_names_no_trusted_document_by_its_hash(
    http: httpx.AsyncClient,
) -> None:
    milk = {"variables": {"id": "milk"}}
    asked = [
        await http.post("/graphql", json={"documentId": hash_of(ITEM), **milk}),
        await http.post("/graphql", json={"query": ITEM, **milk}),
        await http.get("/graphql", params={"query": ITEM, "variables": '{"id": "milk"}'}),
        await http.get("/graphql", params={"documentId": "alias-0", "variables": '{"id": "milk"}'}),
    ]
    automatic = "{ items { nodes { id } } }"
    extensions = json.dumps({"persistedQuery": {"version": 1, "sha256Hash": hash_of(automatic)}})
    asked += [await http.get("/graphql", params={"query": automatic, "extensions": extensions})]
    asked += [await get(http, automatic)]
    for answer in asked:
        assert "data" in answer.json() and "errors" not in answer.json()
        assert kept(answer) == NO_STORE
    extensions = json.dumps({"persistedQuery": {"version": 1, "sha256Hash": hash_of(ITEM)}})
    trusted = await http.get("/graphql", params={"extensions": extensions, "variables": '{"id": "milk"}'})
    assert kept(trusted) == "public, max-age=300", "by Apollo's extension it is the same document"


async def test_one_operation_of_a_document_is_public_and_another_is_not(http: httpx.AsyncClient) -> None:
    assert kept(await get(http, BOTH, operationName="A")) == "public, max-age=300"
    assert kept(await get(http, BOTH, operationName="B")) == NO_STORE
    assert kept(await get(http, BOTH)) == NO_STORE, "it names none"


async def test_nobody_keeps_errors(http: httpx.AsyncClient, pool: Pool) -> None:
    wrong = [
        await get(http, ITEM),
        await get(http, ITEM, variables={"id": ""}),
        await get(http, TITLES, variables={"ids": ["x"] * 501}),
        await get(http, "{ nothing }"),
        await get(http, "{ unknown }"),
        await get(http, ITEM, variables="{"),
        await get(http, ITEM, variables={"id": "milk"}, headers={"accept": "text/plain"}),
        await get(http, ITEM, variables={"id": "milk"}, headers={"authorization": "Bearer wrong"}),
        await get(http, ITEM, variables={"id": "milk"}, headers={"authorization": ""}),
        await http.put("/graphql", params={"documentId": hash_of(ITEM)}),
    ]
    await authorize(http, grant_type=CLIENT_CREDENTIALS, scope="recommendations:read")
    wrong.append(await get(http, ITEM, variables={"id": "milk"}))
    for answer in wrong:
        assert answer.json()["errors"] and kept(answer) == NO_STORE
    assert wrong[-1].json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_the_etag_is_that_of_the_answer_and_a_caller_who_has_it_gets_304(
    http: httpx.AsyncClient, pool: Pool
) -> None:
    first = await get(http, PRICE, variables={"id": "milk"})
    tag = first.headers["etag"]
    assert re.fullmatch(r'"[\w-]{24}"', tag)
    for wanted in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await get(http, PRICE, variables={"id": "milk"}, headers={"if-none-match": wanted})
        assert (again.status_code, again.content) == (304, b"")
        assert "content-length" not in again.headers and "content-type" not in again.headers
        assert {name: again.headers[name] for name in ("etag", "cache-control", "vary", "surrogate-key")} == {
            name: first.headers[name] for name in ("etag", "cache-control", "vary", "surrogate-key")
        }
    for wanted in ('"other"', "", tag.strip('"'), tag[:-2] + '"'):
        other = await get(http, PRICE, variables={"id": "milk"}, headers={"if-none-match": wanted})
        assert (other.status_code, other.content) == (200, first.content)
    accept = {"accept": "application/graphql-response+json"}
    assert (await get(http, PRICE, variables={"id": "milk"}, headers=accept)).headers["etag"] != tag
    await upsert_items(pool, [{"id": "milk", "title": "Oat milk", "updated_at": clock.now()}])
    async with asyncio.timeout(10):
        while (await get(http, PRICE, variables={"id": "milk"}, headers={"if-none-match": tag})).status_code == 304:
            pass
    assert (await get(http, PRICE, variables={"id": "milk"})).json()["data"]["item"]["title"] == "Oat milk"


async def test_a_person_gets_the_answer_that_everybody_gets(http: httpx.AsyncClient) -> None:
    answer = await get(http, TRENDING)
    for name in ("anna", "ben"):
        del http.headers["authorization"]
        await authorize(http, grant_type=TOKEN_EXCHANGE, subject_token=name, subject_token_type=USER_ID)
        own = await get(http, "{ me { id } }")
        assert own.json()["data"]["me"]["id"] == name and kept(own) == NO_STORE
        same = await get(http, TRENDING)
        assert (same.content, same.headers["etag"]) == (answer.content, answer.headers["etag"])


def test_resolvers_of_a_public_answer_know_no_person_and_their_work_counts_for_who_asked() -> None:
    anna = Viewer("web", frozenset({"catalog:read"}), Person("user", "anna"), 5)
    public = without_person(anna)
    assert (public.client_id, public.scopes, public.person, public.expires_at) == ("web", anna.scopes, None, 5)
    assert public.caller == anna.caller
    client = Viewer("web", frozenset(), None, 5)
    assert without_person(client) is client


async def test_without_the_setting_every_request_needs_a_token(http: httpx.AsyncClient) -> None:
    del http.headers["authorization"]
    assert (await get(http, ITEM, variables={"id": "milk"})).status_code == 401


async def test_a_configured_client_s_public_documents_need_no_token_and_nothing_else_does(
    shop: Stores, pool: Pool
) -> None:
    async with serving(shop, CLIENT) as http:
        answer = await get(http, ITEM, variables={"id": "milk"})
        assert answer.json() == {"data": {"item": {"id": "milk", "title": "MILK"}}}
        assert kept(answer) == "public, max-age=300"
        milk = '{"id": "milk"}'
        refused = [
            *[await get(http, text, variables={"no": False}) for text in PERSONAL],
            await http.get("/graphql", params={"query": ITEM, "variables": milk}),
            await http.get("/graphql", params={"documentId": "alias-0", "variables": milk}),
            await http.post("/graphql", json={"documentId": hash_of(ITEM), "variables": {"id": "milk"}}),
            await get(http, ITEM, variables={"id": "milk"}, headers={"authorization": "Bearer wrong"}),
        ]
        for answer in refused:
            assert answer.status_code == 401 and kept(answer) == NO_STORE
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert kept(await get(http, "{ unknown }")) == NO_STORE


async def test_without_a_token_the_client_s_scopes_hold_and_only_while_it_is_enabled(shop: Stores, pool: Pool) -> None:
    async def until(http: httpx.AsyncClient, *wanted: Any) -> None:
        async with asyncio.timeout(20):
            while True:
                answer = await get(http, ITEM, variables={"id": "milk"})
                if (answer.status_code, "errors" in answer.json()) == wanted:
                    return

    async with serving(shop, CLIENT) as http:
        await until(http, 200, False)
        await set_client_scopes(pool, CLIENT, ["recommendations:read"])
        await until(http, 200, True)
        await set_client_scopes(pool, CLIENT, ["catalog:read"])
        await until(http, 200, False)
        await disable_client(pool, CLIENT)
        await until(http, 401, True)
    async with serving(shop, "nobody") as http:
        assert (await get(http, ITEM, variables={"id": "milk"})).status_code == 401


async def test_behind_a_shared_cache_public_answers_are_hits_and_personal_ones_never(
    shop: Stores, pool: Pool, redis: Redis
) -> None:
    async with serving(shop, CLIENT) as direct:
        tokens: list[str | None] = [None]
        await authorize(direct, grant_type=CLIENT_CREDENTIALS)
        tokens.append(direct.headers.pop("authorization"))
        for name in ("anna", "ben"):
            await authorize(direct, grant_type=TOKEN_EXCHANGE, subject_token=name, subject_token_type=USER_ID)
            tokens.append(direct.headers.pop("authorization"))
        cache = SharedCache(direct._transport)
        async with httpx.AsyncClient(transport=cache, base_url=str(direct.base_url)) as http:

            async def ask(text: str, token: str | None) -> tuple[str, httpx.Response]:
                headers = {} if token is None else {"authorization": token}
                answer = await get(http, text, headers=headers, variables={"id": "milk", "no": False})
                return answer.headers["x-cache"], answer

            assert [(await ask(PRICE, token))[0] for token in (None, *tokens)] == ["MISS", *["HIT"] * 4]
            for _ in range(2):  # nothing of one caller is given to another, nor kept for the same one
                for token, person in zip(tokens, (None, None, "anna", "ben"), strict=True):
                    how, answer = await ask("{ me { id } }", token)
                    own = (answer.json().get("data") or {}).get("me")
                    assert (how, own and own["id"]) == ("MISS", person)
                for text in PERSONAL:
                    assert [(await ask(text, token))[0] for token in tokens] == ["MISS"] * 4, text

            cache.now = 61
            assert [(await ask(PRICE, token))[0] for token in (None, None)] == ["REVALIDATED", "HIT"]
            cache.purge("item:soap")
            assert (await ask(PRICE, None))[0] == "HIT"
            await upsert_items(pool, [{"id": "milk", "title": "Oat milk", "updated_at": clock.now()}])
            async with asyncio.timeout(10):
                while b"Oat milk" not in (await ask(PRICE, None))[1].content:
                    cache.purge("item:milk")
            assert (await ask(PRICE, tokens[2]))[0] == "HIT"
