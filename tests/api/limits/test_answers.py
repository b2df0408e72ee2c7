"""What callers see of the limits, on every path: the units that count, headers, refusals in each path's own shape."""

import asyncio
import json
from secrets import token_urlsafe
from typing import Any, cast

import http_sf
import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from redis.asyncio import Redis

from api.oauth.clients.assertions import ASSERTION_TYPE
from api.oauth.clients.registration import register
from api.oauth.endpoints import TOKEN_UNITS
from benchmarks.answer import QUERY
from core import clock
from db.clients import create_client
from db.postgres import Pool
from db.rate_limits import ClientLimits, set_client_limits
from tests.api.limits.conftest import Gateway, token
from tests.faults import eventually
from tests.in_process import BASE
from tests.running import CLIENT, SECRET

LINES = {"content-type": "application/x-ndjson"}
VIEW = b'{"type": "VIEW", "userId": "u1", "itemId": "i1"}'
EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:penchant:token-type:user-id",
}
LIST = '{ user(id: "anna") { recommendations(first: 20) { edges { rank node { id title } } } } }'  # cost 144
TRACK = "mutation($e: [EventInput!]!) { trackEvents(events: $e) { accepted } }"


def parsed(answer: httpx.Response, header: str) -> list[tuple[str, dict[str, int]]]:
    """The items of a header with their parameters, as a structured-field parser reads them."""
    items = http_sf.parse(answer.headers[header].encode(), tltype="list")
    return cast(list[tuple[str, dict[str, int]]], items)


def limits(answer: httpx.Response) -> dict[str, tuple[int, int]]:
    """The units left and the seconds until all are back, by limit."""
    policies, levels = parsed(answer, "ratelimit-policy"), parsed(answer, "ratelimit")
    most = {name: parameters["q"] for name, parameters in policies}
    for name, parameters in levels:
        assert set(parameters) == {"r", "t"}
        assert 0 <= parameters["r"] <= most[name]
        assert parameters["t"] >= 1
    assert {name for name, _ in levels} <= set(most)
    assert all(parameters["w"] >= 1 for _, parameters in policies)
    return {name: (parameters["r"], parameters["t"]) for name, parameters in levels}


def left(answer: httpx.Response, name: str = "client") -> int:
    return limits(answer)[name][0]


async def ask(http: httpx.AsyncClient, query: str = "{ __typename }", **variables: Any) -> httpx.Response:
    return await http.post("/graphql", json={"query": query, "variables": variables})


def assert_refused(answer: httpx.Response) -> None:
    """429 in the shape of the API, with times that agree."""
    assert answer.status_code == 429
    wait = int(answer.headers["retry-after"])
    assert wait >= 1
    assert all(seconds <= wait for _, seconds in limits(answer).values())
    (error,) = answer.json()["errors"]
    assert error["extensions"] == {"code": "RATE_LIMITED", "retryAfter": wait}


@pytest.mark.parametrize(
    ("query", "units"),
    [
        ("{ __typename }", 1),
        (LIST, 15),
        ("{ nonsense }", 1),
        ("{ unclosed", 1),
        ("{ " + " ".join(f"a{n}: __typename" for n in range(31)) + " }", 1),
    ],
    ids=["cheap", "list", "invalid", "broken", "too complex"],
)
async def test_the_cost_of_an_operation_counts_and_a_wrong_one_counts_too(
    limited: Gateway, query: str, units: int
) -> None:
    async with limited(rate_client="1000/day") as http:
        before = left(await ask(http))
        assert before - left(await ask(http, query)) == units


async def test_every_event_counts_however_it_ends(limited: Gateway) -> None:
    order = {"type": "VIEW", "userId": "u1", "itemId": "i1", "id": "1", "occurredAt": "2026-11-01T00:00:00Z"}
    async with limited(rate_client="1000/day") as http:
        before = left(await ask(http))
        for events in ([order] * 10, [order | {"itemId": "i2"}], [{"type": "VIEW"}] * 5, [{"no": "event"}] * 3):
            answer = await http.post("/events", json=events)
            assert answer.status_code == 200
            assert before - left(answer) == len(events)
            before = left(answer)
        answer = await ask(http, TRACK, e=[{"type": "VIEW", "userId": "u1", "itemId": "i1"}] * 30)
        assert answer.json()["data"]["trackEvents"]["accepted"] == 30
        assert before - left(answer) == 31, "each event, and the operation"


