"""One request's lists: equal ones are scored once, and each respects its own filter and the catalogue of its moment."""

from typing import Any

import pytest
from redis.asyncio import Redis

from api.gateway import Gateway
from core import clock
from core.contract import Person
from core.turns import OneAtATime
from db.items import remove_items, upsert_items
from engine.catalogue.filters import Filter
from engine.recommending import list_kinds
from engine.recommending.people import PersonLoader
from engine.recommending.recommendations import ListRequest, Recommender
from ml.affinity import ranking
from tests.fixtures.gateway import MakeBundle, Serve

ANNA = Person("user", "anna")
IDS = [f"i{number:02}" for number in range(20)]


@pytest.fixture
async def recommender(gateway: Gateway, redis: Redis, make_bundle: MakeBundle, serving: Serve) -> Recommender:
    """The lists of one request over twenty items, every second one in category `even`."""
    now = clock.now()
    items = [{"id": id, "updated_at": now, "categories": ["even"] if at % 2 == 0 else []} for at, id in enumerate(IDS)]
    await upsert_items(gateway.pool, items)  # type: ignore[arg-type]
    await gateway.catalogue.refresh()
    await serving(gateway.pool, make_bundle(gateway.catalogue, IDS))
    await gateway.models.load()
    people, turns = PersonLoader(gateway.people), OneAtATime(gateway.turns, "shop")
    return Recommender(gateway.catalogue, gateway.models, gateway.signer, people, turns)


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of allowed items each time candidates are scored."""
    calls: list[int] = []
    original = ranking.score

    def score(view: Any, allowed: Any, fallback: Any, nameable: Any, **more: Any) -> object:
        calls.append(int(allowed.sum()))
        return original(view, allowed, fallback, nameable, **more)

    monkeypatch.setattr(list_kinds, "score", score)
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    return calls


async def test_equal_lists_of_a_request_are_scored_once_whatever_their_length(
    recommender: Recommender, scored: list[int]
) -> None:
    short = await recommender.for_person(ANNA, ListRequest(3))
    long = await recommender.for_person(ANNA, ListRequest(9))
    assert len(scored) == 1
    assert (len(short.page.numbers), len(long.page.numbers)) == (3, 9)
    assert short.page.numbers == long.page.numbers[:3]


async def test_lists_with_another_filter_or_context_are_scored_for_themselves(
    recommender: Recommender, gateway: Gateway, scored: list[int]
) -> None:
    even = Filter(categories=("even",))
    everything = await recommender.for_person(ANNA, ListRequest(20))
    filtered = await recommender.for_person(ANNA, ListRequest(20, filter=even))
    await recommender.for_person(ANNA, ListRequest(20, context_items=["i03"]))
    await recommender.for_person(Person("user", "bert"), ListRequest(20))
    assert scored == [20, 10, 19, 20]
    assert len(everything.page.numbers) == 20
    assert set(filtered.page.numbers) == set(gateway.catalogue.numbers_of(IDS[::2]).tolist())


async def test_an_item_removed_between_two_lists_is_not_in_the_second(
    recommender: Recommender, gateway: Gateway, scored: list[int]
) -> None:
    first = await recommender.for_person(ANNA, ListRequest(20))
    await remove_items(gateway.pool, ["i00"])
    await gateway.catalogue.refresh()
    second = await recommender.for_person(ANNA, ListRequest(20))
    assert (len(first.page.numbers), len(second.page.numbers)) == (20, 19)
