"""/graphql over WebSocket: the protocol, who may connect, and what ends a connection."""

from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from api.graphql.subscriptions import session
from api.http.streaming import streams
from db.jobs import fail_job, lease_job, request_job
from db.postgres import Pool
from tests.api.graphql.subscriptions.conftest import ORIGIN, Caller, Connect, Serving
from tests.running import CLIENT, SECRET

JOBS = "subscription { jobs { id state reason } }"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens of streams are checked often."""
    monkeypatch.setattr(streams, "CHECK", 0.05)


async def test_a_query_is_answered_as_over_http(gateway_at: Serving, connected: Connect) -> None:
    caller = await connected(token=await gateway_at.token())
    await caller.subscribe("1", "query($id: ID!) { item(id: $id) { id } }", variables={"id": "none"})
    assert await caller.next() == {"id": "1", "type": "next", "payload": {"data": {"item": None}}}
    assert await caller.next() == {"id": "1", "type": "complete"}
    await caller.subscribe("1", "{ item(id: 1) { nothing } }")  # the id may be used again
    refused = await caller.next()
    assert (refused["id"], refused["type"]) == ("1", "error")
    assert refused["payload"][0]["extensions"]["code"] == "GRAPHQL_VALIDATION_FAILED"


async def test_jobs_are_followed_from_request_to_end(gateway_at: Serving, connected: Connect, pool: Pool) -> None:
    before = await request_job(pool, "affinity", "waits", "a test")
    caller = await connected(token=await gateway_at.token("models:read"))
    await caller.subscribe("1", JOBS)
    assert await states(caller, 1) == [(str(before.id), "QUEUED")]
    job = await lease_job(pool, "affinity")
    assert job is not None
    assert await states(caller, 1) == [(str(job.id), "RUNNING")]
    after = await request_job(pool, "affinity", "another", "a test")
    assert await states(caller, 1) == [(str(after.id), "QUEUED")]
    await fail_job(pool, job, "no data")
    assert await states(caller, 1) == [(str(job.id), "FAILED")]
    await caller.say(type="complete", id="1")
    await caller.say(type="ping")
    assert await caller.next() == {"type": "pong"}


async def states(caller: Caller, count: int) -> list[tuple[str, str]]:
    found = []
    for _ in range(count):
        message = await caller.next()
        assert message["type"] == "next", message
        found.append((message["payload"]["data"]["jobs"]["id"], message["payload"]["data"]["jobs"]["state"]))
    return found


async def test_one_job_is_followed_alone(gateway_at: Serving, connected: Connect, pool: Pool) -> None:
    await request_job(pool, "affinity", "one", "a test")
    other = await request_job(pool, "affinity", "other", "a test")
    caller = await connected(token=await gateway_at.token())
    await caller.subscribe("1", "subscription($id: ID) { jobs(id: $id) { id } }", variables={"id": str(other.id)})
    assert (await caller.next())["payload"] == {"data": {"jobs": {"id": str(other.id)}}}


async def test_all_subscribers_share_one_poll(gateway_at: Serving, connected: Connect, pool: Pool) -> None:
    await request_job(pool, "affinity", "one", "a test")
    callers = [await connected(token=await gateway_at.token()) for _ in range(3)]
    for caller in callers:
        for id in ("1", "2"):
            await caller.subscribe(id, JOBS)
        assert [(await caller.next())["type"] for _ in range(2)] == ["next", "next"]
    feed = gateway_at.server.lifespan.state["gateway"].job_feed
    polls = feed.polls
    await lease_job(pool, "affinity")
    for caller in callers:
        assert [(await caller.next())["type"] for _ in range(2)] == ["next", "next"]
    assert feed.polls - polls <= 2


async def test_a_token_without_the_scope_gets_an_error(gateway_at: Serving, connected: Connect) -> None:
    caller = await connected(token=await gateway_at.token("catalog:read"))
    await caller.subscribe("1", JOBS)
    message = await caller.next()
    assert message["payload"]["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert await caller.next() == {"id": "1", "type": "complete"}


async def test_mutations_are_refused(gateway_at: Serving, connected: Connect) -> None:
    caller = await connected(token=await gateway_at.token())
    await caller.subscribe("1", 'mutation { requestTraining(reason: "x") { job { id } } }')
    message = await caller.next()
    assert (message["type"], message["payload"][0]["extensions"]["code"]) == ("error", "METHOD_NOT_ALLOWED")


async def test_the_header_of_the_handshake_authenticates_too(gateway_at: Serving, connected: Connect) -> None:
    token = await gateway_at.token()
    caller = await connected(additional_headers={"authorization": f"Bearer {token}"})
    await caller.say(type="connection_init")
    assert await caller.next() == {"type": "connection_ack"}


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"Authorization": "Bearer forged"},
        {"authorization": "Basic x"},
        {"authorization": "Bearer ü"},
        {"authorization": "Bearer a", "Authorization": "Bearer b"},
    ],
)
async def test_a_wrong_token_closes_with_4403(connected: Connect, payload: Any) -> None:
    caller = await connected()
    await caller.say(type="connection_init", payload=payload)
    assert await caller.closed() == (4403, "Forbidden")


MALFORMED = [
    "",
    "{",
    "[]",
    "1",
    '"ping"',
    "null",
    "{}",
    '{"type":"nothing"}',
    '{"type":null}',
    '{"type":["ping"]}',
    '{"type":"ping","payload":1}',
    '{"type":"connection_init","payload":[]}',
    '{"type":"subscribe"}',
    '{"type":"subscribe","id":1,"payload":{"query":"{a}"}}',
    '{"type":"subscribe","id":"","payload":{"query":"{a}"}}',
    '{"type":"subscribe","id":"%s","payload":{"query":"{a}"}}' % ("x" * 129),
    '{"type":"subscribe","id":"1","payload":{}}',
    '{"type":"subscribe","id":"1","payload":{"query":1}}',
    '{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":[]}}',
    '{"type":"complete"}',
    '{"type":"ping","payload":' + "[" * 2000 + "]" * 2000 + "}",
    '{"type":"ping","payload":{"a":[' + "[]," * 7000 + "[]]}}",
    b'{"type":"ping"}',
]


@pytest.mark.parametrize("text", MALFORMED)
async def test_a_malformed_message_closes_with_4400(connected: Connect, text: str | bytes) -> None:
    caller = await connected()
    await caller.socket.send(text)
    assert await caller.closed() == (4400, "Malformed message")


async def test_the_order_of_messages_is_checked(gateway_at: Serving, connected: Connect) -> None:
    early = await connected()
    await early.subscribe("1", "{ __typename }")
    assert (await early.closed())[0] == 4401
    token = await gateway_at.token()
    twice = await connected(token=token)
    await twice.say(type="connection_init", payload={"authorization": f"Bearer {token}"})
    assert (await twice.closed())[0] == 4429
    same = await connected(token=token)
    await same.subscribe("1", JOBS)
    await same.subscribe("1", JOBS)
    assert (await same.closed())[0] == 4409


async def test_another_subprotocol_closes_with_4406(connected: Connect) -> None:
    caller = await connected(protocol="graphql-ws")
    assert (await caller.closed())[0] == 4406


async def test_a_caller_that_does_not_begin_is_closed(connected: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "INIT_TIMEOUT", 0.05)
    caller = await connected()
    assert (await caller.closed())[0] == 4408


async def test_an_idle_connection_is_closed_and_one_with_a_subscription_is_not(
    gateway_at: Serving, connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "IDLE", 0.3)
    idle, busy = [await connected(token=await gateway_at.token()) for _ in range(2)]
    await busy.subscribe("1", JOBS)
    assert await idle.closed() == (1000, "Idle")
    await busy.say(type="ping")
    assert await busy.next() == {"type": "pong"}


async def test_a_revoked_token_ends_its_connection(
    gateway_at: Serving, connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await gateway_at.token()
    caller = await connected(token=token)
    await caller.subscribe("1", JOBS)
    async with httpx.AsyncClient(base_url=gateway_at.url) as client:
        answer = await client.post("/oauth/revoke", data={"token": token}, auth=(CLIENT, SECRET))
    assert answer.status_code == 200
    assert await caller.closed() == (4403, "Forbidden: the token has ended")


async def test_operations_of_a_connection_are_bounded(
    gateway_at: Serving, connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = await connected(token=await gateway_at.token())
    for number in range(session.MOST_OPERATIONS):
        await caller.subscribe(str(number), JOBS)
    await caller.subscribe("more", JOBS)
    message = await caller.next()
    assert (message["id"], message["type"]) == ("more", "error")
    assert message["payload"][0]["extensions"]["code"] == "RATE_LIMITED"


async def test_connections_of_a_caller_are_bounded(
    gateway_at: Serving, connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST_OF_CALLER", 2)
    token = await gateway_at.token()
    first = await connected(token=token)
    await connected(token=token)
    third = await connected()
    await third.say(type="connection_init", payload={"Authorization": f"Bearer {token}"})
    assert (await third.closed())[0] == 1013
    await first.socket.close()
    await connected(token=token)


async def test_connections_of_an_address_that_have_not_begun_are_bounded(
    gateway_at: Serving, connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST_BEGINNING", 2)
    token = await gateway_at.token()
    first, second = await connected(), await connected()
    with pytest.raises(InvalidStatus) as refused:
        await connected()
    assert refused.value.response.status_code == 429
    await first.init(token)
    await connected()
    await second.socket.close()
    await second.socket.wait_closed()
    for _ in range(5):
        await connected(token=token)  # those that have begun do not count


async def test_behind_a_trusted_proxy_the_address_that_it_names_counts(
    gateway_at: Serving, connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MOST_BEGINNING", 1)
    monkeypatch.setitem(gateway_at.server.lifespan.state, "trusted_proxies", (ip_network("127.0.0.0/8"),))
    await connected(additional_headers={"x-forwarded-for": "192.0.2.1"})
    with pytest.raises(InvalidStatus):
        await connected(additional_headers={"x-forwarded-for": "192.0.2.1"})
    await connected(additional_headers={"x-forwarded-for": "192.0.2.2"})


async def test_many_messages_close_the_connection(
    gateway_at: Serving, connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MOST_MESSAGES", 50)
    caller = await connected()
    for _ in range(51):
        await caller.say(type="ping")
    assert (await caller.closed())[0] == 1008


async def test_pages_of_registered_origins_and_our_own_may_connect(gateway_at: Serving, connected: Connect) -> None:
    for origin in (ORIGIN, gateway_at.url):
        await connected(origin=origin)
    with pytest.raises(InvalidStatus) as refused:
        await connected(origin="https://evil.example")
    assert refused.value.response.status_code == 403


async def test_shutdown_closes_with_1001(gateway_at: Serving, connected: Connect) -> None:
    caller = await connected(token=await gateway_at.token())
    await caller.subscribe("1", JOBS)
    gateway_at.server.should_exit = True
    assert (await caller.closed())[0] == 1001