async def test_elements_in_the_document_count_and_a_variable_counts_each_time(limited: Gateway) -> None:
    event = '{type: VIEW, userId: "u1", itemId: "i1"}'
    literal = f"mutation {{ trackEvents(events: [{', '.join([event] * 7)}]) {{ accepted }} }}"
    fields = " ".join(f"{alias}: trackEvents(events: $e) {{ accepted }}" for alias in "ab")
    twice = f"mutation($e: [EventInput!]!) {{ {fields} }}"
    async with limited(rate_client="1000/day") as http:
        before = left(await ask(http))
        first = await ask(http, literal)
        assert before - left(first) == 8
        second = await ask(http, twice, e=[{"type": "VIEW", "userId": "u1", "itemId": "i1"}] * 7)
        assert left(first) - left(second) == 15


@pytest.mark.parametrize("path", ["/items", "/users"])
async def test_items_and_users_count_by_line(limited: Gateway, path: str) -> None:
    async with limited(rate_client="1000/day") as http:
        before = left(await ask(http))
        answer = await http.post(path, content=b'{"id": "1"}\nnot json\n{"id": "2"}', headers=LINES)
        assert before - left(answer) == 3


async def test_lists_of_a_batch_count_by_their_items(limited: Gateway) -> None:
    async with limited(rate_client="1000/day") as http:
        before = left(await ask(http))
        answer = await http.post("/recommendations/batch?first=10", json=["anna", "ben", "cem"])
        assert answer.status_code == 200
        assert before - left(answer) == 15


async def test_a_refused_request_takes_nothing_and_nothing_of_it_is_done(limited: Gateway, pool: Pool) -> None:
    async with limited(rate_client="20/day") as http:
        assert left(await ask(http)) == 19
        refused = [
            await ask(http, TRACK, e=[{"type": "VIEW", "userId": "u1", "itemId": "i1"}] * 19),
            await http.post("/events", content=b"\n".join([VIEW] * 20), headers=LINES),
            await http.post("/items", content=b'{"id": "i1"}\n' * 20, headers=LINES),
            await http.post("/recommendations/batch?first=20", json=["anna", "ben"]),
        ]
        for answer in refused:
            assert_refused(answer)
            assert "results" not in answer.text
        assert await pool.fetchval("SELECT count(*) FROM items") == 0
        answer = await http.post("/events", content=b"\n".join([VIEW] * 19), headers=LINES)
        assert (answer.status_code, left(answer)) == (200, 0)
        assert_refused(await ask(http))


async def test_a_call_that_is_larger_than_the_limit_is_told_so(limited: Gateway) -> None:
    async with limited(rate_client="10/day") as http:
        calls = [
            http.post("/events", content=b"\n".join([VIEW] * 11), headers=LINES),
            ask(http, TRACK, e=[{"type": "VIEW", "userId": "u1", "itemId": "i1"}] * 11),
            ask(http, LIST),
            http.post("/recommendations/batch?first=100", json=["anna"]),
        ]
        for call in calls:
            answer = await call
            assert answer.status_code == 413
            assert "retry-after" not in answer.headers
            (error,) = answer.json()["errors"]
            assert error["extensions"] == {"code": "PAYLOAD_TOO_LARGE"}
            assert "the limit of the client is 10 units in 86400 s" in error["message"]
        assert left(await ask(http)) == 10 - len(calls) - 1, "each such call takes one unit"


async def test_after_the_wait_that_was_named_a_request_is_answered(limited: Gateway) -> None:
    async with limited(rate_client="3/second") as http:
        answers = await asyncio.gather(*(ask(http) for _ in range(20)))
        refused = [answer for answer in answers if answer.status_code == 429]
        assert {answer.headers["retry-after"] for answer in refused} == {"1"}

        async def answered() -> bool:
            return (await ask(http)).status_code == 200

        await eventually(answered, within=5)


