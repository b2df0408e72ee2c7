"""Patches merge: offers by market and field, attributes and traits by key, however they are spread over writers."""

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from core.uploads import LARGEST_STORED, MOST_OFFERS, ItemPatch, UserPatch, read_item
from db.items import Item, upsert_items
from db.postgres import Pool
from db.users import upsert_users, user_by_id
from tests.fixtures.items import items_by_id

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
MOMENT = "2026-01-05T12:00:00Z"
FULL: Mapping[str, Any] = {
    "id": "tea", "updatedAt": MOMENT, "title": "Tea", "categories": ["Drinks", "Tea"], "brand": "Leaf",
    "attributes": {"color": "green", "size": "M"},
    "offers": [
        {"price": "2.50", "listPrice": "3", "currency": "EUR", "available": False},
        {"market": "uk", "price": "2.10", "currency": "GBP"},
    ],
}  # fmt: skip
DEFAULT, UK = (None, "2.50", "3", "EUR", False), ("uk", "2.10", None, "GBP", True)


@pytest.fixture
async def tea(pool: Pool) -> None:
    await upsert_items(pool, [read_item(FULL)])


async def stored(pool: Pool, id: str = "tea") -> Item:
    return (await items_by_id(pool, [id]))[id]


def offers_of(item: Item) -> tuple[tuple[Any, ...], ...]:
    return tuple(
        (offer.market, *(None if price is None else str(price) for price in (offer.price, offer.list_price)),
         offer.currency, offer.available)
        for offer in item.offers
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "offers"),
    [
        ({"available": True}, [(None, "2.50", "3", "EUR", True), UK]),
        ({"price": "2.60"}, [(None, "2.60", "3", "EUR", False), UK]),
        ({"price": None}, [(None, None, "3", "EUR", False), UK]),
        ({"available": None}, [(None, "2.50", "3", "EUR", True), UK]),
        ({"market": "uk", "available": False}, [DEFAULT, ("uk", "2.10", None, "GBP", False)]),
        (
            {"market": "se", "price": {"amount": "30", "currency": "SEK"}},
            [DEFAULT, UK, ("se", "30", None, "SEK", True)],
        ),
        ({"offers": [{"market": "se"}]}, [DEFAULT, UK, ("se", None, None, None, True)]),
        ({"offers": []}, [DEFAULT, UK]),
        ({"offers": None}, []),
        (
            {"offers": [{"market": "uk", "price": None, "listPrice": None, "currency": None, "available": None}]},
            [DEFAULT],
        ),
        ({"title": "Green tea"}, [DEFAULT, UK]),
    ],
)
async def test_an_offer_keeps_what_a_patch_does_not_name(
    pool: Pool, tea: None, fields: dict[str, Any], offers: list[Any]
) -> None:
    assert await upsert_items(pool, [read_item({"id": "tea", **fields})]) == ["ACCEPTED"]
    item = await stored(pool)
    assert list(offers_of(item)) == offers
    assert (item.brand, item.attributes) == ("Leaf", {"color": "green", "size": "M"})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"color": "blue"}, {"color": "blue", "size": "M"}),
        ({"color": None}, {"size": "M"}),
        ({"new": {"inside": None}}, {"color": "green", "size": "M", "new": {"inside": None}}),
        ({"absent": None}, {"color": "green", "size": "M"}),
        ({}, {"color": "green", "size": "M"}),
        (None, {}),
    ],
)
async def test_attributes_and_traits_keep_the_keys_that_a_patch_does_not_name(
    pool: Pool, tea: None, given: Any, kept: dict[str, Any]
) -> None:
    await upsert_items(pool, [read_item({"id": "tea", "attributes": given})])
    assert (await stored(pool)).attributes == kept
    await upsert_users(pool, [{"id": "ann", "updated_at": MONDAY, "traits": {"color": "green", "size": "M"}}])
    assert await upsert_users(pool, [{"id": "ann", "updated_at": MONDAY, "traits": given}]) == ["ACCEPTED"]
    ann = await user_by_id(pool, "ann")
    assert ann and ann.traits == kept


async def test_a_list_is_replaced_as_a_whole(pool: Pool, tea: None) -> None:
    await upsert_items(pool, [read_item({"id": "tea", "categories": ["Sale"]})])
    assert (await stored(pool)).categories == ("Sale",)


