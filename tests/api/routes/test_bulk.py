"""Bulk uploads: read line by line, limited, with the same checks and results as the mutations."""

import asyncio
import gzip
import json
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from starlette.types import Receive, Scope, Send

from api.errors import RequestRefused
from api.gateway import Gateway
from api.http.gzip_body import MAX_MEMBERS, inflate
from api.routes.bulk import BulkEndpoint, StoreElements
from core.errors import StoreUnavailable
from core.settings import Ingest, Stores
from db.postgres import Pool
from engine.outcomes import Result
from engine.viewer import Viewer
from tests.faults import Relay
from tests.in_process import BASE, Configured, asked
from tests.running import CLIENT, SECRET, register_client, running_gateway
from tests.storeless import Storeless

LINES = "application/x-ndjson"
MEGABYTE = 2**20
GOOD = b'{"type": "VIEW", "userId": "u1", "itemId": "i1"}'


@pytest.fixture
async def http(stores: Stores, pool: Pool, redis: Redis) -> AsyncIterator[httpx.AsyncClient]:
    """The gateway without a socket, and a client whose token has every scope."""
    async with asked(Configured(stores)) as client:
        await register_client(pool)
        await authorize(client)
        yield client


async def authorize(http: httpx.AsyncClient, **form: str) -> None:
    granted = await http.post("/oauth/token", data={"grant_type": "client_credentials", **form}, auth=(CLIENT, SECRET))
    http.headers["authorization"] = f"Bearer {granted.json()['access_token']}"