async def test_one_persons_flood_stops_at_their_limit_and_leaves_others_alone(limited: Gateway) -> None:
    async with limited(rate_client="1000/day", rate_person="20/day") as http:
        anna, ben = [
            {"authorization": f"Bearer {await token(http, **EXCHANGE, subject_token=user)}"} for user in ("anna", "ben")
        ]
        answers = [await http.post("/graphql", json={"query": "{ __typename }"}, headers=anna) for _ in range(30)]
        assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 10
        assert set(limits(answers[0])) == {"person"}, "a person does not see how busy the shop is"
        assert_refused(answers[-1])
        assert (await http.post("/graphql", json={"query": "{ __typename }"}, headers=ben)).status_code == 200
        answer = await ask(http)
        assert (answer.status_code, left(answer)) == (200, 1000 - 2 * TOKEN_UNITS - 20 - 1 - 1)


async def test_a_clients_own_limits_and_daily_quota_replace_the_default(limited: Gateway, pool: Pool) -> None:
    await set_client_limits(pool, CLIENT, ClientLimits("50/minute", 20))
    async with limited(rate_client="1000/day") as http:
        answer = await ask(http)
        assert limits(answer) == {"client": (49, 2), "daily": (19, limits(answer)["daily"][1])}
        while answer.status_code == 200:  # another day may begin meanwhile: 20 more, and the 49 are not used up
            answer = await ask(http)
        assert_refused(answer)
        assert "the client's daily quota is 20 units" in answer.json()["errors"][0]["message"]
        to_midnight = -clock.now().timestamp() % 86_400
        assert (int(answer.headers["retry-after"]) - to_midnight + 60) % 86_400 < 120, "within a minute of midnight"
        await set_client_limits(pool, CLIENT, ClientLimits("off"))

        async def unlimited() -> bool:
            answer = await ask(http)
            return answer.status_code == 200 and "ratelimit" not in answer.headers

        await eventually(unlimited)


async def test_a_rate_that_cannot_be_read_gives_way_to_the_default(limited: Gateway, pool: Pool) -> None:
    await set_client_limits(pool, CLIENT, ClientLimits("a new kind of rate"))
    async with limited(rate_client="1000/day") as http:
        assert left(await ask(http)) == 999


async def test_without_limits_there_are_no_headers(limited: Gateway, redis: Redis) -> None:
    async with limited(rate_client="off", rate_person="0", rate_address="off") as http:
        answers = [
            await ask(http),
            await ask(http, LIST),
            await http.get("/.well-known/jwks.json"),
            await http.get("/no"),
        ]
        answers += [await http.post("/events", content=VIEW, headers=LINES)]
        assert not any(name.startswith("ratelimit") for answer in answers for name in answer.headers)
        assert [key async for key in redis.scan_iter("rate:*")] == []


async def test_failed_authentication_counts_against_the_address(limited: Gateway) -> None:
    async with limited(rate_address="10/day") as http:
        for header in ("Bearer nonsense", None, "Basic nonsense"):
            headers = {} if header is None else {"authorization": header}
            request = http.build_request("POST", "/graphql", json={"query": "{ __typename }"}, headers=headers)
            if header is None:
                del request.headers["authorization"]
            answer = await http.send(request)
            assert answer.status_code == 401
            assert set(limits(answer)) == {"address"}
        wrong = [await http.post("/oauth/token", data={}, auth=(CLIENT, f"wrong-{n}" * 5)) for n in range(4)]
        assert [answer.status_code for answer in wrong] == [400] * 4
        assert left(wrong[-1], "address") == 10 - 3 - 4 - 1, "the first token request was not yet a known client's"
        await http.post("/events", content=VIEW, headers=LINES | {"authorization": "Bearer nonsense"})
        await http.get("/oauth/nothing")
        assert_refused(await http.post("/events", content=VIEW, headers=LINES | {"authorization": "Bearer nonsense"}))
        assert_refused(await http.get("/.well-known/jwks.json"))
        refused = await http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=("other", SECRET))
        assert refused.status_code == 429
        assert refused.json()["error"] == "slow_down"
        assert int(refused.headers["retry-after"]) >= limits(refused)["address"][1] >= 1
        assert (await ask(http)).status_code == 200, "a caller with a token is not limited by the address"
        assert await token(http), "nor is a client that authenticated before"


