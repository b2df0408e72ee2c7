"""Rules as lists follow them: those that are saved, at once, from when until when they hold."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Person
from core.settings import Stores
from core.turns import OneAtATime
from db.items import upsert_items
from db.postgres import Pool, connect_pool
from db.segments import save_segment, write_snapshot
from engine.many_lists.batch import BatchRecommender, BatchRequest, UserList
from engine.recommending.page_slots import PageMaker
from engine.recommending.people import PersonLoader
from engine.recommending.recommendations import ListRequest, Recommender
from engine.rules.changing import replace_rule
from engine.rules.rule_book import RuleBook
from engine.rules.serving_rules import ServingRules
from tests.faults import Relay
from tests.fixtures.gateway import MakeBundle, Serve

ANNA = Person("user", "anna")
IDS = [f"i{number:02}" for number in range(12)]


@pytest.fixture
async def shop(gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """12 items of two brands; i11 cannot be bought."""
    items = [
        {
            "id": id, "updated_at": clock.now(), "brand": "ab"[at % 2], "categories": ["tea"],
            "offers": [{"market": None, "price": 1, "list_price": None, "currency": "EUR", "available": at < 11}],
        }
        for at, id in enumerate(IDS)
    ]  # fmt: skip
    await upsert_items(gateway.pool, items)  # type: ignore[arg-type]
    await gateway.catalogue.refresh()
    await serving(gateway.pool, make_bundle(gateway.catalogue, IDS))
    await gateway.models.load()
    return gateway


async def listed(shop: Gateway, placement: str = "home", **request: Any) -> list[str]:
    """The ids of a list. It is the same alone and on a page."""
    wanted = ListRequest(**{"first": 12, "shelf": placement, **request})
    wanted = wanted._replace(rules=shop.rules.book.find(placement, shop.catalogue, wanted))
    turns, people = OneAtATime(shop.turns, "shop"), PersonLoader(shop.people)
    alone = await Recommender(shop.catalogue, shop.models, shop.signer, people, turns).for_person(ANNA, wanted)
    if wanted.among is None:
        maker = PageMaker(shop.catalogue, shop.models, PersonLoader(shop.people), turns, shop.models.current)
        (beside,) = await maker.make(ANNA, [wanted._replace(shelf=None)], lambda _, found: found, distinct=True)
        assert not isinstance(beside, Exception), beside
        assert beside.page.numbers == alone.page.numbers
    return [item.id for item in shop.catalogue.items(alone.page.numbers) if item]


async def save(shop: Gateway, id: str, **settings: Any) -> None:
    await replace_rule(shop.pool, id, settings or None, "tests")
    await shop.rules.refresh()


async def test_lists_follow_the_rules_that_are_saved_and_a_kept_list_does_not_outlive_a_change(shop: Gateway) -> None:
    before = await listed(shop)
    assert len(before) == 11
    last = before[-1]
    await save(shop, "pin", kind="PIN", itemId=last, position=2)
    assert await listed(shop) == [before[0], last, *before[1:-1]]
    await save(shop, "gone", kind="EXCLUDE", filter={"ids": [before[0]]})
    assert await listed(shop) == [before[1], last, *before[2:-1]]
    await save(shop, "pin", kind="PIN", itemId="i11", position=2)
    assert await listed(shop) == before[1:], "what cannot be bought is not pinned"
    assert await listed(shop, exclude=[before[1]]) == before[2:]
    await save(shop, "only", kind="INCLUDE_ONLY", filter={"brands": ["a"]}, when={"placements": ["cart"]})
    assert await listed(shop) == before[1:]
    assert {int(id[1:]) % 2 for id in await listed(shop, "cart")} == {0}
    for id in ("pin", "gone", "only"):
        await save(shop, id)
    assert (await listed(shop), await listed(shop, "cart")) == (before, before)


async def test_boosts_move_items_in_the_list_of_a_stranger_and_of_a_category_page(shop: Gateway) -> None:
    before = await listed(shop)
    await save(shop, "more", kind="BOOST", filter={"brands": ["b"]}, factor=1000)
    brand = {id: int(id[1:]) % 2 for id in IDS}
    assert await listed(shop) == sorted(before, key=lambda id: -brand[id])
    among = before[:6]
    assert await listed(shop, among=among) == sorted(await listed(shop, "x", among=among), key=lambda id: -brand[id])
    await save(shop, "less", kind="BURY", filter={"brands": ["b"]}, factor=1000)
    assert await listed(shop) == before


async def test_a_rule_begins_and_ends(shop: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = await listed(shop), clock.now()
    window = {"from": (now + timedelta(hours=1)).isoformat(), "to": (now + timedelta(hours=2)).isoformat()}
    await save(shop, "first", kind="PIN", itemId=before[-1], position=1, when=window)
    assert await listed(shop) == before
    for hours, first in ((1.0, before[-1]), (1.9, before[-1]), (2.0, before[0])):
        monkeypatch.setattr(clock, "now", lambda hours=hours: now + timedelta(hours=hours))
        await shop.rules.refresh()
        assert (await listed(shop))[0] == first


async def test_rules_of_the_page_hold_there_alone(shop: Gateway) -> None:
    before = await listed(shop)
    await save(shop, "here", kind="PIN", itemId=before[-1], position=1, when={"itemIds": [before[3]]})
    await save(shop, "there", kind="EXCLUDE", filter={"ids": [before[1]]}, when={"categories": ["mugs"]})
    assert await listed(shop) == before
    with_item = await listed(shop, context_items=[before[3]])
    assert with_item[0] == before[-1] and before[1] in with_item


async def test_very_many_rules_are_folded_in_pieces_and_found_by_the_page(shop: Gateway) -> None:
    from engine.rules.rule import Rule
    from engine.rules.settings import read_rule

    before = await listed(shop)
    documents = [{"kind": "BOOST", "factor": 1.1, "filter": {"brands": [f"brand {at}"]}} for at in range(1_000)]
    documents.append({"kind": "EXCLUDE", "filter": {"ids": [before[0]]}})
    rules = [Rule.of(f"r{at:04}", 1, read_rule(each)) for at, each in enumerate(documents)]
    shop.rules.book = RuleBook(rules, clock.now().timestamp())
    assert await listed(shop) == before[1:]


async def test_files_of_lists_follow_the_rules_of_each_users_segments(shop: Gateway) -> None:
    where = {"orders": {"min": 1}}
    await save_segment(shop.pool, "loyal", "Loyal", where, "tests")
    await write_snapshot(shop.pool, "loyal", where, ["anna"], clock.now())
    await save(shop, "pin", kind="PIN", itemId="i07", position=1, when={"segments": ["loyal"]})
    batch = BatchRecommender(
        shop.catalogue, shop.models, shop.signer, shop.people, shop.shares.bulk, OneAtATime(shop.turns, "shop"),
        shop.placements, shop.rules,
    )  # fmt: skip

    async def users() -> AsyncIterator[list[str]]:
        yield ["bert", "anna", "cid"]

    request = BatchRequest("home", ListRequest(first=3))
    made = [one async for one in batch.lists(users(), request) if isinstance(one, UserList)]
    assert {one.user_id: one.items[0].id == "i07" for one in made} == {"bert": False, "anna": True, "cid": False}


async def test_rules_begin_while_postgres_is_away_and_a_saved_change_is_not_reported_as_failed(
    pool: Pool, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    says = {"kind": "EXCLUDE", "filter": {"ids": ["i1"]}, "when": {"from": (now + timedelta(hours=1)).isoformat()}}
    await replace_rule(pool, "later", says, "tests")
    relay = Relay(stores.postgres_url.get_secret_value())
    async with await connect_pool(await relay.open(), size=1, timeout=1.0) as through:
        rules = ServingRules(through, poll=60)
        await rules.refresh()
        await relay.close()
        assert len(rules.rules) == 1 and rules.book.until == pytest.approx((now + timedelta(hours=1)).timestamp())
        monkeypatch.setattr(clock, "now", lambda: now + timedelta(hours=1))
        await rules.refresh_after_change()
        assert rules.book.until == np.inf


async def test_a_book_that_could_not_be_written_is_written_by_the_next_refresh(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise MemoryError

    await replace_rule(pool, "first", {"kind": "EXCLUDE", "filter": {"ids": ["i1"]}}, "tests")
    rules = ServingRules(pool, poll=60)
    with monkeypatch.context() as patch:
        patch.setattr("engine.rules.serving_rules.RuleBook", refuse)
        with pytest.raises(MemoryError):
            await rules.refresh()
    before = rules.book
    await rules.refresh()
    assert rules.book is not before
    before = rules.book
    await rules.refresh()
    assert rules.book is before, "nothing changed"
