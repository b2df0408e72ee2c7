"""Events sent three times and up to an hour out of order have the same effect as events sent once in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from redis.asyncio import Redis

from core.contract import Event, EventType, Person, read_event
from core.settings import Stores
from db.cache import add_recent
from db.items import upsert_items
from db.postgres import Pool
from db.purchases import purchase_log
from engine.catalogue.catalogue import Catalogue
from engine.intake.storing import store
from engine.recommending.people import PeopleReader
from ml.affinity.candidates import gather_evidence
from ml.affinity.pair_features import pair_features
from ml.log import Log
from ml.snapshot import best_supported, snapshot
from ml.state import State
from ml.universe import Universe
from workers.process import Connections

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
PEOPLE = [Person("user", f"u{number}") for number in range(8)] + [Person("guest", "g1")]
ITEMS = [f"item {number}" for number in range(20)]
EVENTS, HOURS, BATCH = 900, 48, 40
KINDS = [EventType.PURCHASE, EventType.VIEW, EventType.ADD_TO_CART, EventType.RETURN, EventType.LIKE, EventType.SEARCH]
KINDS += [EventType.DISLIKE, EventType.RATING]
ROWS = (
    "SELECT source, id, occurred_at, type, user_id, anonymous_id, item_id, order_id, quantity, unit_price, currency,"
    " query, properties, digest FROM events ORDER BY source, id, occurred_at"
)


@dataclass(frozen=True)
class Stored:
    """What is stored after one way of sending: rows of events, states of people, features."""

    rows: list[Any]
    states: list[State]
    features: list[NDArray[np.float32]]


def events_in_order(seed: int = 3) -> list[Event]:
    """The events of two days, in order, each received when it happened."""
    random = np.random.default_rng(seed)
    seconds = np.sort(random.integers(0, HOURS * 3600, EVENTS))
    return [make_event(number, int(second), random) for number, second in enumerate(seconds)]


def make_event(number: int, second: int, random: np.random.Generator) -> Event:
    kind, person = (
        KINDS[random.choice(len(KINDS), p=[0.35, 0.25, 0.1, 0.15, 0.05, 0.02, 0.04, 0.04])],
        PEOPLE[random.choice(9)],
    )
    at = NOW - timedelta(hours=HOURS) + timedelta(seconds=second)
    raw: dict[str, Any] = {"id": f"e{number}", "type": kind, "occurredAt": at.isoformat(), "properties": {"n": number}}
    raw["userId" if person.kind == "user" else "anonymousId"] = person.id
    if kind is EventType.SEARCH:
        raw["query"] = "tea"
    else:
        raw["itemId"] = ITEMS[min(random.geometric(0.15), len(ITEMS)) - 1]
    if kind is EventType.RATING:
        raw["value"] = str(random.integers(1, 6))
    if kind in (EventType.PURCHASE, EventType.RETURN):
        raw |= {"orderId": f"{person.id} {second // 7200}", "quantity": int(random.integers(1, 4))}
        raw |= {"unitPrice": f"{random.integers(50, 900) / 100:.2f}", "currency": "EUR"}
    return read_event(raw, source="shop", received_at=at)


def thrice_and_out_of_order(events: Sequence[Event], seed: int = 4) -> list[Event]:
    """Each event three times: delivered twice by the broker, sent again by the shop later; up to an hour late."""
    random = np.random.default_rng(seed)
    sent_again = [
        event.model_copy(update={"received_at": (event.received_at or NOW) + timedelta(minutes=3)}) for event in events
    ]
    every = [*events, *events, *sent_again]
    arrives = [event.occurred_at.timestamp() + random.uniform(0, 3600) for event in every]
    return [every[at] for at in np.argsort(arrives)]


def batches(events: Sequence[Event]) -> list[Sequence[Event]]:
    return [events[start : start + BATCH] for start in range(0, len(events), BATCH)]


@pytest.fixture
async def catalogue(pool: Pool) -> Catalogue:
    await upsert_items(pool, [{"id": id, "updated_at": NOW} for id in ITEMS])
    catalogue = Catalogue(pool, poll=1)
    await catalogue.load()
    return catalogue


async def send(
    stores: Stores, redis: Redis, people: PeopleReader, deliveries: Sequence[Sequence[Event]], *, reading: bool
) -> None:
    """Gateway and worker take each batch: the delta has it before it is stored. `reading`: states are read between."""
    memory = Connections(stores)
    for number, batch in enumerate(deliveries):
        await add_recent(redis, batch)
        if reading:
            await people.state(PEOPLE[number % len(PEOPLE)])
        await store(memory, batch, timeout=0)
    await memory.close()


async def stored(pool: Pool, people: PeopleReader) -> Stored:
    states = [await state_of(people, person) for person in PEOPLE]
    universe = await universe_of(pool)
    numbers = universe.numbers
    features = [pair_features(gather_evidence(universe, state, as_of()), numbers) for state in states]
    return Stored([tuple(row) for row in await pool.fetch(ROWS)], states, features)


async def state_of(people: PeopleReader, person: Person) -> State:
    state, degraded, _ = await people.state(person)
    assert degraded == []
    return state


async def universe_of(pool: Pool) -> Universe:
    """What a training would precompute from the stored log."""
    bought = await purchase_log(pool, NOW)
    log = Log.of(
        bought.people,
        bought.person,
        bought.item.astype(np.uint32),
        bought.occurred,
        bought.cents,
        bought.order,
        bought.item_numbers.astype(np.uint32),
        bought.item_ids,
    )
    return snapshot(log, best_supported(log, len(ITEMS)), as_of())


def as_of() -> int:
    return int(NOW.timestamp())


def assert_same_states(ours: State, theirs: State) -> None:
    for name in ("orders", "lines", "first", "last", "spend"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("item", "lines", "views", "first", "last", "viewed", "spend"):
        assert ours.items[name].tolist() == theirs.items[name].tolist(), name
    np.testing.assert_allclose(ours.items["decayed"], theirs.items["decayed"], rtol=1e-5)
    assert ours.recent.tolist() == theirs.recent.tolist()
    assert ours.recent_orders.tolist() == theirs.recent_orders.tolist()
    assert ours.opinions.tolist() == theirs.opinions.tolist()


async def test_rows_states_and_features_do_not_depend_on_how_often_and_in_which_order_events_are_sent(
    stores: Stores, pool: Pool, redis: Redis, catalogue: Catalogue
) -> None:
    people, events = PeopleReader(pool, redis, catalogue), events_in_order()
    await send(stores, redis, people, batches(events), reading=False)
    clean = await stored(pool, people)
    assert len(clean.rows) == EVENTS and all(state.orders > 3 for state in clean.states)
    assert sum(len(state.disliked) for state in clean.states) > 10
    assert sum(state.lines < np.sum(state.ledger.lines["units"] > 0) for state in clean.states) > 4, "some is returned"
    await pool.execute("TRUNCATE events")
    await redis.flushdb()
    await send(stores, redis, people, batches(thrice_and_out_of_order(events)), reading=True)
    messy = await stored(pool, people)
    assert messy.rows == clean.rows
    for ours, theirs in zip(messy.states, clean.states, strict=True):
        assert_same_states(ours, theirs)
    for found, expected in zip(messy.features, clean.features, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    await redis.flushdb()  # the states that Postgres alone gives are the same
    for person, state in zip(PEOPLE, clean.states, strict=True):
        assert_same_states(await state_of(people, person), state)
