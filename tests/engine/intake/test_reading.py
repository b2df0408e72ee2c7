"""An event that cannot be stored becomes a dead event with its reason; the others of its batch are stored."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from bus.envelope import Kind
from bus.messages import store_events
from bus.rabbitmq import topology
from bus.rabbitmq.celery_message import body_of
from bus.rabbitmq.publisher import RabbitPublisher
from core import clock
from core.contract import EARLIEST, Event, Person, read_event
from core.settings import Stores
from db.cache import pack_recent, read_person
from db.dead_events import DeadReason, bodies_of_dead_events, list_dead_events
from db.erasures import begin_erasure
from db.events import MONTHS_AHEAD, ensure_months
from db.postgres import Pool
from engine.intake.reading import read_batch
from engine.intake.storing import insert_good, store, store_batch
from tests.faults import eventually
from tests.fixtures.worker import StartWorker
from workers.process import Connections

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMED = {"id": "e1", "occurredAt": NOW}


def make_event(**fields: Any) -> Event:
    raw = {"type": "VIEW", "userId": "u1", "itemId": "i1", **fields}
    return read_event(raw, source="shop", received_at=NOW)


def unstorable(**fields: Any) -> Event:
    """An event that the contract of another release allows, and that no column can hold."""
    return make_event(**fields).model_copy(update={"quantity": 2**40})


def batch_of(*events: Event, **more: Any) -> str:
    elements = [json.loads(event.model_dump_json(by_alias=True, exclude_none=True)) for event in events]
    return json.dumps([*elements, *([more] if more else [])])


async def take(connections: Connections, text: str) -> None:
    """Store a batch, as the worker's task does at its first attempt."""
    async with connections.publisher() as publisher:
        await store_batch(connections, publisher, text, attempts=1)


async def count(pool: Pool) -> int:
    stored: int = await pool.fetchval("SELECT count(*) FROM events")
    return stored


async def reasons(pool: Pool) -> list[str]:
    return sorted(dead.reason for dead in await list_dead_events(pool, 100))


