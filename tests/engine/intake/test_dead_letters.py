"""Dead letters: the worker moves them to the dead events; one leaves the broker once its rows are committed."""

import json
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import asyncpg
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from bus.dead_letters import DeadLetter
from bus.envelope import Kind
from bus.messages import as_received, store_events
from bus.rabbitmq import topology
from bus.rabbitmq.celery_message import body_of
from bus.rabbitmq.dead_letters import MAX_DELIVERIES, read_dead_letters
from bus.rabbitmq.publisher import RabbitPublisher
from core.contract import Event, read_event
from core.settings import Stores
from db.dead_events import DeadReason, NewDeadEvent, bodies_of_dead_events, insert_dead_events, list_dead_events
from db.events import events_of_person
from db.postgres import Pool
from engine.dead_events.deciding import replay
from engine.dead_events.records import of_event
from engine.intake.dead_letters import dead_events_of, move_dead_letters
from tests.faults import Relay, eventually
from tests.fixtures.worker import StartWorker

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TASK = {"task": Kind.STORE_EVENTS, "id": "x", "x-first-death-reason": "rejected"}


def make_event(**fields: Any) -> Event:
    raw = {"type": "VIEW", "userId": "u1", "itemId": "i1", **fields}
    return read_event(raw, source="shop", received_at=NOW)


async def dead_letter(channel: AbstractChannel, body: bytes, headers: dict[str, Any]) -> None:
    """Publish a dead letter as RabbitMQ does."""
    exchange = await channel.get_exchange(topology.DEAD.name)
    message = aio_pika.Message(body, headers=headers, content_type="application/json")
    await exchange.publish(message, topology.EVENTS.routing_key)


async def move_all(pool: Pool, stores: Stores) -> int:
    """Move every dead letter, as the worker's task does; returns how many."""
    async with aclosing(read_dead_letters(stores.broker_url.get_secret_value(), 500)) as letters:
        return await move_dead_letters(pool, letters)


async def waiting(channel: AbstractChannel) -> int:
    declared = await channel.declare_queue(topology.DEAD_LETTERS.name, passive=True)
    return declared.declaration_result.message_count or 0


async def taken(queue: AbstractQueue) -> AbstractIncomingMessage:
    """The next message, as soon as there is one."""
    found: list[AbstractIncomingMessage] = []

    async def there() -> bool:
        found.extend(filter(None, [await queue.get(fail=False)]))
        return bool(found)

    await eventually(there)
    return found[0]


async def test_a_dead_letter_whose_task_name_cannot_be_stored_is_kept_unchanged(
    stores: Stores, pool: Pool, channel: AbstractChannel
) -> None:
    await dead_letter(channel, b"no JSON", {**TASK, "task": "nul\0in it"})
    assert await move_all(pool, stores) == 1
    (dead,) = await list_dead_events(pool, 10)
    assert (dead.kind, dead.reason, dead.task) == ("MESSAGE", DeadReason.UNREADABLE, None)


@pytest.mark.parametrize(
    ("was", "then"),
    [
        (b"2026-03-01T12:00:00Z", b"0001-01-01T00:00:00+14:00"),
        (b'\\"n\\":1', b'\\"n\\":1' + b"0" * 30),
    ],
)
async def test_an_invalid_event_in_a_dead_letter_keeps_its_person(
    stores: Stores, pool: Pool, channel: AbstractChannel, was: bytes, then: bytes
) -> None:
    body = body_of(store_events([make_event(properties={"n": 1})])).replace(was, then)
    await dead_letter(channel, body, TASK)
    assert await move_all(pool, stores) == 1
    (dead,) = await list_dead_events(pool, 10)
    assert (dead.kind, dead.reason, dead.user_id) == ("EVENT", DeadReason.INVALID, "u1")


