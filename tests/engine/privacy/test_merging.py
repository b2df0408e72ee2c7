"""Merged users: everything about the old id counts for the user that stays, also what arrives during the merge."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from core import clock
from core.contract import Event, Person, read_event
from core.errors import InvalidInput
from db import identities
from db.cache import add_recent, person_keys, read_person
from db.events import events_of_person, insert_events
from db.identities import join_guest
from db.merged_users import unsettled_merges
from db.postgres import Pool
from engine.catalogue.catalogue import Catalogue
from engine.intake.storing import store
from engine.privacy.guests import SETTLE_DELAY, settle_guests
from engine.privacy.merging import CannotMerge, merge_users, settle_merges
from engine.recommending.people import PeopleReader
from workers.process import Connections

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, NEW = Person("user", "old"), Person("user", "new")
LATER = 2 * SETTLE_DELAY


def make_event(id: str, user: str | None = "old", hours: float = 0, **fields: Any) -> Event:
    when = (NOW - timedelta(hours=hours)).isoformat()
    raw = {"type": "PURCHASE", "userId": user, "itemId": "i1", "id": id, "occurredAt": when, **fields}
    return read_event(raw, source="shop", received_at=NOW)


async def ids(pool: Pool, person: Person) -> list[str]:
    return sorted(event.id for event in await events_of_person(pool, person))


@pytest.fixture
async def people(pool: Pool, redis: Redis) -> PeopleReader:
    catalogue = Catalogue(pool, poll=1)
    await catalogue.load()
    return PeopleReader(pool, redis, catalogue)


async def lines(people: PeopleReader, person: Person) -> int:
    state, degraded, _ = await people.state(person)
    assert degraded == []
    return state.lines


async def test_both_ids_are_one_person(
    pool: Pool, redis: Redis, connections: Connections, people: PeopleReader
) -> None:
    await store(connections, [make_event("a"), make_event("b", "new", 1), make_event("c", "other")], timeout=5)
    assert [await lines(people, person) for person in (OLD, NEW)] == [1, 1]
    assert await merge_users(pool, redis, "old", "new", "shop") == NEW
    for _ in range(2):  # the second time, Redis knows who the old id is
        assert [await lines(people, person) for person in (OLD, NEW)] == [2, 2]
    assert [await ids(pool, person) for person in (OLD, NEW)] == [["a", "b"]] * 2
    await store(connections, [make_event("d", hours=2), make_event("e", None, 3, anonymousId="g")], timeout=5)
    await join_guest(pool, "g", "old", "shop")
    await redis.unlink(person_keys(NEW).base)
    assert [await ids(pool, person) for person in (OLD, NEW)] == [["a", "b", "d", "e"]] * 2
    assert [await lines(people, person) for person in (OLD, NEW)] == [4, 4]
    assert await pool.fetchval("SELECT count(*) FROM events WHERE user_id = 'old'") == 0


async def test_an_event_of_the_old_id_counts_before_a_worker_has_stored_it(
    pool: Pool, redis: Redis, people: PeopleReader
) -> None:
    await merge_users(pool, redis, "old", "new", "shop")
    await add_recent(redis, [make_event("a", "new")])
    for number in range(3):
        await add_recent(redis, [make_event(f"in flight {number}", hours=number + 1)])  # as a gateway does
        assert await lines(people, OLD) == number + 2


async def test_a_chain_is_followed_by_states_events_and_redis(
    pool: Pool, redis: Redis, connections: Connections, people: PeopleReader
) -> None:
    third = Person("user", "third")
    await store(connections, [make_event("a"), make_event("b", "new", 1), make_event("c", "third", 2)], timeout=5)
    await merge_users(pool, redis, "old", "new", "shop")
    assert await lines(people, OLD) == 2
    assert await merge_users(pool, redis, "new", "third", "shop") == third
    for _ in range(2):
        assert [await lines(people, person) for person in (OLD, NEW, third)] == [3, 3, 3]
    await store(connections, [make_event("d", hours=3)], timeout=5)
    assert [await ids(pool, person) for person in (OLD, NEW, third)] == [["a", "b", "c", "d"]] * 3
    with pytest.raises(CannotMerge):
        await merge_users(pool, redis, "third", "old", "shop")


async def test_events_stored_during_the_merge_are_assigned_later(pool: Pool, redis: Redis) -> None:
    await merge_users(pool, redis, "old", "new", "shop")
    late = make_event("late")
    await insert_events(pool, [late])  # as a worker does that began before the merge
    await add_recent(redis, [late])
    assert await settle_merges(pool, redis, clock.now() + SETTLE_DELAY / 2) == 0
    assert await settle_merges(pool, redis, clock.now() + LATER) == 1
    assert await ids(pool, NEW) == ["late"]
    assert len((await read_person(redis, NEW))[1]) == 1
    assert not await redis.exists(*person_keys(OLD))
    assert await settle_merges(pool, redis, clock.now() + LATER) == 0, "once"


async def test_late_events_of_an_old_guest_reach_the_user_that_stays(pool: Pool, redis: Redis) -> None:
    await join_guest(pool, "g", "old", "shop")
    await insert_events(pool, [make_event("late", None, anonymousId="g")])
    await merge_users(pool, redis, "old", "new", "shop")
    assert await settle_guests(pool, redis, clock.now() + LATER) == 1
    assert await ids(pool, NEW) == ["late"]


async def test_a_user_of_very_many_events_is_merged_in_parts(
    pool: Pool, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identities, "MOST_AT_ONCE", 4)
    await insert_events(pool, [make_event(str(hours), hours=hours) for hours in range(10)])
    await merge_users(pool, redis, "old", "new", "shop")
    seen = [len(await ids(pool, NEW))]
    while await unsettled_merges(pool, clock.now() + LATER):
        await settle_merges(pool, redis, clock.now() + 2 * LATER)
        seen.append(len(await ids(pool, NEW)))
    assert seen == [5, 10, 10]


async def test_merges_joins_and_events_at_once_leave_nothing_behind(
    pool: Pool, redis: Redis, connections: Connections, people: PeopleReader
) -> None:
    await connections.pool()
    for number in range(10):
        a, b, c = (f"{name}{number}" for name in "abc")
        batches = [
            [make_event(f"{id}-{at}", id, at), make_event(f"g{id}-{at}", None, at, anonymousId=f"g{id}")]
            for at in range(3)
            for id in (a, b, c)
        ]
        await asyncio.gather(
            *(store(connections, batch, timeout=5) for batch in batches),
            merge_users(pool, redis, a, b, "shop"),
            merge_users(pool, redis, b, c, "shop"),
            *(join_guest(pool, f"g{id}", id, "shop") for id in (a, b, c)),
            *(people.state(Person("user", id)) for id in (a, b, c)),
        )
        await settle_guests(pool, redis, clock.now() + LATER)
        await settle_merges(pool, redis, clock.now() + LATER)
        for id in (a, b, c):
            assert len(await ids(pool, Person("user", id))) == 18
            assert await lines(people, Person("user", id)) == 18
    assert await pool.fetchval("SELECT count(DISTINCT user_id) FROM events") == 10
    assert await pool.fetchval("SELECT count(*) FROM events WHERE user_id IS NULL") == 0


async def test_an_event_known_under_the_old_id_is_not_stored_again(
    pool: Pool, redis: Redis, connections: Connections
) -> None:
    sent = make_event("a")
    assert await store(connections, [sent], timeout=5) == 1
    await merge_users(pool, redis, "old", "new", "shop")
    assert await store(connections, [sent], timeout=5) == 0
    assert await pool.fetchval("SELECT count(*) FROM dead_events") == 0


@pytest.mark.parametrize(
    ("from_id", "into_id", "field"),
    [("", "new", "fromId"), ("old", "a\0", "intoId"), ("urn:penchant:x", "new", "fromId"), ("old", "old", "fromId")],
)
async def test_invalid_ids_are_refused(pool: Pool, redis: Redis, from_id: str, into_id: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await merge_users(pool, redis, from_id, into_id, "shop")
    assert refused.value.field == field
