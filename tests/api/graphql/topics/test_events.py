"""`trackEvents` and `history` as a client uses them."""

from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.gateway import Gateway
from bus.rabbitmq.publisher import RabbitPublisher
from core import clock
from core.contract import Event, Person, read_event
from core.settings import Ingest as IngestSettings
from db.events import insert_events
from db.postgres import Pool
from engine.intake.ingest import EventIntake
from engine.signing import Signer
from tests.fixtures.gateway import Ask

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
COUNTS = ("accepted", "rejected", "duplicate", "conflict", "retry")
TRACK = """mutation ($events: [EventInput!]!, $only: [Outcome!]) { trackEvents(events: $events) {
  accepted rejected duplicate conflict retry
  results(only: $only) { index id outcome code field message } } }"""
HISTORY = """query ($id: ID!, $types: [EventType!], $first: Int! = 20, $after: String) { user(id: $id) {
  history(types: $types, first: $first, after: $after) { pageInfo { hasNextPage hasPreviousPage endCursor }
    edges { cursor node { id } }
    nodes { id type occurredAt receivedAt itemId unitPrice properties item { title } } } } }"""


@pytest.fixture
async def tracking(gateway: Gateway, broker_url: str) -> AsyncIterator[Gateway]:
    """The gateway with ingest."""
    broker = RabbitPublisher(broker_url, 5)
    settings = IngestSettings.model_validate({})
    gateway.ingest = EventIntake(settings, gateway.pool, gateway.redis, broker, signer=gateway.signer)
    gateway.ingest.open()
    yield gateway
    await gateway.ingest.close()
    await broker.close()


def make_event(n: int = 0, **fields: Any) -> Event:
    raw = {"id": f"e{n:03}", "type": "VIEW", "userId": "u1", "itemId": "i1", **fields}
    return read_event({"occurredAt": NOW - timedelta(minutes=n), **raw}, source="shop", received_at=NOW)


async def test_each_event_has_its_outcome(tracking: Gateway, ask: Ask) -> None:
    good = {"type": "VIEW", "userId": "u1", "itemId": "i1", "id": "e1", "occurredAt": "2026-03-01T12:00:00Z"}
    bad = {"type": "PURCHASE", "userId": "u1", "itemId": "i1", "unitPrice": "-1", "properties": {"a": [1]}}
    answer = await ask(TRACK, {"events": [good, bad, good]})
    payload = answer.data["trackEvents"]
    assert (payload["accepted"], payload["rejected"]) == (1, 1)
    assert [result["outcome"] for result in payload["results"]] == ["ACCEPTED", "REJECTED", "DUPLICATE"]
    assert payload["results"][1]["field"] == ["unitPrice"] and payload["results"][1]["code"] == "BAD_USER_INPUT"
    assert payload["results"][0]["id"] == "e1"


async def test_results_can_be_limited_to_some_outcomes(tracking: Gateway, ask: Ask) -> None:
    events = [{"type": "VIEW", "userId": "u1", "itemId": "i1"}, {"type": "VIEW", "userId": "u1"}]
    answer = await ask(TRACK, {"events": events, "only": ["REJECTED", "CONFLICT", "RETRY"]})
    assert [result["index"] for result in answer.data["trackEvents"]["results"]] == [1]


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"itemId": None}, "itemId"),
        ({"itemId": "a\x00"}, "itemId"),
        ({"itemId": "x" * 10_000}, "itemId"),
        ({"userId": None}, "userId"),
        ({"type": "SEARCH"}, "query"),
        ({"type": "IMPRESSION"}, "itemIds"),
        ({"type": "RATING"}, "value"),
        ({"id": "e1"}, "occurredAt"),
        ({"occurredAt": "1989-12-31T23:59:59Z"}, "occurredAt"),
        ({"occurredAt": (clock.now() + timedelta(hours=1)).isoformat()}, "occurredAt"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": -1}, "quantity"),
        ({"unitPrice": "-0.01"}, "unitPrice"),
        ({"unitPrice": "NaN"}, "unitPrice"),
        ({"value": "-Infinity"}, "value"),
        ({"value": "-1"}, "value"),
        ({"currency": "EURO"}, "currency"),
        ({"currency": "XXX"}, "currency"),
        ({"properties": [1]}, "properties"),
        ({"properties": {"a": "\x00"}}, "properties"),
    ],
)
async def test_an_invalid_event_is_rejected_with_its_index_and_field_and_the_others_are_accepted(
    tracking: Gateway, ask: Ask, fields: dict[str, Any], at_fault: str
) -> None:
    good = {"type": "VIEW", "userId": "u1", "itemId": "i1"}
    answer = await ask(TRACK, {"events": [good, {**good, **fields}, good]})
    before, result, after = answer.data["trackEvents"]["results"]
    assert (result["index"], result["outcome"], result["field"]) == (1, "REJECTED", [at_fault])
    assert before["outcome"] == after["outcome"] == "ACCEPTED"