async def test_a_new_row_has_no_cleared_keys(pool: Pool) -> None:
    fields = {"attributes": {"size": None, "color": "red"}, "price": None}
    await upsert_items(pool, [read_item({"id": "cup", **fields})])
    cup = await stored(pool, "cup")
    assert (cup.attributes, offers_of(cup)) == ({"color": "red"}, ((None, None, None, None, True),))
    await upsert_users(pool, [{"id": "ann", "traits": {"size": None, "city": "Oslo"}}])
    ann = await user_by_id(pool, "ann")
    assert ann and ann.traits == {"city": "Oslo"}


async def test_offers_are_replaced_by_clearing_them_first_in_one_call(pool: Pool, tea: None) -> None:
    await upsert_items(pool, [read_item({"id": "tea", "offers": None}), read_item({"id": "tea", "price": "9"})])
    assert offers_of(await stored(pool)) == ((None, "9", None, None, True),)


async def test_offers_keep_the_order_in_which_they_came(pool: Pool) -> None:
    """The first one counts for readers who name no market."""
    markets = ["uk", "de", "a long one", "se"]
    await upsert_items(pool, [read_item({"id": "cup", "offers": [{"market": market} for market in markets[:3]]})])
    more = [{"market": "se"}, {"market": "de", "price": 1}, {"market": "uk", "available": False}]
    await upsert_items(pool, [read_item({"id": "cup", "offers": more})])
    assert [offer.market for offer in (await stored(pool, "cup")).offers] == markets


async def test_an_older_patch_changes_nothing(pool: Pool, tea: None) -> None:
    old = read_item({"id": "tea", "updatedAt": "2026-01-05T11:59:59Z", "price": "1", "attributes": {"a": 1}})
    assert await upsert_items(pool, [old]) == ["STALE"]
    item = await stored(pool)
    assert (offers_of(item), item.attributes) == ((DEFAULT, UK), {"color": "green", "size": "M"})


async def test_a_patch_without_a_time_is_as_new_as_what_is_stored(pool: Pool) -> None:
    """Else the slower of two writers would lose: its clock was read before the other one stored."""
    later = datetime.now(UTC) + timedelta(minutes=4)
    await upsert_items(pool, [{"id": "tea", "updated_at": later, "title": "Tea"}])
    await upsert_users(pool, [{"id": "ann", "updated_at": later, "traits": {"n": 1}}])
    assert await upsert_items(pool, [{"id": "tea", "brand": "Leaf"}]) == ["ACCEPTED"]
    assert await upsert_users(pool, [{"id": "ann", "traits": {"m": 2}}]) == ["ACCEPTED"]
    before = later - timedelta(seconds=1)
    assert await upsert_items(pool, [{"id": "tea", "updated_at": before}]) == ["STALE"]
    assert await upsert_users(pool, [{"id": "ann", "updated_at": before}]) == ["STALE"]
    ann = await user_by_id(pool, "ann")
    assert (await stored(pool)).brand == "Leaf" and ann and ann.traits == {"n": 1, "m": 2}


async def test_writers_of_different_fields_at_the_same_time_all_survive(pool: Pool) -> None:
    """Each writer is a connection of its own and patches the same item and user, in its own order."""
    names = [f"field {number}" for number in range(8)]

    async def write(name: str) -> None:
        for step in range(10):
            fields: dict[str, Any] = {"attributes": {name: step}, "market": name, "price": step}
            await upsert_items(pool, [read_item({"id": "tea", **fields}), read_item({"id": "cup", **fields})])
            await upsert_items(pool, [read_item({"id": "tea", "market": name, "available": False})])
            await upsert_users(pool, [{"id": "ann", "traits": {name: step}}])

    await asyncio.gather(*map(write, names))
    for id, available in (("tea", False), ("cup", True)):
        item = await stored(pool, id)
        assert item.attributes == dict.fromkeys(names, 9)
        assert sorted(offers_of(item)) == [(name, "9", None, None, available) for name in names]
    ann = await user_by_id(pool, "ann")
    assert ann and ann.traits == dict.fromkeys(names, 9)