@pytest.mark.parametrize("error", [asyncpg.DataError, OverflowError, TypeError, ValueError])
async def test_a_dead_letter_whose_events_cannot_be_stored_is_kept_unchanged_and_blocks_no_other(
    stores: Stores,
    pool: Pool,
    channel: AbstractChannel,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    def fails_for_the_first(letter: DeadLetter) -> list[NewDeadEvent]:
        if b"first" in letter.body:
            raise error
        return dead_events_of(letter)

    monkeypatch.setattr("engine.intake.dead_letters.dead_events_of", fails_for_the_first)
    await dead_letter(channel, body_of(store_events([make_event(userId="first")])), TASK)
    await dead_letter(channel, body_of(store_events([make_event(userId="next")])), TASK)
    assert await move_all(pool, stores) == 2
    dead = await list_dead_events(pool, 10)
    assert [(each.kind, each.user_id) for each in dead] == [("EVENT", "next"), ("MESSAGE", None)]


async def test_a_batch_becomes_one_row_for_each_event_and_the_same_dead_letter_again_the_same_rows(
    stores: Stores, pool: Pool, channel: AbstractChannel
) -> None:
    events = [make_event(userId=f"u{n}") for n in range(3)]
    for _ in range(2):
        await dead_letter(channel, body_of(store_events(events)), {**TASK, "x-first-death-reason": "delivery_limit"})
    assert await move_all(pool, stores) == 2
    dead = await list_dead_events(pool, 10)
    assert {each.user_id for each in dead} == {"u0", "u1", "u2"}
    assert {(each.reason, each.attempts) for each in dead} == {(DeadReason.CRASHED, 12)}
    assert await waiting(channel) == 0


async def test_a_dead_letter_that_was_delivered_too_often_is_not_decoded(
    stores: Stores, pool: Pool, channel: AbstractChannel
) -> None:
    body = body_of(store_events([make_event(), make_event()]))
    await dead_letter(channel, body, TASK)
    queue = await channel.get_queue(topology.DEAD_LETTERS.name)
    for _ in range(MAX_DELIVERIES):
        await (await taken(queue)).reject(requeue=True)
    await move_all(pool, stores)
    (dead,) = await list_dead_events(pool, 10)
    assert (dead.kind, dead.task) == ("MESSAGE", Kind.STORE_EVENTS)
    assert (await bodies_of_dead_events(pool, [dead.id]))[dead.id] == body


async def test_a_dead_letter_leaves_the_broker_only_when_its_rows_are_committed(
    stores: Stores, pool: Pool, channel: AbstractChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dead_letter(channel, body_of(store_events([make_event()])), TASK)

    async def fails(*_: Any) -> None:
        raise asyncpg.ConnectionDoesNotExistError

    with monkeypatch.context() as patch:
        patch.setattr("engine.intake.dead_letters.record_dead_events", fails)
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await move_all(pool, stores)

    async def back() -> bool:
        return await waiting(channel) == 1

    await eventually(back)
    assert await list_dead_events(pool, 10) == []
    assert await move_all(pool, stores) == 1
    assert len(await list_dead_events(pool, 10)) == 1


async def test_a_worker_moves_dead_letters_by_itself_and_they_wait_while_postgres_is_away(
    stores: Stores, pool: Pool, channel: AbstractChannel, start_worker: StartWorker, worker_log: Path
) -> None:
    relay = Relay(stores.postgres_url.get_secret_value())
    start_worker(PENCHANT_POSTGRES_URL=await relay.reserve())
    await dead_letter(channel, b"half a message", TASK)
    await dead_letter(channel, json.dumps([["[]"], {}, {}]).encode(), TASK)

    async def both_logged() -> bool:
        return worker_log.read_text().count("move dead letters") > 1  # noqa: ASYNC240 -- small and local

    await eventually(both_logged)
    assert await waiting(channel) == 2
    await relay.open()

    async def moved() -> bool:
        return await waiting(channel) == 0 and len(await list_dead_events(pool, 10)) == 2

    await eventually(moved)
    assert {each.kind for each in await list_dead_events(pool, 10)} == {"MESSAGE"}
    await relay.close()


async def test_the_log_repeats_nothing_of_the_body_of_a_dead_letter(
    broker: RabbitPublisher, pool: Pool, channel: AbstractChannel, start_worker: StartWorker, worker_log: Path
) -> None:
    start_worker()
    for task in (Kind.STORE_EVENTS, "penchant.no_such_task"):
        for body in (
            b'"confidential"',
            b"confidential",
            body_of(store_events([make_event(id="confidential", occurredAt=NOW)]))[:-3],
        ):
            await broker.publish(as_received(task, body, uuid4()))

    async def all_recorded() -> bool:
        return len(await list_dead_events(pool, 10)) == 3

    await eventually(all_recorded)
    assert "message_refused" in (log := worker_log.read_text())  # noqa: ASYNC240 -- small and local
    assert "confidential" not in log


async def test_a_replayed_event_is_stored_once_and_unchanged_however_often_it_is_replayed(
    broker: RabbitPublisher, pool: Pool, channel: AbstractChannel, start_worker: StartWorker
) -> None:
    start_worker()
    event = make_event(id="e1", occurredAt=NOW, unitPrice="1.10", properties={"text": '"\\🛒'})
    for _ in range(2):
        await insert_dead_events(pool, [of_event(event, DeadReason.CRASHED, "a test says so", 5)])
        (dead,) = await list_dead_events(pool, 10)
        (result,) = await replay(pool, broker, [str(dead.id)], "ada")
        assert result.outcome == "ACCEPTED"
    last = make_event(id="e2", occurredAt=NOW)
    await broker.publish(store_events([last]))

    async def stored() -> bool:
        return len(await events_of_person(pool, event.person)) == 2

    await eventually(stored)
    assert {each.id: each for each in await events_of_person(pool, event.person)} == {"e1": event, "e2": last}
    assert await list_dead_events(pool, 10) == []