class Counted:
    """A pool that counts its statements."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self.statements = pool, 0

    def __getattr__(self, name: str) -> Any:
        self.statements += 1
        return getattr(self._pool, name)


async def test_a_new_batch_costs_one_statement_and_a_known_one_two(pool: Pool) -> None:
    await ensure_months(pool, [NOW])
    counted: Any = Counted(pool)
    events = [make_event() for _ in range(20)]
    assert (await insert_good(counted, events)).new == 20
    assert counted.statements == 1
    assert (await insert_good(counted, events)).new == 0
    assert counted.statements == 3


async def test_a_second_body_under_the_same_identity_becomes_a_dead_event_and_the_first_stays(
    pool: Pool, redis: Redis, connections: Connections
) -> None:
    first, second = make_event(**NAMED, itemId="first"), make_event(**NAMED, itemId="second")
    assert await store(connections, [first], 1) == 1
    for _ in range(2):
        assert await store(connections, [second, first, make_event(userId="u2")], 1) == 1
    (dead,) = await list_dead_events(pool, 10)
    assert (dead.reason, dead.event_id, dead.user_id, dead.attempts) == (DeadReason.CONFLICT, "e1", "u1", 2)
    assert Event.model_validate_json((await bodies_of_dead_events(pool, [dead.id]))[dead.id]) == second
    assert (await read_person(redis, Person("user", "u1")))[1] == [pack_recent(first)]


async def test_of_two_bodies_in_one_batch_the_one_that_is_not_stored_becomes_a_dead_event(pool: Pool) -> None:
    bodies = [make_event(**NAMED, itemId=f"i{n}") for n in range(2)]
    stored = await insert_good(pool, [*bodies, bodies[0]])
    held = await pool.fetchval("SELECT item_id FROM events")
    lost = [event for event in bodies if event.item_id != held]
    assert stored.new == 1
    assert {json.loads(dead.body)["itemId"] for dead in stored.dead} == {event.item_id for event in lost}


async def test_the_events_that_postgres_refuses_become_dead_events_and_the_others_are_stored(
    pool: Pool, connections: Connections
) -> None:
    good = [make_event(userId=f"u{n}") for n in range(30)]
    bad = [unstorable(id="confidential-1", occurredAt=NOW), unstorable(id="confidential-2", occurredAt=NOW)]
    assert await store(connections, [*good[:7], bad[0], *good[7:], bad[1]], 1) == 30
    dead = await list_dead_events(pool, 10)
    assert {each.event_id for each in dead} == {"confidential-1", "confidential-2"}
    assert all(each.reason == DeadReason.UNSTORABLE and "confidential" not in each.detail for each in dead)


async def test_an_element_of_another_release_becomes_the_only_dead_event(
    pool: Pool, connections: Connections, stores: Stores
) -> None:
    stranger = {
        "type": "VIEW",
        "source": "shop",
        "id": "e9",
        "occurredAt": "2026-03-01T12:00:00Z",
        "userId": "ada",
        "anonymousId": "g1",
        "itemId": "i1",
        "confidential": "x",
        "unitPrice": "1.10",
    }
    await take(connections, batch_of(make_event(), make_event(unitPrice="1.5"), **stranger))
    assert await count(pool) == 2
    (dead,) = await list_dead_events(pool, 10)
    assert (dead.reason, dead.source, dead.event_id, dead.event_type) == (DeadReason.INVALID, "shop", "e9", "VIEW")
    assert (dead.user_id, dead.anonymous_id, dead.occurred_at) == ("ada", "g1", NOW)
    assert "confidential" not in dead.detail and "not permitted" in dead.detail
    assert json.loads((await bodies_of_dead_events(pool, [dead.id]))[dead.id]) == stranger


NUMBER, BEFORE, FAR = 10**30, "0001-01-01T00:00:00+23:59", "9999-12-31T10:00:00Z"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (
            {"properties": {"confidential": NUMBER}},
            "it: properties contain a value that cannot be hashed, such as a number over 64 bits",
        ),
        ({"occurredAt": BEFORE}, "it: occurredAt lies before 1990 or too far ahead"),
        ({"occurredAt": BEFORE, "type": "NOPE"}, "type: Input should be 'VIEW'"),
        ({"occurredAt": FAR}, "it: occurredAt lies before 1990 or too far ahead"),
        ({"receivedAt": "9999-12-31T23:00:00-23:59"}, "it: receivedAt lies before 1990 or too far ahead"),
    ],
)
async def test_an_event_that_postgres_would_refuse_becomes_the_only_dead_event_and_keeps_its_person(
    pool: Pool, connections: Connections, more: dict[str, Any], says: str
) -> None:
    await begin_erasure(pool, "somebody", "shop", clock.now())  # from now on the times of events are compared
    bad = {**json.loads(batch_of(make_event(**NAMED, userId="ada")))[0], **more}
    recent = clock.now().isoformat()
    await take(connections, batch_of(make_event(occurredAt=NOW), **{**bad, "receivedAt": recent, **more}))
    assert await count(pool) == 1
    (dead,) = await list_dead_events(pool, 10)
    assert (dead.reason, dead.event_id, dead.user_id) == (DeadReason.INVALID, "e1", "ada")
    assert dead.detail.startswith(says) and "confidential" not in dead.detail
    assert json.loads((await bodies_of_dead_events(pool, [dead.id]))[dead.id])["id"] == "e1"
    assert await pool.fetchval("SELECT to_regclass('events_9999_12') IS NULL")


def test_the_times_of_an_event_may_lie_from_1990_to_the_last_month_that_is_made_ahead() -> None:
    latest = clock.now() + MONTHS_AHEAD
    for moment, is_kept in (
        (EARLIEST, True),
        (EARLIEST - timedelta(microseconds=1), False),
        (latest, True),
        (latest + timedelta(days=1), False),
    ):
        read = read_batch(batch_of(make_event().model_copy(update={"occurred_at": moment})))
        assert (len(read.events), len(read.dead)) == (int(is_kept), int(not is_kept)), moment


@pytest.mark.parametrize(
    "element",
    [7, None, "text", [], {}, {"id": "\x00", "userId": "\ud800"}, {"occurredAt": "not a time"}, {"id": 10**400}],
)
async def test_an_element_of_any_shape_can_be_stored_as_a_dead_event(
    pool: Pool, connections: Connections, element: Any
) -> None:
    read = read_batch(json.dumps([element]))
    assert len(read.dead) == 1 and not read.events
    await store(connections, read.events, 1, read.dead)
    (dead,) = await list_dead_events(pool, 10)
    assert (dead.source, dead.event_id, dead.user_id, dead.occurred_at) == (None, None, None, None)
    assert json.loads((await bodies_of_dead_events(pool, [dead.id]))[dead.id]) == element


def test_valid_elements_are_read_alike_one_by_one_and_together() -> None:
    events = [make_event(unitPrice="0.1000", properties={"n": 2**53 + 1, "f": 0.1}), make_event(value=Decimal("1e3"))]
    assert read_batch(batch_of(*events)).events == events
    assert read_batch(batch_of(*events, type="NONE")).events == events


async def test_a_message_that_no_worker_can_read_is_dead_lettered_and_the_worker_goes_on(
    broker: RabbitPublisher, pool: Pool, channel: AbstractChannel, start_worker: StartWorker
) -> None:
    start_worker()
    task, good = {"task": Kind.STORE_EVENTS, "id": "x"}, body_of(store_events([make_event(id="odd", occurredAt=NOW)]))
    refused: list[tuple[bytes, str | None, Any]] = [
        (b"\xff\xfe no JSON", "application/json", task),
        (b"half [", "application/json", task),
        (b"pickled", "application/x-python-serialize", task),
        (b"5", "application/json", task),
        (b"null", "application/json", task),
        (b'"text"', "application/json", task),
        (b"[[1, 2, 3], {}, {}]", "application/json", task),
        (b'[["{}"], {}, {}]', "application/json", task),
        (b'[["[{}]"], {}, 7]', "application/json", task),
        (b"no task at all", None, {}),
        (b'{"args": 1}', "application/json", {}),
        (good.replace(b"odd", b"od2"), "application/json", {"task": Kind.STORE_EVENTS}),
        (b"[[], {}, {}]", "application/json", {"task": "penchant.of_next_release", "id": "x"}),
        (b"[[1], {}, {}]", "application/json", {"task": ["penchant.store_events"], "id": "x"}),
        (b"[[2], {}, {}]", "application/json", {**task, "eta": "yesterday"}),
        (good, "text/plain", task),
    ]
    exchange = await channel.get_exchange(topology.EXCHANGE.name)
    for body, content_type, headers in refused:
        message = aio_pika.Message(body, content_type=content_type, headers=headers, content_encoding="utf-8")
        await exchange.publish(message, topology.EVENTS.routing_key)
        await broker.publish(store_events([make_event()]))

    async def all_recorded() -> bool:
        return await count(pool) == len(refused) and len(await list_dead_events(pool, 100)) == len(refused)

    await eventually(all_recorded)
    dead = await list_dead_events(pool, 100)
    bodies = await bodies_of_dead_events(pool, [each.id for each in dead])
    assert {bodies[each.id] for each in dead if each.kind == "MESSAGE"} == {
        body for body, *_ in refused if not body.startswith((good[:8], b'[["[{}]"]'))
    }
    assert sorted({each.event_id for each in dead if each.kind == "EVENT" and each.event_id}) == ["od2", "odd"]
    assert [each.task for each in dead if each.reason == DeadReason.UNKNOWN_TASK] == ["penchant.of_next_release"]
    for queue in (topology.EVENTS, topology.DEAD_LETTERS):
        assert (await channel.declare_queue(queue.name, passive=True)).declaration_result.message_count == 0


async def test_a_message_with_an_eta_or_expiry_is_dead_lettered_and_the_worker_goes_on(
    broker: RabbitPublisher, pool: Pool, channel: AbstractChannel, start_worker: StartWorker
) -> None:
    start_worker()
    refused: list[dict[str, Any]] = [{"eta": f"{clock.now() + timedelta(days=1):%FT%T}+00:00"} for _ in range(8)]
    refused += [{"expires": "2026-01-01T00:00:00+00:00"}, {"expires": "2999-01-01T00:00:00+00:00"}]
    exchange = await channel.get_exchange(topology.EXCHANGE.name)
    for n, headers in enumerate(refused):
        message = aio_pika.Message(
            body_of(store_events([make_event(id=f"odd-{n}", occurredAt=NOW)])),
            headers={"task": Kind.STORE_EVENTS, "id": str(uuid4()), **headers},
            content_type="application/json",
            content_encoding="utf-8",
        )
        await exchange.publish(message, topology.EVENTS.routing_key)
    old = {"task": Kind.STORE_EVENTS, "id": "x", "args": ["[]"], "kwargs": {}, "eta": refused[0]["eta"]}
    message = aio_pika.Message(json.dumps(old).encode(), content_type="application/json", content_encoding="utf-8")
    await exchange.publish(message, topology.EVENTS.routing_key)
    await broker.publish(store_events([make_event()]))

    async def all_recorded() -> bool:
        return await count(pool) == 1 and len(await list_dead_events(pool, 100)) == len(refused) + 1

    await eventually(all_recorded)
    dead = await list_dead_events(pool, 100)
    details = {each.detail for each in dead if each.kind == "EVENT"}
    assert {each.event_id for each in dead if each.event_id} == {f"odd-{n}" for n in range(len(refused))}
    assert details == {"Its message has an eta or an expiry, which events must not have."}


PRELUDE = """
import os, signal
import engine.intake.storing
from engine.intake.storing import insert_good

