"""Events in a real Postgres: each stored once, months made on demand, histories read page by page."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.contract import Event, EventType, Person, read_event
from db.events import (
    HistoryPlace,
    ensure_partitions,
    events_for_items,
    events_of_person,
    find_conflicts,
    insert_events,
    state_events,
)
from db.postgres import Pool

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
U1 = Person("user", "u1")


def make_event(**fields: Any) -> Event:
    raw = {"type": "VIEW", "userId": "u1", "itemId": "i1", **fields}
    return read_event(raw, source="shop", received_at=NOW)


def make_events(count: int, **fields: Any) -> list[Event]:
    return [
        make_event(id=f"e{n}", occurredAt=NOW - timedelta(minutes=n), itemId=f"i{n % 7}", **fields)
        for n in range(count)
    ]


async def count(pool: Pool) -> int:
    stored: int = await pool.fetchval("SELECT count(*) FROM events")
    return stored


async def test_an_event_is_read_back_with_every_field(pool: Pool) -> None:
    sent = make_event(
        id="🛒", occurredAt="2026-02-28T23:59:59.999999Z", type="PURCHASE", anonymousId="g1", itemIds=["a", 'b",{}'],
        orderId="o1", quantity=3, unitPrice="1.2500", currency="EUR", value="3.75", query="tea", impressionId="imp",
        sessionId="s1", properties={"a": None, "b": ["\\", 1.5]},
    )  # fmt: skip
    assert await insert_events(pool, [sent]) == [True]
    assert await events_of_person(pool, U1) == [sent]


async def test_a_batch_delivered_twice_is_stored_once(pool: Pool) -> None:
    events = make_events(500)
    assert await insert_events(pool, events) == [True] * 500
    assert await insert_events(pool, events) == [False] * 500
    assert await count(pool) == 500


async def test_of_a_partly_stored_batch_only_the_rest_is_new(pool: Pool) -> None:
    events = make_events(4)
    await insert_events(pool, events[1:3])
    assert await insert_events(pool, [*events, events[0]]) == [True, False, False, True, False]


async def test_overlapping_batches_stored_at_once_give_each_event_once(pool: Pool) -> None:
    events, chance = make_events(300), random.Random(7)  # noqa: S311
    batches = [chance.sample(events, 150) for _ in range(12)]
    await asyncio.gather(*(insert_events(pool, batch) for batch in batches))
    assert await count(pool) == len({event.id for batch in batches for event in batch})


async def test_the_same_identity_with_another_body_changes_nothing(pool: Pool) -> None:
    named = {"id": "e1", "occurredAt": NOW}
    await insert_events(pool, [make_event(**named, itemId="first")])
    assert await insert_events(pool, [make_event(**named, itemId="second")]) == [False]
    assert [event.item_id for event in await events_of_person(pool, U1)] == ["first"]


async def test_another_body_under_a_stored_identity_is_a_conflict_and_the_same_body_is_not(pool: Pool) -> None:
    events = make_events(3)
    await insert_events(pool, events)
    others = [
        make_event(id="e1", occurredAt=events[1].occurred_at, itemId="other"),
        make_event(id="new", occurredAt=NOW),
    ]
    assert await find_conflicts(pool, [*events, *others]) == others[:1]
    assert await find_conflicts(pool, []) == []


async def test_of_two_bodies_in_one_batch_the_stored_one_counts_as_new(pool: Pool) -> None:
    bodies = [make_event(id="e1", occurredAt=NOW, itemId=f"i{n}") for n in range(2)]
    new = await insert_events(pool, bodies)
    held = [event.item_id for event in await events_of_person(pool, U1)]
    assert [event.item_id for event, is_new in zip(bodies, new, strict=True) if is_new] == held


async def test_a_missing_month_is_made_when_an_event_of_it_arrives(pool: Pool) -> None:
    old = make_event(occurredAt="1990-01-01T00:00:00Z")
    older_and_newer = [old, make_event(occurredAt="1995-12-31T23:59:59.999999Z"), make_event()]
    assert await insert_events(pool, older_and_newer) == [True, True, True]
    assert await pool.fetchval("SELECT to_regclass('events_1990_01') IS NOT NULL")
    assert await pool.fetchval("SELECT to_regclass('events_1990_02') IS NULL"), "a month without events needs no table"


async def test_many_batches_at_once_can_make_the_same_month(pool: Pool) -> None:
    batches = [[make_event(occurredAt=f"1991-05-{day:02}T00:00:00Z")] for day in range(1, 9)]
    assert await asyncio.gather(*(insert_events(pool, batch) for batch in batches)) == [[True]] * 8


async def test_partitions_are_made_ahead_once(pool: Pool) -> None:
    first, last = datetime(2031, 11, 15, tzinfo=UTC), datetime(2032, 1, 1, tzinfo=UTC)
    assert await ensure_partitions(pool, first, last) == 3
    assert await ensure_partitions(pool, first, last) == 0


async def test_a_history_is_read_page_by_page_without_gap_or_repetition(pool: Pool) -> None:
    same_moment = [make_event(id=f"s{n}", occurredAt=NOW) for n in range(5)]
    await insert_events(pool, [*make_events(20), *same_moment])
    pages, before = [], None
    while page := await events_of_person(pool, U1, None, before, 4):
        pages += page
        before = HistoryPlace(page[-1].occurred_at, page[-1].source, page[-1].id)
    assert pages == sorted(pages, key=lambda event: (event.occurred_at, event.source, event.id), reverse=True)
    assert len({event.id for event in pages}) == len(pages) == 25


async def test_a_history_can_be_of_some_types_only(pool: Pool) -> None:
    await insert_events(pool, [*make_events(3), make_event(type="CLICK"), make_event(type="LIKE")])
    found = await events_of_person(pool, U1, [EventType.CLICK, EventType.LIKE])
    assert {event.type for event in found} == {EventType.CLICK, EventType.LIKE}
    assert await events_of_person(pool, U1, []) == []


async def test_a_guest_has_only_events_without_a_user_id(pool: Pool) -> None:
    await insert_events(pool, [make_event(anonymousId="g1"), make_event(userId=None, anonymousId="g1", itemId="mine")])
    assert [event.item_id for event in await events_of_person(pool, Person("guest", "g1"))] == ["mine"]
    assert [event.item_id for event in await events_of_person(pool, U1)] == ["i1"]


async def test_evidence_is_the_newest_few_of_each_item(pool: Pool) -> None:
    await insert_events(pool, make_events(35))
    found = await events_for_items(pool, U1, ["i0", "i1", "never"], each=3)
    assert {item: [event.id for event in events] for item, events in found.items()} == {
        "i0": ["e0", "e7", "e14"],
        "i1": ["e1", "e8", "e15"],
    }


async def test_the_numbers_for_a_state_equal_those_of_the_contract(pool: Pool) -> None:
    await pool.execute("INSERT INTO items (id, updated_at) VALUES ('i1', now())")
    number = await pool.fetchval("SELECT number FROM items")
    events = [
        make_event(type="PURCHASE", unitPrice="0.335", quantity=3, orderId="o1"),
        make_event(type="PURCHASE", value="12.345", itemId="unknown"),
        make_event(type="RATING", value="5"),
        make_event(type="SEARCH", itemId=None, query="tea", occurredAt="2026-02-01T00:00:00.999999Z"),
        make_event(type="RETURN", unitPrice="0.005"),
    ]
    await insert_events(pool, events)
    rows = {row.identity: row for row in await state_events(pool, U1)}
    types = list(EventType)
    for event in events:
        assert rows[event.identity][1:] == (
            types.index(event.type),
            number if event.item_id == "i1" else 0,
            int(event.occurred_at.timestamp()),
            event.quantity or 1,
            event.cents,
            event.order,
            NOW,
        )


@pytest.mark.timeout(120)
async def test_a_person_with_fifty_thousand_events_is_read_before_the_pool_gives_a_statement_up(pool: Pool) -> None:
    await _fill(pool, 50_000)
    assert len(await events_of_person(pool, U1, None, None, 101)) == 101
    assert len(await state_events(pool, U1)) == 50_000


async def _fill(pool: Pool, events: int) -> None:
    batch: Sequence[Event] = make_events(events)
    for start in range(0, events, 5_000):
        await insert_events(pool, batch[start : start + 5_000])
