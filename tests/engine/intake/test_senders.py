"""Nobody else's events: ids of one sender never meet another's, in Redis, in Postgres and in dead events."""

from datetime import timedelta
from typing import Any

import pytest
from aio_pika.abc import AbstractChannel

from bus.rabbitmq.publisher import RabbitPublisher
from core import clock
from core.contract import Event, Person, read_event
from core.sources import client_source, namespace_of
from db.dead_events import bodies_of_dead_events, list_dead_events
from db.events import insert_events
from db.postgres import Pool
from engine.dead_events.deciding import replay
from engine.dead_events.storing import record_dead_events
from engine.intake.ingest import EventIntake
from engine.intake.reading import read_batch
from engine.intake.storing import insert_good, store
from engine.outcomes import Result
from engine.viewer import Viewer
from tests.faults import eventually
from tests.fixtures.worker import StartWorker
from workers.process import Connections

SCOPES = frozenset({"events:write", "orders:write"})
SHOP = Viewer("shop", SCOPES, None, 2**31)
OTHER = Viewer("other", SCOPES, None, 2**31)
ANNA = Viewer("shop", SCOPES, Person("user", "anna"), 2**31)
BERT = Viewer("shop", SCOPES, Person("user", "bert"), 2**31)
GUEST = Viewer("shop", SCOPES, Person("guest", "anna"), 2**31)
ANNA_ELSEWHERE = Viewer("other", SCOPES, Person("user", "anna"), 2**31)


def outcomes(results: list[Result]) -> list[str]:
    return [result.outcome.value for result in results]


def order(**fields: Any) -> dict[str, Any]:
    moment = (clock.now() - timedelta(minutes=1)).replace(microsecond=0).isoformat()
    return {"type": "PURCHASE", "id": "order-77-1", "itemId": "i1", "occurredAt": moment, **fields}


async def stored(pool: Pool) -> list[tuple[str, str]]:
    return [(row["source"], row["type"]) for row in await pool.fetch("SELECT source, type FROM events ORDER BY source")]


async def test_a_person_cannot_block_the_shops_order_by_using_its_id_first(
    ingest: EventIntake, pool: Pool, start_worker: StartWorker
) -> None:
    start_worker()
    shops = order(userId="anna")
    for attacker in (BERT, ANNA, GUEST, OTHER, ANNA_ELSEWHERE):
        person = {"userId": "anna"} if attacker.person is None else {}
        attack = {**order(), **person, "occurredAt": shops["occurredAt"], "type": "VIEW"}
        assert outcomes(await ingest.track(attacker, [attack])) == ["ACCEPTED"], attacker
    assert outcomes(await ingest.track(SHOP, [shops])) == ["ACCEPTED"]
    assert outcomes(await ingest.track(SHOP, [shops, {**shops, "quantity": 2}])) == ["DUPLICATE", "CONFLICT"]

    async def all_stored() -> bool:
        return len(await stored(pool)) == 6

    await eventually(all_stored)
    assert (client_source("shop"), "PURCHASE") in await stored(pool)
    assert await list_dead_events(pool, 10) == []


@pytest.mark.parametrize("sender", [BERT, ANNA, GUEST, OTHER, ANNA_ELSEWHERE])
async def test_outcomes_are_the_same_whether_another_senders_event_is_there_or_not(
    ingest: EventIntake, connections: Connections, sender: Viewer
) -> None:
    shops = order(userId="anna")
    person = {"userId": "anna"} if sender.person is None else {}
    probe = {**order(), **person, "occurredAt": shops["occurredAt"]}
    sent = [{**probe, "id": "free"}, {**probe, "id": "free"}, {**probe, "id": "free", "quantity": 3}]
    expected = outcomes(await ingest.track(sender, sent)) + outcomes(await ingest.track(sender, sent))
    await ingest.track(SHOP, [shops])
    await store(connections, [event_of(SHOP, shops)], 5)
    sent = [{**each, "id": shops["id"]} for each in sent]
    assert outcomes(await ingest.track(sender, sent)) + outcomes(await ingest.track(sender, sent)) == expected
    assert expected == ["ACCEPTED", "DUPLICATE", "CONFLICT", "DUPLICATE", "DUPLICATE", "CONFLICT"]


def event_of(viewer: Viewer, raw: dict[str, Any]) -> Event:
    namespace = namespace_of(viewer.client_id, viewer.person)
    return read_event(raw, source=viewer.client_id, received_at=clock.now(), namespace=namespace)


async def test_a_client_cannot_claim_another_clients_source(ingest: EventIntake, pool: Pool) -> None:
    theirs = order(userId="anna", source="till")
    assert outcomes(await ingest.track(SHOP, [theirs])) == ["ACCEPTED"]
    for claimed in ("till", "shop", None):
        assert outcomes(await ingest.track(OTHER, [{**theirs, "source": claimed, "quantity": 9}])) == ["ACCEPTED"]
    (refused,) = await ingest.track(OTHER, [{**theirs, "source": client_source("shop")}])
    assert (refused.outcome, refused.field) == ("REJECTED", ["source"])


async def test_the_clients_own_id_as_source_is_the_same_as_none(ingest: EventIntake) -> None:
    sent = order(userId="anna")
    assert outcomes(await ingest.track(SHOP, [sent, {**sent, "source": "shop"}])) == ["ACCEPTED", "DUPLICATE"]
    assert outcomes(await ingest.track(ANNA, [sent, {**sent, "source": "shop"}])) == ["ACCEPTED", "DUPLICATE"]


async def test_a_dead_event_shows_the_senders_own_source_and_is_replayed_into_the_same_namespace(
    pool: Pool, channel: AbstractChannel, broker: RabbitPublisher, start_worker: StartWorker
) -> None:
    first, second = event_of(SHOP, order(userId="anna")), event_of(SHOP, order(userId="anna", quantity=2))
    await insert_events(pool, [first])
    await record_dead_events(pool, (await insert_good(pool, [second])).dead)
    (dead,) = await list_dead_events(pool, 10)
    assert dead.source == "shop"
    body = (await bodies_of_dead_events(pool, [dead.id]))[dead.id]
    assert b'"source":"shop"' in body and b"u001f" not in body
    await pool.execute("DELETE FROM events")
    start_worker()
    assert outcomes(await replay(pool, broker, [str(dead.id)], "operator")) == ["ACCEPTED"]

    async def is_stored() -> bool:
        return await stored(pool) == [(client_source("shop"), "PURCHASE")]

    await eventually(is_stored)


def test_a_queued_event_that_is_not_valid_is_a_dead_event_with_its_source_but_no_namespace() -> None:
    text = '[{"id":"e","source":"shop\\u001f","type":"VIEW","occurredAt":"soon","userId":"u","itemId":"i"},'
    text += '{"id":"f","source":"a\\u001fb\\n","type":"VIEW","occurredAt":"2026-03-01T00:00:00Z","userId":"u"}]'
    assert [each.source for each in read_batch(text).dead] == [None, None]
    kept = read_batch(text.replace('shop\\u001f"', 'shop\\u001ftill"')).dead
    assert kept[0].source == "till"