async def post(
    http: httpx.AsyncClient, path: str, body: bytes, kind: str = LINES, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    return await http.post(path, content=body, headers={"content-type": kind, **(headers or {})})


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["errors"][0]["extensions"]["code"]


def lines(elements: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(element).encode() + b"\n" for element in elements)


async def test_a_broken_line_is_rejected_with_its_number_and_the_other_lines_are_stored(
    http: httpx.AsyncClient,
) -> None:
    body = b"\n".join([GOOD, b"", b'{"type": ', b"[1]", b"\xff\xfe", b'{"type": "VIEW", "userId": "u1"}', GOOD + b"\r"])
    answer = await post(http, "/events", body)
    reported = answer.json()
    assert answer.status_code == 200
    assert (reported["accepted"], reported["rejected"]) == (2, 4)
    assert [result["index"] for result in reported["results"]] == [0, 1, 2, 3, 4, 5]
    assert [result["outcome"] for result in reported["results"]] == ["ACCEPTED", *["REJECTED"] * 4, "ACCEPTED"]
    assert [result["code"] for result in reported["results"]][1:5] == [*["BAD_REQUEST"] * 3, "BAD_USER_INPUT"]
    assert ["Line 3 " in reported["results"][1]["message"], "Line 4 " in reported["results"][2]["message"]] == [
        True,
        True,
    ]
    assert reported["results"][4]["field"] == ["itemId"]
    assert all(result["id"] for result in reported["results"] if result["outcome"] == "ACCEPTED")


BAD_EVENTS: list[tuple[dict[str, Any], str]] = [
    ({"colour": "red"}, "colour"),
    ({"receivedAt": "2026-01-05T12:00:00Z"}, "receivedAt"),
    ({"type": "BOUGHT"}, "type"),
    ({"type": None}, "type"),
    ({"type": ["VIEW"]}, "type"),
    ({"type": "SEARCH"}, "query"),
    ({"type": "IMPRESSION"}, "itemIds"),
    ({"type": "RATING"}, "value"),
    ({"itemId": None}, "itemId"),
    ({"userId": None}, "userId"),
    ({"quantity": -1}, "quantity"),
    ({"quantity": 0}, "quantity"),
    ({"quantity": 1.5}, "quantity"),
    ({"quantity": True}, "quantity"),
    ({"quantity": "NaN"}, "quantity"),
    ({"unitPrice": "NaN"}, "unitPrice"),
    ({"unitPrice": "Infinity"}, "unitPrice"),
    ({"unitPrice": -0.01}, "unitPrice"),
    ({"unitPrice": "1e3"}, "unitPrice"),
    ({"value": "-1"}, "value"),
    ({"currency": "EURO"}, "currency"),
    ({"currency": "XXX"}, "currency"),
    ({"currency": "eur"}, "currency"),
    ({"id": "e1"}, "occurredAt"),
    ({"occurredAt": "1989-12-31T23:59:59Z"}, "occurredAt"),
    ({"occurredAt": "2999-01-01T00:00:00Z"}, "occurredAt"),
    ({"occurredAt": "2026-01-05T12:00:00"}, "occurredAt"),
    ({"occurredAt": "2026-W02-1T12:00:00Z"}, "occurredAt"),
    ({"occurredAt": 1767614400}, "occurredAt"),
    ({"properties": [1]}, "properties"),
]


async def test_each_bad_event_is_rejected_with_its_index_and_field_and_the_others_are_accepted(
    http: httpx.AsyncClient,
) -> None:
    good = json.loads(GOOD)
    events = [event for bad, _ in BAD_EVENTS for event in (good, {**good, **bad})] + [good]
    for body, kind in ((lines(events), LINES), (json.dumps(events).encode(), "application/json")):
        reported = (await post(http, "/events", body, kind)).json()
        assert (reported["accepted"], reported["rejected"]) == (len(BAD_EVENTS) + 1, len(BAD_EVENTS))
        rejected = [result for result in reported["results"] if result["outcome"] == "REJECTED"]
        assert [(result["index"], result["field"]) for result in rejected] == [
            (2 * place + 1, [field]) for place, (_, field) in enumerate(BAD_EVENTS)
        ]
        assert all(result["code"] == "BAD_USER_INPUT" and result["message"] for result in rejected)


async def test_graphql_refuses_wrong_types_with_index_and_field_before_any_event_is_checked(
    http: httpx.AsyncClient,
) -> None:
    query = "mutation($e: [EventInput!]!) { trackEvents(events: $e) { accepted } }"
    good = json.loads(GOOD)
    for bad, place in (
        ({"colour": "red"}, '[1]: EventInput has no field "colour"'),
        ({"receivedAt": "2026-03-01T12:00:00Z"}, '[1]: EventInput has no field "receivedAt"'),
        ({"type": "BOUGHT"}, "[1].type"),
        ({"unitPrice": "nan"}, "[1].unitPrice"),
        ({"quantity": 1.5}, "[1].quantity"),
        ({"occurredAt": "2026-03-01T12:00:00"}, "[1].occurredAt"),
    ):
        variables = {"e": [good, {**good, **bad}, good]}
        answer = (await http.post("/graphql", json={"query": query, "variables": variables})).json()
        (error,) = answer["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT" and place in error["message"]
        assert "data" not in answer


async def test_a_number_that_is_not_json_is_rejected_with_its_line(http: httpx.AsyncClient) -> None:
    bad = GOOD.replace(b"}", b', "unitPrice": NaN}')
    reported = (await post(http, "/events", b"\n".join([GOOD, bad, GOOD]))).json()
    assert [result["outcome"] for result in reported["results"]] == ["ACCEPTED", "REJECTED", "ACCEPTED"]
    assert "Line 2 is not JSON" in reported["results"][1]["message"]


async def test_an_array_is_read_element_by_element(http: httpx.AsyncClient) -> None:
    reported = (await post(http, "/events", b"[" + GOOD + b', 7, {"type": "VIEW"}]', "application/json")).json()
    assert [result["outcome"] for result in reported["results"]] == ["ACCEPTED", "REJECTED", "REJECTED"]
    assert reported["results"][1]["message"] == "The element is not an object."


async def test_the_answer_can_be_limited_to_some_outcomes(http: httpx.AsyncClient) -> None:
    body = GOOD + b"\nbroken\n" + GOOD
    reported = (await post(http, "/events?only=REJECTED,RETRY", body)).json()
    assert (reported["accepted"], reported["rejected"], [result["index"] for result in reported["results"]]) == (
        2,
        1,
        [1],
    )
    assert (await post(http, "/events?only=ACCEPTED&only=REJECTED", body)).json()["results"][2]["index"] == 2
    assert code(await post(http, "/events?only=LOST", body)) == (400, "BAD_REQUEST")
    assert code(await post(http, "/events?" + "only=REJECTED&" * 1_000, body)) == (400, "BAD_REQUEST")


async def test_the_same_event_is_a_duplicate_over_http_and_over_graphql(http: httpx.AsyncClient) -> None:
    event = {"id": "e1", "occurredAt": "2026-01-05T12:00:00Z", "type": "VIEW", "userId": "u1", "itemId": "i1"}
    assert (await post(http, "/events", lines([event]))).json()["results"][0]["outcome"] == "ACCEPTED"
    again = await http.post("/events", json=[event, {**event, "itemId": "i2"}])
    assert [result["outcome"] for result in again.json()["results"]] == ["DUPLICATE", "CONFLICT"]
    query = "mutation($e: [EventInput!]!) { trackEvents(events: $e) { results { outcome } } }"
    mutated = await http.post("/graphql", json={"query": query, "variables": {"e": [event]}})
    assert mutated.json()["data"]["trackEvents"]["results"] == [{"outcome": "DUPLICATE"}]


async def test_items_and_people_are_stored_and_shown(http: httpx.AsyncClient, pool: Pool) -> None:
    items: list[dict[str, Any]] = [
        {"id": "i1", "title": "One", "offers": [{"price": "1.50", "currency": "EUR"}]},
        {"id": "i2", "price": "dear"},
    ]
    reported = (await post(http, "/items", lines(items))).json()
    assert [result["outcome"] for result in reported["results"]] == ["ACCEPTED", "REJECTED"]
    wrong = reported["results"][1]
    assert (wrong["field"], wrong["message"]) == (["price"], 'price must be a number in plain digits, such as "12.50"')
    assert reported["results"][1]["field"] == ["price"]
    query = '{ item(id: "i1") { title price { amount currency } } }'
    shown = (await http.post("/graphql", json={"query": query})).json()
    assert shown["data"]["item"] == {"title": "One", "price": {"amount": "1.50", "currency": "EUR"}}
    stale = [{"id": "i1", "updatedAt": "2020-01-01T00:00:00Z"}]
    assert (await http.post("/items", json=stale)).json()["results"][0]["code"] == "STALE"

    assert (await post(http, "/users", lines([{"id": "u1", "traits": {"city": "Bonn"}}]))).json()["accepted"] == 1
    assert await pool.fetchval("SELECT traits FROM users WHERE id = 'u1'") == {"city": "Bonn"}


async def test_an_element_that_cannot_be_stored_is_rejected_and_the_others_are_accepted(
    http: httpx.AsyncClient,
) -> None:
    """A message nested too deeply for the worker would become a dead letter, with all other events of its batch."""
    deep = '{"a": ' * 200 + "1" + "}" * 200
    for path, good, bad in (
        ("/events", GOOD.decode(), f'{{"type": "VIEW", "userId": "u1", "itemId": "i1", "properties": {deep}}}'),
        ("/items", '{"id": "i1"}', f'{{"id": "i2", "attributes": {deep}}}'),
        ("/users", '{"id": "u1"}', f'{{"id": "u2", "traits": {deep}}}'),
        ("/items", '{"id": "i3"}', '{"id": "i4", "updatedAt": "0001-01-01T00:00:00+01:00"}'),
        ("/users", '{"id": "u3"}', '{"id": "u4", "updatedAt": "0001-01-01T00:00:00+01:00"}'),
    ):
        reported = (await http.post(path, content=f"{good}\n{bad}", headers={"content-type": LINES})).json()
        assert [result["outcome"] for result in reported["results"]] == ["ACCEPTED", "REJECTED"], (path, bad[:60])


async def test_a_body_may_be_gzip_and_broken_gzip_is_400(http: httpx.AsyncClient) -> None:
    encoded = {"content-encoding": "gzip"}
    two_members = gzip.compress(GOOD + b"\n") + gzip.compress(GOOD)
    for body in (gzip.compress(GOOD + b"\n" + GOOD), two_members):
        assert (await post(http, "/events", body, headers=encoded)).json()["accepted"] == 2
    for broken in (gzip.compress(GOOD)[:-5], b"not gzip", b"", gzip.compress(GOOD) + b"more"):
        assert code(await post(http, "/events", broken, headers=encoded)) == (400, "BAD_REQUEST")


async def test_a_gzip_bomb_is_refused(http: httpx.AsyncClient) -> None:
    bomb = gzip.compress(b" " * (200 * MEGABYTE))
    assert len(bomb) < MEGABYTE
    assert code(await post(http, "/events", bomb, headers={"content-encoding": "gzip"})) == (413, "PAYLOAD_TOO_LARGE")
    assert inflate(gzip.compress(b" " * 100), 100) == b" " * 100
    with pytest.raises(RequestRefused):
        inflate(gzip.compress(b" " * 101), 100)
    with pytest.raises(RequestRefused):
        inflate(gzip.compress(b"") * (MAX_MEMBERS + 1), 100)


async def test_more_than_a_megabyte_or_five_hundred_elements_are_413(http: httpx.AsyncClient) -> None:
    assert code(await post(http, "/events", b" " * (MEGABYTE + 1))) == (413, "PAYLOAD_TOO_LARGE")
    assert code(await post(http, "/events", (GOOD + b"\n") * 501)) == (413, "PAYLOAD_TOO_LARGE")
    assert code(await http.post("/items", json=[{}] * 501)) == (413, "PAYLOAD_TOO_LARGE")
    assert (await post(http, "/events", (GOOD + b"\n") * 500)).json()["accepted"] == 500


async def test_another_encoding_is_415_and_the_answer_names_gzip(http: httpx.AsyncClient) -> None:
    refused = await post(http, "/events", GOOD, headers={"content-encoding": "br"})
    assert code(refused) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert refused.headers["accept-encoding"] == "gzip"


async def test_a_forged_impression_is_rejected_and_the_other_events_are_accepted(http: httpx.AsyncClient) -> None:
    event = {"type": "VIEW", "userId": "u1", "itemId": "i1"}
    reported = (await post(http, "/events", lines([{**event, "impressionId": "forged"}, event]))).json()
    assert [result["outcome"] for result in reported["results"]] == ["REJECTED", "ACCEPTED"]
    forged = reported["results"][0]
    assert (forged["code"], forged["field"]) == ("UNKNOWN_IMPRESSION", ["impressionId"])


async def test_an_empty_body_has_an_empty_result(http: httpx.AsyncClient) -> None:
    for body, kind in ((b"", LINES), (b"\n \n", LINES), (b"[]", "application/json")):
        assert (await post(http, "/events", body, kind)).json() == NOTHING


@pytest.mark.parametrize(
    ("path", "scope"), [("/events", "events:write"), ("/items", "catalog:write"), ("/users", "profiles:write")]
)
async def test_a_token_needs_the_scope_of_the_path(http: httpx.AsyncClient, path: str, scope: str) -> None:
    await authorize(http, scope="recommendations:read")
    refused = await post(http, path, b"{}")
    assert code(refused) == (403, "FORBIDDEN")
    assert (
        refused.headers["www-authenticate"] == f'Bearer realm="penchant", error="insufficient_scope", scope="{scope}"'
    )
    http.headers["authorization"] = "Bearer nonsense"
    refused = await post(http, path, b"{}")
    assert code(refused) == (401, "UNAUTHENTICATED")
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]
    del http.headers["authorization"]
    assert (await post(http, path, b"{}")).headers["www-authenticate"] == 'Bearer realm="penchant"'


async def test_purchases_need_the_orders_scope_too(http: httpx.AsyncClient) -> None:
    await authorize(http, scope="events:write")
    order = {"type": "PURCHASE", "userId": "u1", "itemId": "i1", "orderId": "o1"}
    reported = (await post(http, "/events", lines([order]) + GOOD)).json()
    assert [result["code"] for result in reported["results"]] == ["FORBIDDEN", None]


async def test_only_post_is_answered(http: httpx.AsyncClient) -> None:
    refused = await http.get("/events")
    assert code(refused) == (405, "METHOD_NOT_ALLOWED")
    assert refused.headers["allow"] == "POST"


async def test_pages_of_registered_origins_may_post_events(http: httpx.AsyncClient) -> None:
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert (await http.options("/events", headers=asked)).status_code == 403
    answer = await post(http, "/events", GOOD, headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


NOTHING = {"accepted": 0, "rejected": 0, "duplicate": 0, "conflict": 0, "retry": 0, "results": []}


async def upload_to(store: StoreElements) -> httpx.Response:
    """The answer to one event, from an endpoint over `store` alone."""

    class Known:
        async def verify(self, token: str) -> Viewer:
            return Viewer("shop", frozenset({"events:write"}), None, 2**33)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"verifier": Known(), "gateway": Storeless()}
        await BulkEndpoint("events:write", store, MEGABYTE, 0.05)(scope, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as alone:
        alone.headers["authorization"] = "Bearer t"
        return await post(alone, "/events", GOOD)


async def test_an_upload_that_takes_too_long_is_504() -> None:
    async def slow(gateway: Gateway, viewer: Viewer, raws: Sequence[Mapping[str, Any]]) -> list[Result]:
        await asyncio.Event().wait()
        return []

    assert code(await upload_to(slow)) == (504, "TIMEOUT")


async def test_an_upload_while_a_store_is_away_is_503_with_retry_after() -> None:
    async def away(gateway: Gateway, viewer: Viewer, raws: Sequence[Mapping[str, Any]]) -> list[Result]:
        raise StoreUnavailable("postgres")

    refused = await upload_to(away)
    assert code(refused) == (503, "SERVICE_UNAVAILABLE")
    assert refused.headers["retry-after"] == "1"


async def test_with_a_slow_broker_calls_are_refused_before_memory_grows(
    stores: Stores, pool: Pool, redis: Redis
) -> None:
    relay = Relay(stores.broker_url.get_secret_value())
    slow = SecretStr(await relay.open(mute=True))
    configured = Configured(stores.model_copy(update={"broker_url": slow}))
    configured.ingest = Ingest.model_validate({"max_waiting": 500, "confirm_timeout": 1})
    query = "mutation($events: [EventInput!]!) { trackEvents(events: $events) { accepted } }"
    async with asked(configured) as client:
        await register_client(pool)
        await authorize(client)
        events = [json.loads(GOOD)] * 400
        calls = {"/events": events, "/graphql": {"query": query, "variables": {"events": events}}}
        for path, body in calls.items():  # two exceed max_waiting
            reported = await asyncio.gather(client.post(path, json=body), client.post(path, json=body))
            accepted, refused = sorted(reported, key=lambda answer: answer.status_code)
            assert (accepted.status_code, refused.status_code, refused.headers["retry-after"]) == (200, 503, "1")
            assert refused.json()["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
            assert b'"accepted":400' in accepted.content
    await relay.close()


async def test_curl_and_httpx_upload_to_a_running_gateway(
    stores: Stores, pool: Pool, redis: Redis, tmp_path: Path
) -> None:
    await register_client(pool)
    many = [{"type": "VIEW", "userId": f"u{n}", "itemId": "i1"} for n in range(200)]
    (tmp_path / "events.jsonl").write_bytes(lines(many))
    (tmp_path / "events.jsonl.gz").write_bytes(gzip.compress(lines(many)))
    with running_gateway(stores, tmp_path / "gateway.log", PENCHANT_PUBLIC_URL=BASE) as gateway:
        authorization = f"Bearer {gateway.token()}"
        await asyncio.to_thread(upload_by_curl, gateway.url, authorization, tmp_path)
        async with httpx.AsyncClient(base_url=gateway.url, headers={"authorization": authorization}) as client:
            headers = {"content-encoding": "gzip"}
            item = gzip.compress(b'[{"id": "i1", "title": "One"}]')
            assert (await post(client, "/items", item, "application/json", headers)).json()["accepted"] == 1
            assert (await client.post("/users", json=[{"id": "u1"}])).json()["accepted"] == 1
            bomb = gzip.compress(b" " * (50 * MEGABYTE))
            assert (await post(client, "/users", bomb, headers=headers)).status_code == 413


def upload_by_curl(url: str, authorization: str, folder: Path) -> None:
    curl = ["curl", "-sS", f"{url}/events", "-H", f"Authorization: {authorization}", "-H", f"Content-Type: {LINES}"]
    for how in (
        ["--data-binary", f"@{folder}/events.jsonl"],
        ["-H", "Content-Encoding: gzip", "--data-binary", f"@{folder}/events.jsonl.gz"],
        ["-H", "Transfer-Encoding: chunked", "-X", "POST", "-T", f"{folder}/events.jsonl"],
    ):
        done = subprocess.run([*curl, *how], capture_output=True, check=True)
        reported = json.loads(done.stdout)
        assert (reported["accepted"], len(reported["results"])) == (200, 200), done.stdout[:300]