async def test_wrong_secrets_use_up_nothing_of_the_client_they_name(limited: Gateway) -> None:
    async with limited(rate_client="100/day", rate_address="10/day") as http:
        before = left(await ask(http))
        for number in range(30):
            form = {"grant_type": "client_credentials"}
            answer = await http.post("/oauth/token", data=form, auth=(CLIENT, f"a-wrong-secret-{number}"))
            assert answer.status_code in (401, 429)
        assert limits(answer) == {"address": (0, limits(answer)["address"][1])}
        assert before - left(await ask(http)) == 1
        assert await token(http), "the client is familiar at this address"


async def test_token_requests_of_a_known_client_count_for_the_client(limited: Gateway) -> None:
    async with limited(rate_client="100/day") as http:
        for number in (1, 2):
            answer = await http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=(CLIENT, SECRET))
            assert left(answer) == 100 - number * TOKEN_UNITS
        for _ in range(8):
            await token(http)
        refused = await http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=(CLIENT, SECRET))
        assert (refused.status_code, refused.json()["error"]) == (429, "slow_down")
        assert limits(refused)["client"][0] < TOKEN_UNITS


async def test_a_client_that_sends_assertions_pays_for_its_tokens_and_forgers_do_not_make_it(
    limited: Gateway, pool: Pool
) -> None:
    own, strange = (ECKey.generate_key("P-256", {"kid": "k"}) for _ in range(2))
    jwks = json.dumps({"keys": [own.as_dict(private=False)]})
    await create_client(pool, register("partner", grants=["client_credentials"], scope="catalog:read", jwks=jwks))
    async with limited(rate_client="30/day", rate_address="10/day") as http:

        async def request_token(key: ECKey) -> httpx.Response:
            now = int(clock.now().timestamp())
            claims = {"iss": "partner", "sub": "partner", "aud": BASE, "exp": now + 60}
            text = jwt.encode({"alg": "ES256", "kid": "k"}, claims | {"jti": token_urlsafe(16)}, key)
            form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": text}
            request = http.build_request("POST", "/oauth/token", data={"grant_type": "client_credentials"} | form)
            del request.headers["authorization"]
            return await http.send(request)

        assert left(await request_token(own)) == 20
        statuses = [(await request_token(strange)).status_code for _ in range(12)]
        assert statuses == [401] * 8 + [429] * 4, "two requests that were right took units of the address before"
        assert left(await request_token(own)) == 10, "the address has none left, and the forged ones took none"
        answers = [await request_token(own) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429], "one more found out that none are left"


async def test_probes_are_not_limited(limited: Gateway) -> None:
    async with limited(rate_address="1/day") as http:
        for path in ("/healthz", "/readyz", "/metrics"):
            for _ in range(3):
                answer = await http.get(path)
                assert answer.status_code != 429
                assert "ratelimit" not in answer.headers


async def test_pages_of_other_origins_may_read_the_headers_that_are_sent(limited: Gateway, pool: Pool) -> None:
    await pool.execute("UPDATE oauth_clients SET origins = '{https://web.example}'")
    async with limited() as http:
        answer = await http.post(
            "/graphql", json={"query": "{ __typename }"}, headers={"origin": "https://web.example"}
        )
        exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert {"ratelimit", "ratelimit-policy", "retry-after"} <= exposed
        assert {name for name in exposed if name.startswith("ratelimit")} <= set(answer.headers)


async def test_the_default_limits_let_a_busy_shop_through(limited: Gateway) -> None:
    async with limited(rate_client="1000/day") as http:
        before = left(await ask(http))
        full = before - left(await ask(http, QUERY, id="anna"))
        assert full == 47, "as the documentation says"
    async with limited() as http:
        policy = dict(parsed(await ask(http), "ratelimit-policy"))["client"]
        assert policy["q"] / policy["w"] / full >= 2_000, "answers a second"
