"""Dislikes and returns reach a person's state at once, and after the base is rebuilt; a guest's go to the user."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from core import clock
from core.contract import Event, Person, read_event
from db.cache import add_recent, move_person, person_keys
from db.events import insert_events, state_events
from db.identities import join_guest
from db.items import upsert_items
from db.postgres import Pool
from db.purchases import popular_items
from engine.catalogue.catalogue import Catalogue
from engine.recommending.people import PeopleReader, base_of
from ml.returns import net
from ml.state import PURCHASE, RETURN, State

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ANNA, GUEST = Person("user", "anna"), Person("guest", "g1")


def sent(id: str, type: str, item: str = "milk", *, hours: float = 1, who: Person = ANNA, **fields: Any) -> Event:
    raw = {"id": id, "type": type, "itemId": item, "occurredAt": (NOW - timedelta(hours=hours)).isoformat(), **fields}
    raw["userId" if who.kind == "user" else "anonymousId"] = who.id
    return read_event(raw, source="shop", received_at=NOW)


@pytest.fixture
async def catalogue(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    monkeypatch.setattr(clock, "now", lambda: NOW)
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


def disliked(state: State, catalogue: Catalogue) -> set[str]:
    ids = {catalogue.number_of(id): id for id in ("milk", "soap", "vase")}
    return {ids[number] for number in state.disliked.tolist()}


async def accept(pool: Pool, redis: Redis, *events: Event) -> None:
    await add_recent(redis, events)
    await insert_events(pool, events)


@pytest.mark.parametrize(
    "event",
    [sent("d", "DISLIKE"), sent("d", "RATING", value="2"), sent("d", "RATING", value="0.5", unitPrice="400")],
    ids=["dislike", "two stars", "half a star"],
)
async def test_a_dislike_counts_at_once_after_it_is_stored_and_in_a_new_base(
    people: PeopleReader, pool: Pool, redis: Redis, catalogue: Catalogue, event: Event
) -> None:
    assert disliked(await state_of(people), catalogue) == set()
    await add_recent(redis, [event])
    assert disliked(await state_of(people), catalogue) == {"milk"}
    await insert_events(pool, [event])
    await redis.unlink(person_keys(ANNA).base)
    assert disliked(await state_of(people), catalogue) == {"milk"}
    await redis.flushdb()
    assert disliked(await state_of(people), catalogue) == {"milk"}
    assert disliked(await state_of(people), catalogue) == {"milk"}


@pytest.mark.parametrize(
    ("later", "fields", "left"),
    [
        ("LIKE", {}, set()),
        ("PURCHASE", {"orderId": "o1"}, set()),
        ("RATING", {"value": "3"}, set()),
        ("RATING", {"value": "2.9"}, {"milk"}),
        ("RATING", {"value": "0"}, {"milk"}),
        ("VIEW", {}, {"milk"}),
    ],
)
async def test_what_takes_a_dislike_back(
    people: PeopleReader, pool: Pool, redis: Redis, catalogue: Catalogue, later: str, fields: Any, left: set[str]
) -> None:
    await accept(pool, redis, sent("d", "DISLIKE", hours=3))
    await state_of(people)
    await accept(pool, redis, sent("l", later, hours=2, **fields))
    assert disliked(await state_of(people), catalogue) == left
    await redis.flushdb()
    assert disliked(await state_of(people), catalogue) == left


async def test_a_purchase_that_is_returned_takes_no_dislike_back(
    people: PeopleReader, pool: Pool, redis: Redis, catalogue: Catalogue
) -> None:
    await accept(pool, redis, sent("d", "DISLIKE", hours=3), sent("p", "PURCHASE", hours=2, orderId="o1"))
    assert disliked(await state_of(people), catalogue) == set()
    await accept(pool, redis, sent("r", "RETURN", hours=1, orderId="o1"))
    assert disliked(await state_of(people), catalogue) == {"milk"}


async def test_a_dislike_holds_for_the_days_that_are_set(pool: Pool, redis: Redis, catalogue: Catalogue) -> None:
    await accept(pool, redis, sent("d", "DISLIKE", hours=30), sent("e", "DISLIKE", "soap", hours=10))
    people = PeopleReader(pool, redis, catalogue, dislikes_hold=timedelta(days=1))
    assert disliked(await state_of(people), catalogue) == {"soap"}
    assert disliked(await state_of(PeopleReader(pool, redis, catalogue)), catalogue) == {"milk", "soap"}


async def test_what_a_guest_disliked_and_returned_counts_for_the_user(
    people: PeopleReader, pool: Pool, redis: Redis, catalogue: Catalogue
) -> None:
    await accept(pool, redis, sent("p", "PURCHASE", "soap", hours=9, orderId="o1", unitPrice="2", currency="EUR"))
    assert (await state_of(people)).orders == 1
    mine = sent("d", "DISLIKE", who=GUEST), sent("r", "RETURN", "soap", who=GUEST, orderId="o1")
    await accept(pool, redis, *mine)
    assert disliked(await state_of(people, GUEST), catalogue) == {"milk"}
    assert await join_guest(pool, GUEST.id, ANNA.id, "test")
    await move_person(redis, GUEST, ANNA)
    for _ in range(2):
        state = await state_of(people)
        assert disliked(state, catalogue) == {"milk"}
        assert (state.orders, state.spend, len(state.bought)) == (0, 0, 0)


async def test_a_return_counts_at_once_whichever_of_both_arrives_first(
    people: PeopleReader, pool: Pool, redis: Redis
) -> None:
    bought = sent("p", "PURCHASE", hours=9, orderId="o1", quantity=3, unitPrice="2", currency="EUR")
    one = sent("r1", "RETURN", hours=5, orderId="o1")
    rest = sent("r2", "RETURN", hours=4, orderId="o1", quantity=2)
    await accept(pool, redis, one)
    assert (await state_of(people)).orders == 0
    await accept(pool, redis, bought)
    state = await state_of(people)
    assert (state.orders, state.spend, state.bought["spend"].tolist()) == (1, 400, [400])
    await redis.unlink(person_keys(ANNA).base)
    assert (await state_of(people)).spend == 400
    await accept(pool, redis, rest)
    for _ in range(2):
        state = await state_of(people)
        assert (state.orders, state.lines, state.spend, len(state.bought)) == (0, 0, 0, 0)
        await redis.flushdb()


async def counted(pool: Pool, since: datetime = NOW - timedelta(days=28)) -> dict[str, int]:
    return {id: people for id, _, people in await popular_items(pool, since, 10)}


async def test_what_is_returned_is_not_popular(pool: Pool, catalogue: Catalogue) -> None:
    bert = Person("guest", "bert")
    bought = [
        sent(f"{who.id} {n}", "PURCHASE", hours=9, orderId=f"o{n}", who=who) for who in (ANNA, bert) for n in "12"
    ]
    await insert_events(pool, [*bought, sent("s", "PURCHASE", "soap", orderId="o1")])
    assert await counted(pool) == {"milk": 2, "soap": 1}
    await insert_events(pool, [sent("r1", "RETURN", orderId="o1")])
    assert await counted(pool) == {"milk": 2, "soap": 1}, "one of two orders is kept"
    await insert_events(pool, [sent("r2", "RETURN", orderId="o2"), sent("r3", "RETURN", "soap", quantity=9)])
    assert await counted(pool) == {"milk": 1}
    await insert_events(pool, [sent("again", "PURCHASE", "soap", hours=0.5)])
    assert await counted(pool) == {"milk": 1, "soap": 1}


async def test_the_return_of_an_older_order_leaves_the_new_one_popular(pool: Pool, catalogue: Catalogue) -> None:
    bought = [sent("old", "PURCHASE", hours=900, orderId="o1"), sent("new", "PURCHASE", hours=5, orderId="o2")]
    await insert_events(pool, [*bought, sent("r", "RETURN", hours=1, orderId="o1")])
    assert await counted(pool) == {"milk": 1}
    await insert_events(pool, [sent("r2", "RETURN", hours=1, orderId="number of the return")])
    assert await counted(pool) == {}


@pytest.mark.parametrize("seed", range(6))
async def test_popularity_counts_the_people_whose_lines_are_kept(pool: Pool, catalogue: Catalogue, seed: int) -> None:
    chance = Random(seed)  # noqa: S311 -- no secret
    people = [Person("user", f"u{number}") for number in range(25)] + [
        Person("guest", f"u{number}") for number in range(9)
    ]
    events = [
        sent(
            f"e{number}",
            "PURCHASE" if chance.random() < 0.6 else "RETURN",
            chance.choice(["milk", "soap", "vase"]),
            hours=chance.choice([chance.uniform(1, 40), chance.uniform(1, 1400)]),
            who=chance.choice(people),
            orderId=chance.choice([None, "a", "b", "c"]),
            quantity=chance.choice([None, 1, 2, 3]),
        )
        for number in range(400)
    ]
    placed = {(event.person, event.order_id): event.occurred_at for event in events if event.type == "PURCHASE"}
    for at, event in enumerate(events):  # an order is placed in one moment, and returned later
        if event.order_id and (moment := placed.get((event.person, event.order_id))):
            later = moment if event.type == "PURCHASE" else max(moment, event.occurred_at)
            events[at] = event.model_copy(update={"occurred_at": later})
    await insert_events(pool, events)
    since = NOW - timedelta(days=28)
    expected: Counter[str] = Counter()
    for person in people:
        mine = base_of([row for row in await state_events(pool, person) if row.type in (PURCHASE, RETURN)])
        lines, begin = mine.ledger.lines, int(since.timestamp())
        kept = net(lines, mine.ledger.returns).kept
        numbers = np.unique(lines["item"][(kept > 0) & (lines["occurred"] >= begin)]).tolist()
        expected.update(id for id in ("milk", "soap", "vase") if catalogue.number_of(id) in numbers)
    assert await counted(pool, since) == {id: people for id, people in expected.items() if people}