async def test_an_event_may_name_only_a_list_that_this_server_made(tracking: Gateway, ask: Ask) -> None:
    listed = await ask('{ user(id: "u1") { recommendations { impressionId } } }')
    shown = listed.data["user"]["recommendations"]["impressionId"]
    changed = f"{shown[:-8]}{'A' if shown[-8] != 'A' else 'B'}{shown[-7:]}"
    foreign = Signer("the secret of another server").sign("impression", b"[]")
    cursor = tracking.signer.sign("cursor", b"[]")
    event = {"type": "CLICK", "userId": "u1", "itemId": "i1"}
    ids = [shown, None, changed, foreign, cursor, "imp", "é", f"{shown}="]
    answer = await ask(TRACK, {"events": [event, *({**event, "impressionId": id} for id in ids)]})
    results = answer.data["trackEvents"]["results"]
    assert [result["outcome"] for result in results] == ["ACCEPTED"] * 3 + ["REJECTED"] * 6
    for result in results[3:]:
        assert (result["code"], result["field"]) == ("UNKNOWN_IMPRESSION", ["impressionId"])
        assert result["message"].startswith("No list of this server has this impressionId.")


async def test_every_field_of_an_event_is_read(tracking: Gateway, ask: Ask) -> None:
    shown = tracking.signer.sign("impression", b"[]")
    whole = {
        "id": "🛒", "source": "till", "type": "PURCHASE", "occurredAt": "2026-03-01T12:00:00.5Z", "userId": "u1",
        "anonymousId": "g1", "itemId": "i1", "itemIds": ["i1"], "orderId": "o1", "quantity": 2, "unitPrice": "1.50",
        "currency": "EUR", "value": "3", "query": "tea", "impressionId": shown, "sessionId": "s1",
        "properties": {"a": None},
    }  # fmt: skip
    answer = await ask(TRACK, {"events": [whole, {**whole, "itemId": "i2"}, whole]})
    payload = answer.data["trackEvents"]
    assert answer.codes == []
    assert [result["outcome"] for result in payload["results"]] == ["ACCEPTED", "CONFLICT", "DUPLICATE"]
    assert {name: payload[name] for name in COUNTS} == dict(zip(COUNTS, (1, 1, 1, 1, 0), strict=True))


async def test_events_may_be_written_into_the_document(tracking: Gateway, ask: Ask) -> None:
    event = '{ type: RATING, userId: 7, itemId: "i1", value: "4.5", properties: {a: [1, null]}, quantity: null }'
    answer = await ask(f"mutation {{ trackEvents(events: [{event}]) {{ results {{ outcome message }} }} }}")
    assert answer.data["trackEvents"]["results"] == [{"outcome": "ACCEPTED", "message": None}]


