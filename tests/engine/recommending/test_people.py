"""A person's state is base and delta. No event counts twice, whatever is lost or delivered again."""

import asyncio
import gc
import weakref
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from core.contract import Event, Person, read_event
from db.cache import add_recent, connect_redis, person_keys, read_person
from db.events import insert_events
from db.items import upsert_items
from db.postgres import Pool
from db.users import upsert_users
from engine.catalogue.catalogue import Catalogue
from engine.recommending.people import LONG_DELTA, Degradation, PeopleReader, PersonLoader, PersonState
from ml.state import State
from tests.faults import eventually

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ANNA = Person("user", "anna")


def bought(id: str, item: str = "milk", *, days: int = 1, loaded: bool = False, **fields: Any) -> Event:
    raw = {
        "id": id, "type": "PURCHASE", "userId": "anna", "itemId": item, "quantity": 2, "unitPrice": "1.50",
        "occurredAt": (NOW - timedelta(days=days)).isoformat(), **fields,
    }  # fmt: skip
    return read_event(raw, source="shop", received_at=None if loaded else NOW)


def facts(state: State) -> tuple[Any, ...]:
    """The parts of a state that must not depend on how it was built."""
    return state.orders, state.lines, state.spend, state.first, state.last, state.items.tolist(), state.recent.tolist()


@pytest.fixture
async def catalogue(pool: Pool) -> Catalogue:
    await upsert_items(pool, [{"id": id, "updated_at": NOW} for id in ("milk", "soap", "vase")])
    catalogue = Catalogue(pool, poll=1)
    await catalogue.load()
    return catalogue


@pytest.fixture
def people(pool: Pool, redis: Redis, catalogue: Catalogue) -> PeopleReader:
    return PeopleReader(pool, redis, catalogue)


async def state_of(people: PeopleReader, person: Person = ANNA) -> State:
    state, degraded, _ = await people.state(person)
    assert degraded == []
    return state


async def test_an_event_counts_once_in_the_delta_in_postgres_and_in_both(
    people: PeopleReader, pool: Pool, redis: Redis
) -> None:
    await insert_events(pool, [bought("old", days=9, loaded=True)])
    await state_of(people)  # builds the base without the new event
    new = bought("new", "soap", orderId="o1")
    await add_recent(redis, [new])
    expected = facts(await state_of(people))
    assert expected[:3] == (2, 2, 600)
    await insert_events(pool, [new])
    assert facts(await state_of(people)) == expected
    await add_recent(redis, [new])
    assert await insert_events(pool, [new]) == [False]
    assert facts(await state_of(people)) == expected
    await redis.delete(person_keys(ANNA).base)  # the next base holds the events of the delta too
    assert facts(await state_of(people)) == expected
    assert facts(await state_of(people)) == expected


async def test_an_event_that_was_loaded_and_then_reported_counts_once(
    people: PeopleReader, pool: Pool, redis: Redis
) -> None:
    await insert_events(pool, [bought("e1", loaded=True), bought("e2", days=2, loaded=True)])
    await add_recent(redis, [bought("e1")])  # reported by the shop's server under the same id
    assert facts(await state_of(people))[:3] == (2, 2, 600)


async def test_after_redis_is_flushed_the_state_is_the_same(people: PeopleReader, pool: Pool, redis: Redis) -> None:
    events = [bought(f"e{number}", days=number) for number in range(1, 6)]
    await insert_events(pool, events)
    await add_recent(redis, events)
    before = facts(await state_of(people))
    await redis.flushdb()
    assert facts(await state_of(people)) == before
    assert await redis.exists(person_keys(ANNA).base)


async def test_a_state_with_a_base_is_read_without_postgres(people: PeopleReader, pool: Pool, redis: Redis) -> None:
    await insert_events(pool, [bought("old")])
    before = facts(await state_of(people))
    await pool.close()
    assert facts(await state_of(people)) == before


