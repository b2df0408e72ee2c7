"""Pages of a list continue what the first page began; `among` ranks the items of a category page."""

import asyncio
import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Event, Person, read_event
from core.errors import StoreUnavailable
from core.uploads import Offer
from db.cache import add_recent, forget_bases, person_keys
from db.events import insert_events
from db.items import remove_items, upsert_items
from engine.recommending import people
from tests.fixtures.gateway import Ask, MakeBundle, Serve

IDS = [f"i{number:02}" for number in range(40)]
SOLD = IDS[:37]
LIST = """query ($id: ID! = "anna", $first: Int! = 5, $after: String, $among: [ID!], $filter: ItemFilter,
  $exclude: [ID!], $context: RecommendationContext, $placement: String! = "home") {
  user(id: $id) { recommendations(first: $first, after: $after, among: $among, filter: $filter, exclude: $exclude,
    context: $context, placement: $placement) {
    modelVersion asOf nodes { id } edges { rank score reason { code } } pageInfo { hasNextPage endCursor } } } }"""


def event(type: str, item: str, *, days: float = 0, at: datetime | None = None, **fields: Any) -> Event:
    now = at or clock.now()
    raw = {
        "type": type, "itemId": item, "userId": "anna", "id": f"{type}-{item}-{days}",
        "occurredAt": (now - timedelta(days=days)).isoformat(), **fields,
    }  # fmt: skip
    return read_event(raw, source="shop", received_at=now)


@pytest.fixture
async def shop(gateway: Gateway) -> Gateway:
    """Forty items, the last three unavailable, i10 and i11 variants of one group; anna bought i30 and i20."""
    now = clock.now()
    await upsert_items(
        gateway.pool,
        [
            {
                "id": id,
                "updated_at": now - timedelta(days=1),
                "categories": ["all", f"c{number % 3}"],
                "group_id": "g" if number in (10, 11) else None,
                "offers": [Offer(None, None, None, None, available=id in SOLD)],
            }
            for number, id in enumerate(IDS)
        ],
    )
    await gateway.catalogue.refresh()
    await insert_events(gateway.pool, [event("PURCHASE", "i30", days=20), event("PURCHASE", "i20", days=10)])
    return gateway


@pytest.fixture
async def trained(shop: Gateway, make_bundle: MakeBundle, serving: Serve) -> str:
    id = await serving(shop.pool, make_bundle(shop.catalogue, IDS))
    await shop.models.load()
    return id


async def listed(ask: Ask, **variables: Any) -> dict[str, Any]:
    answer = await ask(LIST, variables)
    assert answer.codes == [], answer.messages
    found: dict[str, Any] = answer.data["user"]["recommendations"]
    return found


async def listed_ids(ask: Ask, **variables: Any) -> list[str]:
    return ids(await listed(ask, **variables))


def ids(found: dict[str, Any]) -> list[str]:
    return [node["id"] for node in found["nodes"]]


async def rest(ask: Ask, page: dict[str, Any], **variables: Any) -> list[str]:
    """The items of the list that follow a page of it."""
    return await listed_ids(ask, first=100, after=page["pageInfo"]["endCursor"], **variables)


async def test_events_do_not_change_the_order_of_a_list_that_has_begun(ask: Ask, shop: Gateway, trained: str) -> None:
    whole = await listed_ids(ask, first=100)
    first = await listed(ask)
    assert ids(first) == whole[:5]
    await add_recent(shop.redis, [event("VIEW", whole[20]), event("LIKE", whole[25])])
    assert await rest(ask, first) == whole[5:]
    assert await listed_ids(ask, first=100) != whole, "a new list follows the events"


async def test_what_was_bought_or_disliked_meanwhile_is_left_out_of_the_next_page(
    ask: Ask, shop: Gateway, trained: str
) -> None:
    whole = await listed_ids(ask, first=100)
    first = await listed(ask)
    gone = [whole[7], whole[12], whole[18]]
    kinds = ("PURCHASE", "DISLIKE", "ADD_TO_CART")
    await add_recent(shop.redis, [event(kind, item) for kind, item in zip(kinds, gone, strict=True)])
    assert await rest(ask, first) == [id for id in whole[5:] if id not in gone]


