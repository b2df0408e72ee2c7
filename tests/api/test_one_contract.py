"""The same element has the same outcome and is stored the same, by GraphQL variables, by literals and over HTTP."""

import gzip
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any, Final

import httpx
import pytest
from graphql import GraphQLInputObjectType
from redis.asyncio import Redis

from core.settings import Stores
from db.postgres import Pool
from tests.in_process import Configured, asked
from tests.odd_elements import (
    as_read,
    in_long_form,
    in_plain_notation,
    input_type,
    is_readable,
    is_readable_literal,
    literal,
    odd_elements,
)
from tests.running import CLIENT, SECRET, register_client

ARGUMENTS: Final = {"upsertItems": "items", "upsertUsers": "users", "trackEvents": "events"}
FORMS: Final = [("application/x-ndjson", False), ("application/json", False), ("application/x-ndjson", True)]
LONGEST_LITERAL: Final = 2_000  # characters: longer documents have too many tokens
RESULTS: Final = "{ results { index id outcome code field message } }"
MOMENT: Final = "2026-01-05T12:00:00Z"

Result = Mapping[str, Any]


@pytest.fixture
async def http(stores: Stores, pool: Pool, redis: Redis) -> AsyncIterator[httpx.AsyncClient]:
    """The gateway without a socket, and a client whose token has every scope."""
    async with asked(Configured(stores)) as client:
        await register_client(pool)
        granted = await client.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=(CLIENT, SECRET))
        client.headers["authorization"] = f"Bearer {granted.json()['access_token']}"
        yield client


async def by_http(http: httpx.AsyncClient, path: str, elements: Sequence[Any]) -> list[Result]:
    """The result of each element, sent in a few calls: as JSON lines, as an array, and compressed, in turn."""
    results: list[Result] = []
    for some, (kind, compressed) in zip(batches(elements, 100), cycle(FORMS), strict=False):
        body = (json.dumps(some) if kind == "application/json" else "\n".join(map(json.dumps, some))).encode()
        headers = {"content-type": kind} | ({"content-encoding": "gzip"} if compressed else {})
        answer = await http.post(path, content=gzip.compress(body) if compressed else body, headers=headers)
        results += answer.json()["results"]
    return [{**result, "index": 0} for result in results]


async def by_variables(http: httpx.AsyncClient, field: str, kind: str, elements: Sequence[Any]) -> list[Result]:
    """As `by_http`, by GraphQL variables."""
    query = f"mutation($elements: [{kind}!]!) {{ {field}({ARGUMENTS[field]}: $elements) {RESULTS} }}"
    calls = [{"query": query, "variables": {"elements": some}} for some in batches(elements, 100)]
    return await by_graphql(http, field, calls)


async def by_literals(http: httpx.AsyncClient, field: str, elements: Sequence[str]) -> list[Result]:
    """As `by_http`, by literals in GraphQL documents."""
    calls = [
        {"query": f"mutation {{ {field}({ARGUMENTS[field]}: [{', '.join(some)}]) {RESULTS} }}"}
        for some in batches(elements, 20)
    ]
    return await by_graphql(http, field, calls)


async def by_graphql(http: httpx.AsyncClient, field: str, calls: Sequence[Mapping[str, Any]]) -> list[Result]:
    results: list[Result] = []
    for call in calls:
        answer = (await http.post("/graphql", json=call)).json()
        assert "errors" not in answer, answer
        results += answer["data"][field]["results"]
    return [{**result, "index": 0} for result in results]


