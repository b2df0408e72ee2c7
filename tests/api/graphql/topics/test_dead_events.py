"""Dead events over GraphQL: listed with one scope, replayed and discarded with another, one outcome each."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from api.gateway import Gateway
from bus.envelope import Kind
from bus.rabbitmq import topology
from bus.rabbitmq.dead_letters import dead_letter
from bus.rabbitmq.publisher import RabbitPublisher
from core.contract import Event, Person, read_event
from core.settings import Stores
from db.dead_events import DeadReason, NewDeadEvent, insert_dead_events
from db.events import events_of_person, insert_events
from engine.dead_events.records import of_event, of_message
from engine.intake.dead_letters import dead_events_of
from engine.intake.reading import read_batch
from engine.intake.storing import insert_good
from tests.faults import eventually
from tests.fixtures.gateway import Ask

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIST = """query ($first: Int! = 20, $after: String, $reason: DeadReason, $state: DeadState! = DEAD) {
  deadEvents(first: $first, after: $after, reason: $reason, state: $state) {
    nodes { id reason message attempts state source eventId type occurredAt task decision }
    pageInfo { hasNextPage endCursor } } }"""
PRIVATE = "{ deadEvents { nodes { eventId userId anonymousId body } } }"
DECIDED = "query ($state: DeadState!) { deadEvents(state: $state) { nodes { id decision decidedBy } } }"
REPLAY = """mutation ($ids: [ID!]!) { replayDeadEvents(ids: $ids) {
  accepted rejected results { index id outcome code message } } }"""
DISCARD = """mutation ($ids: [ID!]!, $reason: String!) { discardDeadEvents(ids: $ids, reason: $reason) {
  accepted rejected results { index id outcome code message } } }"""


def make_event(**fields: Any) -> Event:
    raw = {"type": "VIEW", "userId": "u1", "itemId": "i1", "occurredAt": NOW, **fields}
    return read_event(raw, source="shop", received_at=NOW)


@pytest.fixture
async def queue(gateway: Gateway, stores: Stores) -> AsyncIterator[AbstractChannel]:
    """A channel to a real broker with empty queues; the gateway uses the same broker."""
    url = stores.broker_url.get_secret_value()
    topology.declare(url)
    gateway.broker = RabbitPublisher(url, 5)
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await (await channel.get_queue(topology.EVENTS.name)).purge()
        yield channel
    await gateway.broker.close()


async def set_aside(gateway: Gateway, *events: NewDeadEvent) -> list[str]:
    """Store dead events; returns all their ids, in order."""
    for dead in events:
        await insert_dead_events(gateway.pool, [dead])
    rows = await gateway.pool.fetch("SELECT id FROM dead_events ORDER BY id")
    return [str(row["id"]) for row in rows]


async def arrived(channel: AbstractChannel, count: int) -> list[Any]:
    """The messages in the queue, as soon as there are `count`."""
    events = await channel.get_queue(topology.EVENTS.name)
    found: list[Any] = []

    async def all_there() -> bool:
        found.extend(filter(None, [await events.get(no_ack=True, fail=False)]))
        return len(found) == count

    await eventually(all_there)
    return found


async def test_dead_events_are_listed_by_reason_and_page_without_personal_data(ask: Ask, gateway: Gateway) -> None:
    crashed = [of_event(make_event(id=f"e{n}"), DeadReason.CRASHED, "it crashed", 5) for n in range(3)]
    ids = await set_aside(gateway, *crashed, of_message(b"\xff", None, DeadReason.UNREADABLE, "no task"))
    watching = ["metrics:read"]
    first = (await ask(LIST, {"first": 2}, scopes=watching)).data["deadEvents"]
    rest = (await ask(LIST, {"after": first["pageInfo"]["endCursor"]}, scopes=watching)).data["deadEvents"]
    assert [node["id"] for node in [*first["nodes"], *rest["nodes"]]] == ids[::-1]
    assert (first["pageInfo"]["hasNextPage"], rest["pageInfo"]["hasNextPage"]) == (True, False)
    found = (await ask(LIST, {"reason": "CRASHED"}, scopes=watching)).data["deadEvents"]["nodes"]
    assert found[0] == {
        "id": ids[2], "reason": "CRASHED", "message": "it crashed", "attempts": 5, "state": "DEAD", "source": "shop",
        "eventId": "e2", "type": "VIEW", "occurredAt": "2026-03-01T12:00:00Z", "task": Kind.STORE_EVENTS,
        "decision": None,
    }  # fmt: skip
    refused = await ask(PRIVATE, scopes=watching)
    assert set(refused.codes) == {"FORBIDDEN"}
    assert {(node["userId"], node["body"]) for node in refused.data["deadEvents"]["nodes"]} == {(None, None)}
    answered = (await ask(PRIVATE)).data["deadEvents"]["nodes"]
    assert (answered[0]["body"], answered[1]["userId"]) == ("\\xff", "u1")
    assert Event.model_validate_json(answered[1]["body"]) == make_event(id="e2")


async def test_a_replay_sends_the_same_event_once(ask: Ask, gateway: Gateway, queue: AbstractChannel) -> None:
    event = make_event(id="e1", properties={"text": '"🛒\\'})
    ids = await set_aside(
        gateway,
        of_event(event, DeadReason.CRASHED, "it crashed", 5),
        of_message(b"[[1],{},{}]", "penchant.of_next_release", DeadReason.UNKNOWN_TASK, "unknown"),
        of_message(b"?", None, DeadReason.UNREADABLE, "no task"),
    )
    answered = (await ask(REPLAY, {"ids": [*ids, "4711", "x", ids[0]]}, person=Person("user", "ada"))).data[
        "replayDeadEvents"
    ]
    outcomes = [(result["id"], result["outcome"], result["code"]) for result in answered["results"]]
    assert outcomes == [
        (ids[0], "ACCEPTED", None),
        (ids[1], "ACCEPTED", None),
        (ids[2], "REJECTED", "NOT_REPLAYABLE"),
        ("4711", "REJECTED", "NOT_FOUND"),
        ("x", "REJECTED", "NOT_FOUND"),
        (ids[0], "ACCEPTED", None),
    ]
    sent = {message.headers["task"]: message for message in await arrived(queue, 2)}
    assert [dead.body for dead in dead_events_of(dead_letter(sent[Kind.STORE_EVENTS]))] == [
        of_event(event, DeadReason.FAILED, "").body
    ]
    assert sent["penchant.of_next_release"].body == b"[[1],{},{}]"
    again = (await ask(REPLAY, {"ids": ids[:1]})).data["replayDeadEvents"]
    assert [result["outcome"] for result in again["results"]] == ["DUPLICATE"]
    (replayed, _) = (await ask(DECIDED, {"state": "REPLAYED"})).data["deadEvents"]["nodes"][::-1]
    assert (replayed["id"], replayed["decidedBy"]) == (ids[0], "tests for ada")
    refused = await ask(DECIDED, {"state": "REPLAYED"}, scopes=["metrics:read"])
    assert set(refused.codes) == {"FORBIDDEN"}
    assert {node["decidedBy"] for node in refused.data["deadEvents"]["nodes"]} == {None}


async def test_a_conflict_is_replayed_only_when_it_would_be_stored_now(
    ask: Ask, gateway: Gateway, queue: AbstractChannel
) -> None:
    first, second = make_event(id="e1", itemId="first"), make_event(id="e1", itemId="second")
    await insert_events(gateway.pool, [first])
    ids = await set_aside(gateway, *(await insert_good(gateway.pool, [second])).dead)
    refused = (await ask(REPLAY, {"ids": ids})).data["replayDeadEvents"]
    assert refused["rejected"] == 1
    assert [result["code"] for result in refused["results"]] == ["CONFLICT"]
    await gateway.pool.execute("DELETE FROM events")
    assert (await ask(REPLAY, {"ids": ids})).data["replayDeadEvents"]["accepted"] == 1
    (message,) = await arrived(queue, 1)
    read = read_batch(dead_events_of(dead_letter(message))[0].body.decode().join("[]"))
    await insert_good(gateway.pool, read.events)
    assert [event.item_id for event in await events_of_person(gateway.pool, Person("user", "u1"))] == ["second"]


async def test_while_the_broker_is_unavailable_no_dead_event_is_marked(ask: Ask, gateway: Gateway) -> None:
    ids = await set_aside(gateway, of_event(make_event(id="e1"), DeadReason.CRASHED, "it crashed", 5))
    answered = (await ask(REPLAY, {"ids": ids})).data["replayDeadEvents"]["results"]
    assert [(result["outcome"], result["code"]) for result in answered] == [("RETRY", "SERVICE_UNAVAILABLE")]
    assert len((await ask(LIST)).data["deadEvents"]["nodes"]) == 1


async def test_a_discard_needs_a_reason_and_deletes_the_content(ask: Ask, gateway: Gateway) -> None:
    ids = await set_aside(gateway, of_event(make_event(id="e1"), DeadReason.CRASHED, "it crashed", 5))
    assert (await ask(DISCARD, {"ids": ids, "reason": " "})).codes == ["BAD_USER_INPUT"]
    answered = (await ask(DISCARD, {"ids": [*ids, "4711"], "reason": "a test order"})).data["discardDeadEvents"]
    assert [result["outcome"] for result in answered["results"]] == ["ACCEPTED", "REJECTED"]
    (gone,) = (await ask(DECIDED, {"state": "DISCARDED"})).data["deadEvents"]["nodes"]
    assert (gone["decision"], gone["decidedBy"]) == ("a test order", "tests")
    assert await gateway.pool.fetchval("SELECT body FROM dead_events") is None
    assert [r["outcome"] for r in (await ask(REPLAY, {"ids": ids})).data["replayDeadEvents"]["results"]] == [
        "DUPLICATE"
    ]


async def test_replay_and_discard_need_their_scope_and_have_bounds(ask: Ask) -> None:
    for query, variables in ((REPLAY, {"ids": ["1"]}), (DISCARD, {"ids": ["1"], "reason": "x"})):
        assert (await ask(query, variables, scopes=["metrics:read"])).codes == ["FORBIDDEN"]
    assert (await ask(LIST, scopes=["events:admin"])).codes == ["FORBIDDEN"]
    assert (await ask(REPLAY, {"ids": ["1"] * 501})).codes == ["PAYLOAD_TOO_LARGE"]