async def test_a_damaged_base_is_rebuilt(people: PeopleReader, pool: Pool, redis: Redis) -> None:
    await insert_events(pool, [bought("old")])
    before = facts(await state_of(people))
    await redis.set(person_keys(ANNA).base, b"torn")
    assert facts(await state_of(people)) == before


async def test_without_redis_the_history_is_read_and_the_state_is_degraded(pool: Pool, catalogue: Catalogue) -> None:
    await insert_events(pool, [bought("old")])
    async with connect_redis("redis://127.0.0.1:1/0", timeout=0.2) as unreachable:
        state, degraded, _ = await PeopleReader(pool, unreachable, catalogue).state(ANNA)
    assert state.lines == 1
    assert degraded == [Degradation.NO_CACHE]


async def test_without_redis_and_postgres_nobody_is_known(pool: Pool, catalogue: Catalogue) -> None:
    await insert_events(pool, [bought("old")])
    await pool.close()
    async with connect_redis("redis://127.0.0.1:1/0", timeout=0.2) as unreachable:
        people = PeopleReader(pool, unreachable, catalogue)
        state, degraded, _ = await people.state(ANNA)
        assert (state.lines, degraded) == (0, [Degradation.NO_CACHE, Degradation.NO_HISTORY])
        assert not await people.known(ANNA, state)