def batches(elements: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """The elements, `size` at a time."""
    return [elements[start : start + size] for start in range(0, len(elements), size)]


def compare(elements: Sequence[Any], results: Sequence[Result], others: Sequence[Result]) -> None:
    """Fail with the elements whose results differ."""
    differences = [
        (json.dumps(element)[:200], one, other)
        for element, one, other in zip(elements, results, others, strict=True)
        if one != other
    ]
    assert not differences, "\n".join(map(str, differences[:20]))


def literals(kind: GraphQLInputObjectType, elements: Iterable[Any]) -> dict[int, str]:
    """The elements that a document can hold and GraphQL's types accept, as literals, by their index."""
    written = {index: literal(element) for index, element in enumerate(elements)}
    return {
        index: text
        for index, text in written.items()
        if text is not None and len(text) < LONGEST_LITERAL and is_readable_literal(kind, text)
    }


async def rows(pool: Pool, table: str) -> list[dict[str, Any]]:
    """What is stored; then the table is emptied."""
    hidden = {"number", "changed_seq", "listed_seq", "created_at"}
    found = await pool.fetch(f"SELECT * FROM {table} ORDER BY id")
    await pool.execute(f"TRUNCATE {table}")
    return [{name: value for name, value in row.items() if name not in hidden} for row in found]


def uploads(name: str) -> list[dict[str, Any]]:
    """Odd elements of an input, each with an id of its own and a time unless these are the odd fields."""
    elements = list(odd_elements(input_type(name), {"updatedAt": MOMENT}))
    if name == "ItemInput":
        offers = odd_elements(input_type("OfferInput"), {})
        elements += [{"updatedAt": MOMENT, "offers": [offer]} for offer in offers]
    timed = [in_long_form(one) for one in elements if one["updatedAt"] is not None]
    return [one if "id" in one else {**one, "id": f"i{at}"} for at, one in enumerate(timed)]


@pytest.mark.parametrize(("path", "name"), [("/items", "ItemInput"), ("/users", "UserInput")])
async def test_items_and_users_have_one_contract(http: httpx.AsyncClient, pool: Pool, path: str, name: str) -> None:
    kind, elements, table = input_type(name), uploads(name), path.removeprefix("/")
    field = f"upsert{table.capitalize()}"
    read = [as_read(kind, one) for one in elements]

    strict = await by_http(http, path, elements)
    converted = [result for one, same, result in zip(elements, read, strict, strict=True) if one != same]
    assert converted and {result["outcome"] for result in converted} == {"REJECTED"}
    refused = [result for one, result in zip(elements, strict, strict=True) if not is_readable(kind, one)]
    assert refused and {result["outcome"] for result in refused} == {"REJECTED"}
    await rows(pool, table)

    readable = [at for at, one in enumerate(elements) if is_readable(kind, one)]
    results = await by_http(http, path, [read[at] for at in readable])
    stored = await rows(pool, table)
    sent = [elements[at] for at in readable]
    compare(sent, results, await by_variables(http, field, name, sent))
    assert await rows(pool, table) == stored and stored

    written = literals(kind, sent)
    results = await by_http(http, path, [as_read(kind, sent[at]) for at in written])
    stored = await rows(pool, table)
    compare([sent[at] for at in written], results, await by_literals(http, field, list(written.values())))
    assert await rows(pool, table) == stored and stored


async def test_events_have_one_contract(http: httpx.AsyncClient) -> None:
    """An event that was accepted over HTTP is a DUPLICATE by GraphQL: its identity and its body are the same."""
    kind = input_type("EventInput")
    base = {"type": "VIEW", "userId": "u1", "itemId": "i1", "source": "till", "occurredAt": MOMENT}
    elements = [{"id": f"e{at}", **one} for at, one in enumerate(odd_elements(kind, base))]
    plain = [in_plain_notation(one) for one in elements]
    readable = [at for at, one in enumerate(plain) if is_readable(kind, one)]

    strict = await by_http(http, "/events", elements)
    converted = [at for at, one in enumerate(elements) if as_read(kind, one) != one]
    refused = set(range(len(elements))) - set(readable)
    assert refused and {strict[at]["outcome"] for at in {*converted, *refused}} == {"REJECTED"}

    results = [again(one) for one in await by_http(http, "/events", [as_read(kind, elements[at]) for at in readable])]
    sent = [plain[at] for at in readable]
    compare(sent, results, [again(one) for one in await by_variables(http, "trackEvents", "EventInput", sent)])

    with_enum = {
        at: re.sub(r'^{"type": "([A-Z_]+)"', r'{"type": \1', text) for at, text in literals(kind, sent).items()
    }
    compare(
        [sent[at] for at in with_enum],
        [results[at] for at in with_enum],
        [again(one) for one in await by_literals(http, "trackEvents", list(with_enum.values()))],
    )


def again(result: Result) -> Result:
    """The result when the same event is sent again; without an id of its sender it is accepted again."""
    minted = result["outcome"] == "ACCEPTED" and re.fullmatch("[0-9a-f]{32}", result["id"])
    outcome = "DUPLICATE" if result["outcome"] == "ACCEPTED" and not minted else result["outcome"]
    return {**result, "outcome": outcome, "id": None if minted else result["id"]}
