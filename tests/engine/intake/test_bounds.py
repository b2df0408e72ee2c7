"""Bounds of events at the gateway: how far back they may have occurred, and how much money a line may be."""

from datetime import UTC, datetime, timedelta

import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from bus.messages import store_events
from bus.rabbitmq.publisher import RabbitPublisher
from core import clock
from core.contract import Person, read_event
from core.settings import Ingest as IngestSettings
from db.dead_events import DeadReason, list_dead_events
from db.months import months_of_events
from db.postgres import Pool
from engine.dead_events.deciding import replay
from engine.dead_events.records import of_event
from engine.dead_events.storing import record_dead_events
from engine.intake.ingest import EventIntake
from engine.intake.outbox import drain_outbox, keep_in_outbox
from engine.outcomes import Outcome, Result
from engine.viewer import Viewer
from tests.faults import eventually
from tests.fixtures.worker import StartWorker

VIEW = {"type": "VIEW", "userId": "u1", "itemId": "i1"}
SHOP = Viewer("shop", frozenset({"events:write", "orders:write"}), None, 2**31)
ANNA = Viewer("shop", frozenset({"events:write"}), Person("user", "anna"), 2**31)
GUEST = Viewer("shop", frozenset({"events:write"}), Person("guest", "g1"), 2**31)


def outcomes(results: list[Result]) -> list[str]:
    return [result.outcome.value for result in results]


@pytest.mark.parametrize(
    ("viewer", "keep", "days"),
    [(ANNA, None, 90), (GUEST, None, 90), (ANNA, 30, 30), (SHOP, None, 3653), (SHOP, 400, 400), (SHOP, 5000, 5000)],
)
async def test_events_reach_back_as_far_as_their_sender_may(
    pool: Pool, redis: Redis, broker: RabbitPublisher, viewer: Viewer, keep: int | None, days: int
) -> None:
    ingest = EventIntake(IngestSettings(), pool, redis, broker, keep)
    ingest.open()
    now, person = clock.now(), {"userId": "u1"} if viewer.person is None else {}
    moments = [now - timedelta(days=days) + timedelta(minutes=1), now - timedelta(days=days, minutes=1)]
    sent = [{"type": "VIEW", "itemId": "i1", **person, "occurredAt": moment.isoformat()} for moment in moments]
    results = await ingest.track(viewer, sent)
    await ingest.close()
    assert outcomes(results) == ["ACCEPTED", "REJECTED"]
    assert (results[1].code, results[1].field) == ("TOO_OLD", ["occurredAt"])
    assert str(days) in str(results[1].message)


async def test_a_call_of_a_person_with_an_event_of_every_month_makes_no_old_months(
    ingest: EventIntake, pool: Pool, channel: AbstractChannel, start_worker: StartWorker
) -> None:
    before = await months_of_events(pool)
    start_worker()
    months = [datetime(1990 + number // 12, number % 12 + 1, 2, tzinfo=UTC) for number in range(429)]
    attack = [{"type": "VIEW", "itemId": "i1", "occurredAt": month.isoformat()} for month in months]
    results = await ingest.track(ANNA, [*attack, {"type": "VIEW", "itemId": "i1"}])
    oldest = (clock.now() - timedelta(days=90)).replace(tzinfo=UTC)
    assert {result.code for result, month in zip(results, months, strict=False) if month < oldest} == {"TOO_OLD"}
    assert results[-1].outcome is Outcome.ACCEPTED

    async def is_stored() -> bool:
        return bool(await pool.fetchval("SELECT count(*) FROM events") > 0)

    await eventually(is_stored)
    made = set(await months_of_events(pool)) - set(before)
    assert all(month >= oldest.date().replace(day=1) for month in made)


async def test_an_accepted_event_that_became_too_old_in_the_outbox_or_as_a_dead_event_is_still_stored(
    ingest: EventIntake, pool: Pool, broker: RabbitPublisher, channel: AbstractChannel, start_worker: StartWorker
) -> None:
    raw = {"type": "VIEW", "userId": "anna", "itemId": "i1"}
    old = [
        read_event({**raw, "occurredAt": f"{year}-02-03T00:00:00Z"}, source="shop", received_at=clock.now())
        for year in (1991, 2004)
    ]
    envelope = store_events([old[0]])
    await keep_in_outbox(pool, broker, envelope)
    await record_dead_events(pool, [of_event(old[1], DeadReason.FAILED, "it failed")])
    (dead,) = await list_dead_events(pool, 10)
    start_worker()
    assert outcomes(await replay(pool, broker, [str(dead.id)], "operator")) == ["ACCEPTED"]
    await drain_outbox(pool, broker)

    async def both_stored() -> bool:
        return {row["id"] for row in await pool.fetch("SELECT id FROM events")} == {event.id for event in old}

    await eventually(both_stored)


async def test_a_line_of_too_much_money_is_rejected_alone(ingest: EventIntake, channel: AbstractChannel) -> None:
    line = {**VIEW, "type": "PURCHASE", "unitPrice": "100000", "quantity": 1_000_000}
    largest, larger = line, {**line, "unitPrice": "100000.0001"}
    results = await ingest.track(SHOP, [largest, larger, {**line, "unitPrice": "9999999999.9999"}])
    assert outcomes(results) == ["ACCEPTED", "REJECTED", "REJECTED"]
    assert results[1].field == ["unitPrice"] and "100,000,000,000" in str(results[1].message)