async def test_what_many_patches_add_is_bounded_and_the_neighbours_are_kept(pool: Pool) -> None:
    part = "x" * 15_000
    for key in "abcd":
        assert await upsert_items(pool, [{"id": "tea", "attributes": {key: part}}]) == ["ACCEPTED"]
        assert await upsert_users(pool, [{"id": "ann", "traits": {key: part}}]) == ["ACCEPTED"]
    items: list[ItemPatch] = [{"id": "tea", "attributes": {"e": part}}, {"id": "cup", "title": "Cup"}]
    users: list[UserPatch] = [{"id": "ann", "traits": {"e": part}}, {"id": "bob", "traits": {"n": 1}}]
    assert await upsert_items(pool, items) == ["TOO_LARGE", "ACCEPTED"]
    assert await upsert_users(pool, users) == ["TOO_LARGE", "ACCEPTED"]
    assert set((await stored(pool)).attributes) == set("abcd")
    ann = await user_by_id(pool, "ann")
    assert ann and set(ann.traits) == set("abcd") and 4 * len(part) < LARGEST_STORED
    assert await upsert_items(pool, [{"id": "tea", "attributes": {"e": part, "a": None}}]) == ["ACCEPTED"]

    markets = [{"market": f"m{number}"} for number in range(MOST_OFFERS)]
    assert await upsert_items(pool, [read_item({"id": "cup", "offers": markets})]) == ["ACCEPTED"]
    more = [read_item({"id": "cup", "market": "one more", "price": 1}), read_item({"id": "pot"})]
    assert await upsert_items(pool, more) == ["TOO_LARGE", "ACCEPTED"]
    assert await upsert_items(pool, [read_item({"id": "cup", "market": "m7", "price": 1})]) == ["ACCEPTED"]


@pytest.mark.parametrize("seed", range(3))
async def test_patches_of_one_call_are_as_if_each_was_sent_by_itself(pool: Pool, seed: int) -> None:
    """Random patches, stored together and one by one, and merged by a plain model."""
    chance = random.Random(seed)  # noqa: S311 -- no secret
    patches = [random_patch(chance) for _ in range(40)]
    await upsert_items(pool, [{**patch, "id": "together"} for patch in patches])
    for patch in patches:
        await upsert_items(pool, [{**patch, "id": "one by one"}])
    attributes, offers = modelled(patches)
    for id in ("together", "one by one"):
        item = await stored(pool, id)
        assert item.attributes == attributes
        assert {offer.market: (offer.price, offer.list_price, offer.currency, offer.available)
                for offer in item.offers} == offers  # fmt: skip


def random_patch(chance: random.Random) -> ItemPatch:
    patch: dict[str, Any] = {"id": "any"}
    if chance.random() < 0.6:
        keys = chance.sample("abcde", chance.randrange(4))
        patch["attributes"] = chance.choice([None, *[{key: chance.choice([None, 1, [None]]) for key in keys}] * 9])
    if chance.random() < 0.8:
        patch["offers"] = None if chance.random() < 0.05 else [
            random_offer(chance, market) for market in chance.sample([None, "de", "uk"], chance.randrange(1, 4))
        ]  # fmt: skip
    return patch  # type: ignore[return-value]


def random_offer(chance: random.Random, market: str | None) -> dict[str, Any]:
    values: dict[str, list[Any]] = {"price": [None, Decimal("1.50")], "list_price": [None, Decimal(2)],
              "currency": [None, "EUR"], "available": [None, True, False]}  # fmt: skip
    if chance.random() < 0.2:
        return {"market": market, **dict.fromkeys(values)}
    named = [name for name in values if chance.random() < 0.5]
    return {"market": market, **{name: chance.choice(values[name]) for name in named}}


def modelled(patches: list[ItemPatch]) -> tuple[dict[str, Any], dict[str | None, tuple[Any, ...]]]:
    attributes: dict[str, Any] = {}
    offers: dict[str | None, dict[str, Any]] = {}
    for patch in patches:
        if "attributes" in patch:
            attributes = {**attributes, **patch["attributes"]} if patch["attributes"] is not None else {}
            attributes = {key: value for key, value in attributes.items() if value is not None}
        if "offers" in patch and patch["offers"] is None:
            offers = {}
        offered: Any = patch.get("offers") or ()
        for offer in map(dict, offered):
            market: str | None = offer.pop("market")
            if [*offer.values()] == [None] * 4:
                offers.pop(market, None)
                continue
            new = {"price": None, "list_price": None, "currency": None, "available": True}
            merged = {**offers.get(market, new), **offer}
            offers[market] = {**merged, "available": merged["available"] is not False}
    return attributes, {market: tuple(offer.values()) for market, offer in offers.items()}