async def test_a_list_that_has_begun_goes_on_when_redis_has_lost_the_state(
    ask: Ask, shop: Gateway, trained: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await listed_ids(ask, first=100)
    first = await listed(ask)
    await forget_bases(shop.redis)
    assert await rest(ask, first) == whole[5:]

    async def away(*_: Any) -> None:
        raise StoreUnavailable("redis")

    monkeypatch.setattr(people, "read_person", away)
    assert await rest(ask, first) == whole[5:]


async def test_events_that_were_received_before_a_list_began_and_come_after_do_not_change_its_order(
    ask: Ask, shop: Gateway, trained: str
) -> None:
    random, number = Random(11), itertools.count()  # noqa: S311 - no secret

    def some_events(least: int) -> list[Event]:
        now = clock.now()
        return [
            event(
                random.choice(("VIEW", "LIKE", "CLICK")), random.choice(SOLD), id=f"e{next(number)}",
                at=now - timedelta(seconds=random.choice((0, 0.001, 1, 60, 3_600))),
            )
            for _ in range(random.randint(least, 4))
        ]  # fmt: skip

    orders = set[tuple[str, ...]]()
    for run in range(200):
        await add_recent(shop.redis, some_events(0))
        first, whole, _ = await asyncio.gather(
            listed(ask), listed_ids(ask, first=100), add_recent(shop.redis, some_events(1) if run % 2 else [])
        )
        pages = await rest(ask, first)
        await add_recent(shop.redis, some_events(1))
        again, _ = await asyncio.gather(rest(ask, first), add_recent(shop.redis, some_events(1)))
        assert again == pages
        orders.add(tuple(whole))
        if run % 20 == 0:
            await shop.redis.delete(person_keys(Person("user", "anna")).delta)
    assert len(orders) > 50, "the events change other lists"


async def test_a_merged_users_list_goes_on_after_an_event(ask: Ask, shop: Gateway, trained: str) -> None:
    query = 'mutation { mergeUsers(input: {fromId: "old", intoId: "anna"}) { userErrors { code } } }'
    assert (await ask(query)).codes == []
    whole = await listed_ids(ask, id="old", first=100)
    first = await listed(ask, id="old")
    await add_recent(shop.redis, [event("VIEW", whole[20])])
    assert await rest(ask, first, id="old") == whole[5:]


async def test_among_has_exactly_the_given_items_that_can_be_shown(ask: Ask, shop: Gateway, trained: str) -> None:
    given = ["i04", "i11", "i39", "nothing", "i10", "i31", "i30", "i04", "i01"]
    assert sorted(await listed_ids(ask, first=100, among=given)) == ["i01", "i04", "i10", "i11", "i30", "i31"]
    await remove_items(shop.pool, ["i01"])
    await shop.catalogue.refresh()
    await add_recent(shop.redis, [event("DISLIKE", "i31")])
    filter = {"not": {"ids": ["i10"]}}
    found = await listed_ids(ask, first=100, among=given, exclude=["i04"], filter=filter)
    assert sorted(found) == ["i11", "i30"], "variants are items of their own"
    assert await listed_ids(ask, among=[]) == []


async def test_among_is_in_the_models_order(ask: Ask, trained: str) -> None:
    whole = await listed_ids(ask, first=100)
    given = sorted(whole)
    found = await listed(ask, first=100, among=given)
    assert ids(found) == whole
    assert [edge["rank"] for edge in found["edges"]] == list(range(1, len(whole) + 1))
    scores = [edge["score"] for edge in found["edges"]]
    assert scores == sorted(scores, reverse=True)


async def test_items_without_a_score_are_last_in_the_given_order(
    ask: Ask, shop: Gateway, make_bundle: MakeBundle, serving: Serve
) -> None:
    known = [id for id in IDS if id not in ("i05", "i33", "i12", "i31")]
    await serving(shop.pool, make_bundle(shop.catalogue, known))
    await shop.models.load()
    await add_recent(shop.redis, [event("PURCHASE", "i02"), event("ADD_TO_CART", "i08")])
    given = ["i33", "i02", "i05", "i17", "i08", "i12", "i03", "i22"]
    found = await listed(ask, first=100, among=given, context={"cartItemIds": ["i22"]})
    assert set(ids(found)[:2]) == {"i17", "i03"}
    assert ids(found)[2:] == ["i33", "i02", "i05", "i08", "i12", "i22"]
    assert "i02" not in await listed_ids(ask, first=100), "another list leaves out what was just bought"


async def test_without_a_model_among_has_popular_items_first_and_others_as_given(ask: Ask, shop: Gateway) -> None:
    bought = [event("PURCHASE", "i07", userId=f"u{who}", days=3) for who in range(5)]
    await insert_events(shop.pool, [*bought, event("PURCHASE", "i09", userId="bert", days=3)])
    await shop.models.load()
    assert await listed_ids(ask, id="nobody", among=["i33", "i09", "i05", "i07"]) == ["i07", "i09", "i33", "i05"]


async def pages(ask: Ask, **variables: Any) -> Sequence[str]:
    found, after = list[str](), None
    while True:
        page = await listed(ask, after=after, **variables)
        found += ids(page)
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return found


async def test_pages_of_among_have_each_given_item_once(ask: Ask, trained: str) -> None:
    given = [*SOLD[5:], "i10", "i11"]
    whole = await listed_ids(ask, first=100, among=given)
    assert await pages(ask, first=6, among=given) == whole
    assert len(whole) == 32


async def test_a_list_of_among_is_made_as_if_it_were_alone(ask: Ask, trained: str) -> None:
    query = """query ($among: [ID!]) { user(id: "anna") {
      home: recommendations(placement: "home", first: 8) { nodes { id } }
      category: recommendations(placement: "category", first: 8, among: $among) { nodes { id } }
      more: recommendations(placement: "more", first: 8) { nodes { id } } } }"""
    whole = await listed_ids(ask, first=100)
    answer = await ask(query, {"among": whole})
    assert ids(answer.data["user"]["category"]) == whole[:8]
    assert ids(answer.data["user"]["more"]) == whole[8:16]
