"""A tiny shop through the GraphQL endpoint: dislikes hide an item from the next answer, returns count at once."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from core import clock
from engine.recommending import trends
from tests.erasing import ask
from tests.faults import eventually
from tests.fixtures.worker import StartWorker

ITEMS = [f"item-{number}" for number in range(8)]
PEOPLE = [f"person-{number}" for number in range(6)]
UPSERT = "mutation ($items: [ItemInput!]!) { upsertItems(items: $items) { accepted } }"
TRACK = "mutation ($events: [EventInput!]!) { trackEvents(events: $events) { accepted results { code message } } }"
LIST = "query ($id: ID!) { user(id: $id) { recommendations(first: 20) { nodes { id } } } }"
GUEST = "query ($id: ID!) { visitor(anonymousId: $id) { recommendations(first: 20) { nodes { id } } } }"
RFM = "query ($id: ID!) { user(id: $id) { rfm { frequency monetary recency } } }"
TRENDING = "{ trending(first: 20) { edges { score node { id } } } }"
IDENTIFY = (
    "mutation ($user: ID!, $guest: ID!) { identify(input: {userId: $user, anonymousId: $guest})"
    " { userErrors { code } } }"
)


class Shop:
    """The shop's server: it reports events, and asks."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def track(self, *events: dict[str, Any]) -> None:
        answer = await ask(self._http, TRACK, events=list(events))
        assert answer["accepted"] == len(events), answer

    async def list_of(self, person: str) -> set[str]:
        return ids((await ask(self._http, LIST, id=person))["recommendations"])

    async def list_of_guest(self, guest: str) -> set[str]:
        return ids((await ask(self._http, GUEST, id=guest))["recommendations"])

    async def rfm(self, person: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = (await ask(self._http, RFM, id=person))["rfm"]
        return found

    async def trending(self) -> set[str]:
        return {edge["node"]["id"] for edge in (await ask(self._http, TRENDING))["edges"]}

    async def identify(self, user: str, guest: str) -> None:
        assert (await ask(self._http, IDENTIFY, user=user, guest=guest))["userErrors"] == []


def ids(found: dict[str, Any]) -> set[str]:
    return {node["id"] for node in found["nodes"]}


def said(type: str, person: str, item: str, **fields: Any) -> dict[str, Any]:
    return {"type": type, "userId": person, "itemId": item, **fields}


def bought(person: str, item: str, order: str, *, hours: float = 30, **fields: Any) -> dict[str, Any]:
    at = (clock.now() - timedelta(hours=hours)).isoformat()
    fields = {"quantity": 1, "unitPrice": "2.50", "currency": "EUR", **fields}
    return said("PURCHASE", person, item, orderId=order, occurredAt=at, **fields)


@pytest.fixture
async def shop(
    http: httpx.AsyncClient, redis: Redis, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> Shop:
    """Eight items; every person bought one of the first six."""
    monkeypatch.setattr(trends, "LEAST_AGE", 0.0)  # counts are made anew, as after a minute
    start_worker()
    shop = Shop(http)
    await ask(http, UPSERT, items=[{"id": id, "title": id} for id in ITEMS])

    async def is_stocked() -> bool:
        return set(ITEMS) <= await shop.list_of("nobody")

    await eventually(is_stocked)
    await shop.track(*(bought(person, ITEMS[at], f"o{at}") for at, person in enumerate(PEOPLE)))

    async def is_counted() -> bool:
        return await shop.trending() == set(ITEMS[:6])

    await eventually(is_counted)
    return shop


async def test_what_a_person_dislikes_is_gone_from_the_next_answer_until_they_like_it(shop: Shop) -> None:
    everything = await shop.list_of("person-0")
    assert set(ITEMS) <= everything
    await shop.track(said("DISLIKE", "person-0", "item-3"), said("RATING", "person-0", "item-4", value="2"))
    assert everything - await shop.list_of("person-0") == {"item-3", "item-4"}
    assert set(ITEMS) <= await shop.list_of("person-1"), "the lists of others stay"
    await shop.track(said("VIEW", "person-0", "item-3"), said("RATING", "person-0", "item-4", value="2.5"))
    assert everything - await shop.list_of("person-0") == {"item-3", "item-4"}
    await shop.track(said("LIKE", "person-0", "item-3"), said("RATING", "person-0", "item-4", value="5"))
    assert await shop.list_of("person-0") == everything
    await shop.track(said("RATING", "person-0", "item-4", value="1"))
    assert everything - await shop.list_of("person-0") == {"item-4"}


async def test_what_a_guest_dislikes_stays_hidden_from_the_user_they_become(shop: Shop) -> None:
    dislike = {"type": "DISLIKE", "anonymousId": "g1", "itemId": "item-5"}
    await shop.track(dislike)
    assert "item-5" not in await shop.list_of_guest("g1")
    await shop.identify("person-2", "g1")
    assert "item-5" not in await shop.list_of("person-2")
    assert "item-5" in await shop.list_of("person-3")


async def test_returns_count_against_trending_and_the_figures(shop: Shop) -> None:
    await shop.track(bought("person-1", "item-1", "second", quantity=3, hours=20))
    assert await shop.rfm("person-1") == {
        "frequency": 2,
        "monetary": "10.00",
        "recency": pytest.approx(20 / 24, abs=0.1),
    }
    part = said("RETURN", "person-1", "item-1", orderId="second")
    await shop.track(part)
    found = await shop.rfm("person-1")
    assert found and (found["frequency"], found["monetary"]) == (2, "7.50")
    await shop.track(said("RETURN", "person-1", "item-1", orderId="second", quantity=2))
    assert await shop.rfm("person-1") == {
        "frequency": 1,
        "monetary": "2.50",
        "recency": pytest.approx(30 / 24, abs=0.1),
    }
    await shop.track(said("RETURN", "person-1", "item-1", orderId="o1", quantity=99), part)
    assert await shop.rfm("person-1") is None

    async def is_counted() -> bool:
        return await shop.trending() == set(ITEMS[:6]) - {"item-1"}

    await eventually(is_counted)


async def test_a_return_that_arrives_before_its_purchase_counts(shop: Shop) -> None:
    await shop.track(said("RETURN", "late", "item-7", orderId="o-late"), bought("late", "item-6", "o-late"))
    await shop.track(bought("late", "item-7", "o-late"))
    found = await shop.rfm("late")
    assert found and (found["frequency"], found["monetary"]) == (1, "2.50")

    async def is_counted() -> bool:
        return await shop.trending() == {*ITEMS[:7]}

    await eventually(is_counted)
