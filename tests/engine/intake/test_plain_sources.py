"""Events from before sources had namespaces: the same event sent again is a duplicate, whoever else claims its id."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from bus.messages import events_json, store_arrays, store_events
from bus.rabbitmq.publisher import RabbitPublisher
from core import clock
from core.contract import Event, Person, read_event
from core.settings import Ingest as IngestSettings
from core.sources import client_source, namespace_of
from db import outbox
from db.cache import add_recent, read_person
from db.events import insert_events
from db.identities import join_guest
from db.plain_sources import stored_by_other_release
from db.postgres import Pool
from engine.intake.ingest import EventIntake
from engine.intake.outbox import drain_outbox
from engine.intake.storing import store
from engine.outcomes import Result
from engine.viewer import Viewer
from tests.faults import eventually
from tests.fixtures.worker import StartWorker
from workers.process import Connections

SCOPES = frozenset({"events:write", "orders:write"})
SHOP = Viewer("shop", SCOPES, None, 2**31)
OTHER = Viewer("other", SCOPES, None, 2**31)
ANNA = Viewer("shop", SCOPES, Person("user", "anna"), 2**31)
GUEST = Viewer("shop", SCOPES, Person("guest", "g1"), 2**31)
BERT = Viewer("shop", SCOPES, Person("user", "bert"), 2**31)


@pytest.fixture
async def upgraded(pool: Pool) -> Pool:
    """A database that was upgraded a moment ago."""
    await pool.execute("INSERT INTO plain_sources (until) VALUES (now() + interval '7 days')")
    return pool


@pytest.fixture
async def ingest(
    broker: RabbitPublisher, upgraded: Pool, redis: Redis, channel: AbstractChannel
) -> AsyncIterator[EventIntake]:
    opened = EventIntake(IngestSettings(), upgraded, redis, broker)
    opened.open()
    yield opened
    await opened.close()


def raw_event(viewer: Viewer, **fields: Any) -> dict[str, Any]:
    moment = (clock.now() - timedelta(minutes=1)).replace(microsecond=0).isoformat()
    raw = {"type": "VIEW", "id": "e1", "itemId": "i1", "occurredAt": moment, **fields}
    if viewer.person is None:
        return {"userId": "anna", **raw}
    return {**raw, "userId" if viewer.person.kind == "user" else "anonymousId": viewer.person.id}


def before(viewer: Viewer, raw: dict[str, Any]) -> Event:
    """The event as a gateway of the release before sent it."""
    return read_event(raw, source=viewer.client_id, received_at=clock.now())


def now(viewer: Viewer, raw: dict[str, Any]) -> Event:
    """The event as this gateway sends it."""
    namespace = namespace_of(viewer.client_id, viewer.person)
    return read_event(raw, source=viewer.client_id, received_at=clock.now(), namespace=namespace)


def outcomes(results: list[Result]) -> list[str]:
    return [result.outcome.value for result in results]


async def sources(pool: Pool) -> list[str]:
    return [row["source"] for row in await pool.fetch("SELECT source FROM events ORDER BY source")]


@pytest.mark.parametrize(("sender", "named"), [(SHOP, None), (SHOP, "till"), (ANNA, None), (GUEST, None)])
async def test_an_event_stored_before_the_upgrade_is_stored_once_when_it_is_sent_again(
    upgraded: Pool, connections: Connections, redis: Redis, sender: Viewer, named: str | None
) -> None:
    raw = raw_event(sender, source=named)
    assert await insert_events(upgraded, [before(sender, raw)]) == [True]
    again = now(sender, raw)
    assert await store(connections, [again, now(sender, {**raw, "id": "e2"})], 5) == 1
    assert await store(connections, [again], 5) == 0
    assert len(await sources(upgraded)) == 2


async def test_through_gateway_and_worker_an_old_event_is_a_duplicate_and_an_attackers_is_not(
    upgraded: Pool, ingest: EventIntake, start_worker: StartWorker
) -> None:
    raw = raw_event(SHOP, type="PURCHASE", orderId="o")
    await insert_events(upgraded, [before(SHOP, raw)])
    attack = {key: value for key, value in {**raw, "type": "VIEW"}.items() if key != "userId"}
    start_worker()
    for sender, sent in ((SHOP, raw), (BERT, attack), (OTHER, {**raw, "quantity": 9}), (SHOP, {**raw, "id": "last"})):
        assert outcomes(await ingest.track(sender, [sent])) == ["ACCEPTED"]
    expected = sorted(["shop", "shop\x1fuser\x1fbert\x1fshop", client_source("other"), client_source("shop")])

    async def all_stored() -> bool:
        return await sources(upgraded) == expected

    await eventually(all_stored)
    assert await upgraded.fetchval("SELECT count(*) FROM dead_events") == 0


async def test_the_hints_of_an_old_gateway_make_duplicates_but_never_conflicts(
    ingest: EventIntake, upgraded: Pool, redis: Redis
) -> None:
    async def knows() -> bool:
        return ingest._plain_until is not None

    await eventually(knows)
    raw = raw_event(SHOP)
    await add_recent(redis, [], [before(SHOP, raw)])
    assert outcomes(await ingest.track(SHOP, [{**raw, "quantity": 2}])) == ["ACCEPTED"]
    other = raw_event(SHOP, id="e2")
    await add_recent(redis, [], [before(SHOP, other)])
    assert outcomes(await ingest.track(SHOP, [other])) == ["DUPLICATE"]
    assert outcomes(await ingest.track(BERT, [raw_event(BERT, id="e2", occurredAt=other["occurredAt"])])) == [
        "ACCEPTED"
    ]


async def test_an_event_repeated_across_the_upgrade_does_not_count_twice_in_the_persons_state(
    upgraded: Pool, ingest: EventIntake, connections: Connections, redis: Redis
) -> None:
    raw = raw_event(GUEST)
    await insert_events(upgraded, [before(GUEST, raw)])
    await join_guest(upgraded, "g1", "anna", "shop")
    assert outcomes(await ingest.track(GUEST, [raw])) == ["ACCEPTED"]
    assert len((await read_person(redis, Person("guest", "g1")))[1]) == 1
    await store(connections, [now(GUEST, raw)], 5)
    for person in (Person("guest", "g1"), Person("user", "anna")):
        assert await read_person(redis, person) == (None, [])


async def test_messages_and_outbox_rows_of_an_old_gateway_are_stored_as_they_are_and_once(
    upgraded: Pool, broker: RabbitPublisher, channel: AbstractChannel, start_worker: StartWorker
) -> None:
    queued, kept = before(SHOP, raw_event(SHOP)), before(SHOP, raw_event(SHOP, id="e2", source="till"))
    await broker.publish(store_events([queued, queued]))
    envelope = store_arrays([events_json([kept])], id=uuid4())
    await outbox.keep_envelope(upgraded, envelope.id, envelope.encode(), broker.body_of(envelope))
    start_worker()
    await drain_outbox(upgraded, broker)

    async def both_stored() -> bool:
        return await sources(upgraded) == ["shop", "till"]

    await eventually(both_stored)


@pytest.mark.parametrize("sender", [SHOP, ANNA, GUEST])
async def test_an_event_that_this_gateway_took_and_an_old_one_takes_again_is_stored_once(
    upgraded: Pool, connections: Connections, sender: Viewer
) -> None:
    raw = raw_event(sender)
    assert await store(connections, [now(sender, raw)], 5) == 1
    assert await store(connections, [before(sender, raw)], 5) == 0
    assert await store(connections, [before(sender, {**raw, "quantity": 2})], 5) == 1, "another body is another event"


class Counted:
    """Counts the statements that a connection runs."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.count = pool, 0

    async def fetch(self, *args: Any) -> Any:
        self.count += 1
        return await self.pool.fetch(*args)


@pytest.mark.parametrize(
    ("until", "statements"),
    [(None, 0), (timedelta(hours=-1), 0), (timedelta(hours=1), 1)],
)
async def test_only_events_from_before_the_end_of_the_upgrade_are_looked_up(
    pool: Pool, until: timedelta | None, statements: int
) -> None:
    counted: Any = Counted(pool)
    events = [now(SHOP, raw_event(SHOP, id=f"e{number}")) for number in range(50)]
    moment = None if until is None else clock.now() + until
    assert await stored_by_other_release(counted, events, moment) == set()
    assert counted.count == statements