async def test_a_call_with_more_than_500_events_is_refused(tracking: Gateway, ask: Ask) -> None:
    event = {"type": "VIEW", "userId": "u1", "itemId": "i1"}
    answer = await ask(TRACK, {"events": [event] * 501})
    assert answer.codes == ["PAYLOAD_TOO_LARGE"]


async def test_reporting_events_needs_its_scope(tracking: Gateway, ask: Ask) -> None:
    answer = await ask(TRACK, {"events": []}, scopes=["profiles:read"])
    assert answer.codes == ["FORBIDDEN"] and answer.data == {"trackEvents": None}


async def test_a_history_is_newest_first_and_paged(gateway: Gateway, ask: Ask) -> None:
    await insert_events(gateway.pool, [make_event(n) for n in range(25)])
    found, after, pages = [], None, 0
    while True:
        answer = await ask(HISTORY, {"id": "u1", "first": 10, "after": after})
        page = answer.data["user"]["history"]
        assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
        found += [node["id"] for node in page["nodes"]]
        pages, after = pages + 1, page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert pages == 3 and found == [f"e{n:03}" for n in range(25)]


async def test_a_cursor_of_a_history_does_not_show_who_reported_the_events(gateway: Gateway, ask: Ask) -> None:
    event = make_event(source="till").model_copy(update={"source": "evil\x1fguest\x1falice\x1ftill"})
    await insert_events(gateway.pool, [event, make_event(1)])
    page = (await ask(HISTORY, {"id": "u1", "first": 1})).data["user"]["history"]
    cursor = page["pageInfo"]["endCursor"]
    assert cursor == page["edges"][0]["cursor"]
    read = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert not any(part in read for part in (b"evil", b"guest", b"alice", b"till"))
    rest = (await ask(HISTORY, {"id": "u1", "after": cursor})).data["user"]["history"]
    assert [node["id"] for node in rest["nodes"]] == ["e001"]


async def test_a_history_shows_the_events_as_reported(gateway: Gateway, ask: Ask) -> None:
    sent = make_event(type="PURCHASE", unitPrice="1.50", properties={"a": [None]})
    await insert_events(gateway.pool, [sent, make_event(1, type="CLICK")])
    answer = await ask(HISTORY, {"id": "u1", "types": ["PURCHASE"]})
    (node,) = answer.data["user"]["history"]["nodes"]
    assert node == {
        "id": "e000",
        "type": "PURCHASE",
        "occurredAt": "2026-03-01T12:00:00Z",
        "receivedAt": "2026-03-01T12:00:00Z",
        "itemId": "i1",
        "unitPrice": "1.5000",
        "properties": {"a": [None]},
        "item": None,
    }


@pytest.mark.parametrize(
    ("arguments", "code"),
    [({"first": 0}, "BAD_USER_INPUT"), ({"first": 101}, "BAD_USER_INPUT"), ({"after": "x"}, "BAD_USER_INPUT")],
)
async def test_a_first_out_of_bounds_or_a_wrong_cursor_is_bad_input(
    gateway: Gateway, ask: Ask, arguments: dict[str, Any], code: str
) -> None:
    answer = await ask(HISTORY, {"id": "u1", **arguments})
    assert answer.codes == [code] and answer.data["user"]["history"] is None


async def test_a_history_is_private(gateway: Gateway, ask: Ask) -> None:
    await insert_events(gateway.pool, [make_event()])
    theirs = await ask(HISTORY, {"id": "u1"}, scopes=["recommendations:read"])
    assert theirs.codes == ["FORBIDDEN"]
    own = await ask("{ me { history { nodes { id } } } }", person=Person("user", "u1"), scopes=["recommendations:read"])
    assert own.data["me"]["history"]["nodes"] == [{"id": "e000"}]


async def test_an_unreadable_history_is_service_unavailable(gateway: Gateway, ask: Ask, pool: Pool) -> None:
    await pool.close()
    answer = await ask("{ me { history { nodes { id } } } }", person=Person("user", "u1"))
    assert answer.codes == ["SERVICE_UNAVAILABLE"]