async def deadly(connection, events):
    if any(event.item_id == "deadly" for event in events):
        os.kill(os.getpid(), signal.SIGKILL)
    return await insert_good(connection, events)

engine.intake.storing.insert_good = deadly
"""


async def test_a_batch_that_does_not_fit_into_memory_does_not_end_the_worker(
    broker: RabbitPublisher, pool: Pool, channel: AbstractChannel, start_worker: StartWorker
) -> None:
    worker = start_worker(PRELUDE.replace("os.kill(os.getpid(), signal.SIGKILL)", "raise MemoryError"))
    await broker.publish(store_events([make_event(itemId="deadly", id="big", occurredAt=NOW)]))

    async def is_dead() -> bool:
        return await reasons(pool) == [DeadReason.FAILED]

    await eventually(is_dead)
    assert worker.poll() is None


BLIND = """
from celery.concurrency.asynpool import AsynPool

AsynPool.timers = {}
AsynPool._event_process_exit = lambda self, hub, process: self._untrack_child_process(process, hub)
"""  # as when Celery checks a process too early, and not again


@pytest.mark.chaos
@pytest.mark.parametrize("prelude", [PRELUDE, PRELUDE + BLIND], ids=["", "blind"])
async def test_an_event_that_ends_its_worker_is_the_only_dead_event_after_five_tries_and_delays_no_other(
    broker: RabbitPublisher, pool: Pool, channel: AbstractChannel, start_worker: StartWorker, prelude: str
) -> None:
    start_worker(prelude)
    poison = make_event(itemId="deadly", id="deadly", occurredAt=NOW)
    await broker.publish(store_events([make_event(), poison, make_event()]))
    neighbours = 0
    while not await list_dead_events(pool, 1):
        neighbours += 1
        await broker.publish(store_events([make_event(id=f"n{neighbours}", occurredAt=NOW)]))

        async def stored(id: str = f"n{neighbours}") -> bool:
            return bool(await pool.fetchval("SELECT true FROM events WHERE id = $1", id))

        await eventually(stored)
    (dead,) = await list_dead_events(pool, 10)
    assert (dead.reason, dead.event_id, dead.attempts) == (DeadReason.CRASHED, "deadly", 5)
    assert neighbours > 2, "they are stored while it is still tried"

    async def all_others() -> bool:
        return await count(pool) == neighbours + 2

    await eventually(all_others)