async def test_readers_who_find_no_base_at_the_same_time_build_it_once(
    pool: Pool, redis: Redis, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers, found_no_base, all_waiting = 20, 0, asyncio.Event()

    async def counted_read_person(redis: Redis, person: Person) -> tuple[bytes | None, list[bytes]]:
        nonlocal found_no_base
        base, delta = await read_person(redis, person)
        found_no_base += base is None
        if found_no_base == readers:
            all_waiting.set()
        return base, delta

    monkeypatch.setattr("engine.recommending.people.read_person", counted_read_person)
    await insert_events(pool, [bought(f"e{number}", days=number) for number in range(1, 40)])
    queries: list[str] = []
    async with pool.acquire() as connection:
        connection.raw.add_query_logger(lambda record: queries.append(record.query))
        people = PeopleReader(cast(Any, _HeldBack(connection, all_waiting)), redis, catalogue)
        async with asyncio.timeout(5):
            states = await asyncio.gather(*(people.state(ANNA) for _ in range(readers)))
    assert {state.lines for state, _, _ in states} == {39}
    assert len([query for query in queries if "FROM events" in query]) == 1


class _HeldBack:
    """A pool of one connection whose queries start when `release` is set."""

    def __init__(self, connection: Any, release: asyncio.Event) -> None:
        self._connection, self._release = connection, release

    async def fetch(self, *query: Any) -> Any:
        await self._release.wait()
        return await self._connection.fetch(*query)

    async def fetchrow(self, *query: Any) -> Any:
        await self._release.wait()
        return await self._connection.fetchrow(*query)

    async def fetchval(self, *query: Any) -> Any:
        return await self._connection.fetchval(*query)


async def test_a_reader_that_is_cancelled_does_not_stop_the_others(people: PeopleReader, pool: Pool) -> None:
    await insert_events(pool, [bought("old")])
    first, second = (asyncio.create_task(people.state(ANNA)) for _ in range(2))
    await asyncio.wait([first], timeout=0.001)
    first.cancel()
    state, degraded, _ = await second
    assert (state.lines, degraded) == (1, [])


async def test_a_long_delta_causes_a_new_base(people: PeopleReader, pool: Pool, redis: Redis) -> None:
    await state_of(people)
    events = [bought(f"e{number}", orderId=f"o{number}") for number in range(LONG_DELTA + 10)]
    await insert_events(pool, events)
    for start in range(0, len(events), 100):
        await add_recent(redis, events[start : start + 100])
    expected = facts(await state_of(people))
    assert expected[1] == len(events)

    async def all_included() -> bool:
        packed = await redis.get(person_keys(ANNA).base)
        return isinstance(packed, bytes) and len(State.unpack(packed).included) == len(events)

    await eventually(all_included)
    assert facts(await state_of(people)) == expected


async def test_fifty_thousand_events_fit_into_a_small_base(people: PeopleReader, pool: Pool, redis: Redis) -> None:
    await _load(pool, 50_000)
    state = await state_of(people)
    assert state.lines == 50_000
    size = await redis.strlen(person_keys(ANNA).base)
    assert size < 64_000
    assert facts(await state_of(people)) == facts(state)


async def _load(pool: Pool, count: int) -> None:
    await pool.execute("SELECT ensure_event_partitions($1, $1)", NOW)
    await pool.execute(
        "INSERT INTO events (source, id, occurred_at, type, user_id, item_id, quantity, unit_price, digest)"
        " SELECT 'load', n::text, $1::timestamptz - n * interval '1 second', 'PURCHASE', 'anna',"
        " (ARRAY['milk', 'soap', 'vase', 'unknown'])[1 + n % 4], 1, 2.5, n FROM generate_series(1, $2::int) n",
        NOW,
        count,
    )


@pytest.mark.parametrize(
    ("events", "known"),
    [
        ([], False),
        ([bought("a")], True),
        ([bought("b", "never uploaded", type="VIEW")], True),
        ([read_event({"type": "SEARCH", "userId": "anna", "query": "oats"}, source="shop", received_at=NOW)], True),
    ],
)
async def test_a_person_with_any_event_is_known(
    people: PeopleReader, redis: Redis, pool: Pool, events: Sequence[Event], known: bool
) -> None:
    await insert_events(pool, events)
    state = await state_of(people)
    assert await people.known(ANNA, state) is known


async def test_a_person_with_a_record_is_known(people: PeopleReader, pool: Pool) -> None:
    await upsert_users(pool, [{"id": "anna", "updated_at": NOW}])
    assert await people.known(ANNA, State.empty())
    assert not await people.known(Person("guest", "anna"), State.empty())


async def test_a_guest_and_a_user_with_the_same_id_are_two_people(people: PeopleReader, pool: Pool) -> None:
    await insert_events(pool, [bought("a"), bought("b", userId=None, anonymousId="anna")])
    for kind in ("user", "guest"):
        assert (await state_of(people, Person(kind, "anna"))).lines == 1


class HeldReader:
    """A reader that waits until it is released, and counts what it began and what was cancelled."""

    def __init__(self) -> None:
        self.begun, self.cancelled = asyncio.Event(), asyncio.Event()
        self.released = asyncio.Event()
        self.reads = 0

    async def state(self, person: Person) -> PersonState:
        self.reads += 1
        self.begun.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return PersonState(State.empty(), [])


async def test_a_field_that_is_cancelled_leaves_the_reading_to_the_next() -> None:
    reader = HeldReader()
    loader = PersonLoader(cast(PeopleReader, reader))
    first, second = (asyncio.create_task(loader.state(ANNA)) for _ in range(2))
    await reader.begun.wait()
    first.cancel()
    await asyncio.wait([first])
    reader.released.set()
    found = await second
    assert first.cancelled() and await loader.state(ANNA) is found
    assert reader.reads == 2


async def test_the_reading_of_a_person_is_cancelled_with_the_last_field_that_waits() -> None:
    reader = HeldReader()
    loader = PersonLoader(cast(PeopleReader, reader))
    fields = [asyncio.create_task(loader.state(ANNA)) for _ in range(3)]
    await reader.begun.wait()
    for field in fields:
        field.cancel()
    await asyncio.wait(fields)
    async with asyncio.timeout(30):
        await reader.cancelled.wait()
    assert reader.reads == 1


def test_a_loader_is_freed_without_a_garbage_collection() -> None:
    gc.disable()
    try:
        loader = PersonLoader(cast(Any, None))
        seen = weakref.ref(loader)
        del loader
        assert seen() is None
    finally:
        gc.enable()
