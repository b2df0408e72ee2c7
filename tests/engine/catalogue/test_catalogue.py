"""The catalogue in memory: its items, its filters and its refreshes."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from core.tasks import end
from core.uploads import ItemPatch, Offer
from db.items import remove_items, upsert_items
from db.postgres import Pool
from engine.catalogue.catalogue import Catalogue
from engine.catalogue.filters import Filter
from tests.faults import eventually
from tests.fixtures.items import items_by_id

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def patch(id: str, **fields: Any) -> ItemPatch:
    return {"id": id, "updated_at": NOW, **fields}  # type: ignore[typeddict-item]


def offer(market: str | None = None, price: str | None = None, *, available: bool = True) -> Offer:
    return Offer(market, None if price is None else Decimal(price), None, "EUR", available)


SHELF = [
    patch("milk", title="Whole milk", categories=["food", "dairy"], brand="Farm", offers=[offer(price="1.20")]),
    patch("oat", title="Oat drink", categories=["food"], brand="Leaf", offers=[offer(price="2.40")], group_id="g1"),
    patch("oat-l", title="Oat drink, large", categories=["food"], brand="Leaf", group_id="g1"),
    patch(
        "soap", categories=["home"], attributes={"scent": "rose", "pieces": 3, "for": ["hands", "face"], "gift": None}
    ),
    patch("vase", offers=[offer(price="9.99", available=False), offer("de", "8.99"), offer("at", available=False)]),
]


async def shelf(pool: Pool, patches: list[ItemPatch] = SHELF) -> Catalogue:
    await upsert_items(pool, patches)
    catalogue = Catalogue(pool, poll=0.02)
    await catalogue.load()
    return catalogue


def ids(catalogue: Catalogue, mask: Any) -> set[str]:
    return {item.id for number in np.flatnonzero(mask) if (item := catalogue.item(int(number)))}


async def test_every_item_is_read_as_it_is_stored(pool: Pool) -> None:
    catalogue = await shelf(pool)
    stored = await items_by_id(pool, [patch["id"] for patch in SHELF])
    for id, item in stored.items():
        assert catalogue.item(item.number) == item
        assert catalogue.number_of(id) == item.number
    assert len(catalogue) == len(stored) == 5


async def test_an_unknown_id_has_no_number_and_an_unknown_number_no_item(pool: Pool) -> None:
    catalogue = await shelf(pool)
    assert catalogue.number_of("nothing") is None
    assert [catalogue.item(number) for number in (0, -1, 500, 10**9)] == [None] * 4
    assert catalogue.numbers_of(["nothing", "milk"]).tolist() == [catalogue.number_of("milk")]


FILTERS: Mapping[str, tuple[Filter, set[str]]] = {
    "everything": (Filter(), {"milk", "oat", "oat-l", "soap", "vase"}),
    "one category": (Filter(categories=("dairy",)), {"milk"}),
    "either category": (Filter(categories=("dairy", "home")), {"milk", "soap"}),
    "a category and a brand": (Filter(categories=("food",), brands=("Leaf",)), {"oat", "oat-l"}),
    "an unknown brand": (Filter(brands=("None",)), set()),
    "an empty list": (Filter(categories=()), set()),
    "ids": (Filter(ids=("soap", "gone")), {"soap"}),
    "a text attribute": (Filter(attributes=(("scent", ("rose", "lily")),)), {"soap"}),
    "a number attribute": (Filter(attributes=(("pieces", ("3",)),)), {"soap"}),
    "one of a list attribute": (Filter(attributes=(("for", ("face",)),)), {"soap"}),
    "both attributes": (Filter(attributes=(("scent", ("rose",)), ("pieces", ("4",)))), set()),
    "a null attribute": (Filter(attributes=(("no", ("null", "")),)), set()),
    "a price from": (Filter(low=1.2), {"milk", "oat", "vase"}),
    "a price to": (Filter(high=1.2), {"milk"}),
    "available": (Filter(available=True), {"milk", "oat", "oat-l", "soap", "vase"}),
    "not": (Filter(without=Filter(categories=("food",))), {"soap", "vase"}),
    "any of": (Filter(any_of=(Filter(brands=("Farm",)), Filter(low=5))), {"milk", "vase"}),
    "any of nothing": (Filter(any_of=()), set()),
}


@pytest.mark.parametrize("name", FILTERS)
async def test_a_filter_matches_exactly_its_items(pool: Pool, name: str) -> None:
    catalogue = await shelf(pool)
    wanted, expected = FILTERS[name]
    assert ids(catalogue, catalogue.mask(wanted)) == expected


async def test_filters_and_items_are_right_when_the_kept_ones_are_replaced(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.catalogue.catalogue.MASKS_KEPT", 1)
    monkeypatch.setattr("engine.catalogue.catalogue.UNPACKED_KEPT", 1)
    monkeypatch.setattr("engine.catalogue.offers.MARKETS_KEPT", 1)
    catalogue = await shelf(pool)
    for _ in range(2):
        assert ids(catalogue, catalogue.mask(Filter(high=9), "de")) == {"milk", "oat", "vase"}
        assert ids(catalogue, catalogue.mask(Filter(low=9.5), "elsewhere")) == {"vase"}


@pytest.mark.parametrize(
    ("market", "expected"),
    [(None, {"milk", "oat", "oat-l", "soap", "vase"}), ("de", {"milk", "oat", "oat-l", "soap", "vase"})]
    + [(market, {"milk", "oat", "oat-l", "soap"}) for market in ("at", "elsewhere")],
)
async def test_availability_depends_on_the_market(pool: Pool, market: str | None, expected: set[str]) -> None:
    catalogue = await shelf(pool)
    assert ids(catalogue, catalogue.sellable(None, market)) == expected


async def test_prices_are_filtered_by_the_offers_of_the_market(pool: Pool) -> None:
    catalogue = await shelf(pool)
    assert ids(catalogue, catalogue.mask(Filter(high=9), "de")) == {"milk", "oat", "vase"}
    assert ids(catalogue, catalogue.mask(Filter(low=9.5), "elsewhere")) == {"vase"}
    assert ids(catalogue, catalogue.mask(Filter(low=5), "at")) == set()


async def test_a_refresh_shows_what_a_patch_did_not_name(pool: Pool) -> None:
    catalogue = await shelf(pool)
    await upsert_items(pool, [patch("vase", offers=[{"market": "de", "available": False}], attributes={"tall": True})])
    await catalogue.refresh()
    number = catalogue.number_of("vase")
    assert number is not None and (vase := catalogue.item(number)) is not None
    de = offer("de", "8.99", available=False)
    assert vase.offers == (offer(price="9.99", available=False), de, offer("at", available=False))
    assert ids(catalogue, catalogue.sellable(None, "de")) == ids(catalogue, catalogue.sellable(None, "at"))
    assert ids(catalogue, catalogue.mask(Filter(attributes=(("tall", ("true",)),)))) == {"vase"}


async def test_a_refresh_applies_changes_and_removals(pool: Pool) -> None:
    catalogue = await shelf(pool)
    assert ids(catalogue, catalogue.mask(Filter(categories=("dairy",)))) == {"milk"}
    await upsert_items(
        pool, [patch("milk", title="Milk", categories=["drinks"], offers=[offer(price="7")]), patch("new")]
    )
    await remove_items(pool, ["soap"])
    await catalogue.refresh()
    assert ids(catalogue, catalogue.mask()) == {"milk", "oat", "oat-l", "vase", "new"}
    assert ids(catalogue, catalogue.mask(Filter(categories=("dairy",)))) == set()
    assert ids(catalogue, catalogue.mask(Filter(categories=("drinks",)))) == {"milk"}
    assert ids(catalogue, catalogue.mask(Filter(low=5))) == {"milk", "vase"}
    assert ids(catalogue, catalogue.mask(Filter(attributes=(("scent", ("rose",)),)))) == set()
    milk = catalogue.number_of("milk")
    assert milk is not None
    assert (item := catalogue.item(milk)) is not None
    assert item.title == "Milk"
    assert catalogue.number_of("soap") is None


async def test_a_removed_item_that_is_upserted_again_keeps_its_number(pool: Pool) -> None:
    catalogue = await shelf(pool)
    number = catalogue.number_of("soap")
    await remove_items(pool, ["soap"])
    await catalogue.refresh()
    await upsert_items(pool, [{"id": "soap", "updated_at": datetime(2100, 1, 1, tzinfo=UTC)}])
    await catalogue.refresh()
    assert catalogue.number_of("soap") == number


async def test_a_refresh_adds_thousands_of_new_items(pool: Pool) -> None:
    catalogue = await shelf(pool, [])
    assert len(catalogue) == 0
    many = [patch(f"i{number}", categories=[f"c{number % 7}", "all"]) for number in range(6_000)]
    await upsert_items(pool, many)
    await catalogue.refresh()
    assert len(catalogue) == 6_000
    assert int(catalogue.mask(Filter(categories=("all",))).sum()) == 6_000
    assert ids(catalogue, catalogue.mask(Filter(categories=("c3",)))) == {f"i{number}" for number in range(3, 6_000, 7)}


async def test_variants_share_a_group(pool: Pool) -> None:
    catalogue = await shelf(pool)
    oat, large, milk = catalogue.groups(catalogue.numbers_of(["oat", "oat-l", "milk"])).tolist()
    assert oat == large > 0 == milk
    assert variants(catalogue, "oat", "milk") == ["oat", "oat-l"]
    assert variants(catalogue, "milk") == []


async def test_variants_follow_every_change(pool: Pool) -> None:
    catalogue = await shelf(pool)
    await upsert_items(pool, [patch("oat-l", group_id="other"), patch("milk", group_id="g1")])
    await catalogue.refresh()
    assert variants(catalogue, "oat") == ["milk", "oat"]
    assert variants(catalogue, "oat-l") == ["oat-l"]
    await remove_items(pool, ["oat"])
    await catalogue.refresh()
    assert variants(catalogue, "milk") == ["milk"]


def variants(catalogue: Catalogue, *of: str) -> list[str]:
    numbers = catalogue.variants_of(catalogue.numbers_of(of)).tolist()
    return sorted(item.id for number in numbers if (item := catalogue.item(number)))


async def test_periodic_refreshes_continue_after_an_unexpected_error(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise ValueError("a bug")

    catalogue = await shelf(pool)
    with monkeypatch.context() as broken:
        broken.setattr(catalogue, "_change", fail)
        await upsert_items(pool, [patch("late")])
        refreshing = asyncio.create_task(catalogue.run())
        with capture_logs() as logs:
            await eventually(lambda: len(logs) >= 2)
        assert {line["event"] for line in logs} == {"catalogue_not_refreshed"}
    await eventually(lambda: catalogue.number_of("late") is not None)
    await end([refreshing])


async def test_periodic_refreshes_continue_after_a_failed_one(pool: Pool) -> None:
    catalogue = await shelf(pool)
    await pool.execute("ALTER TABLE items RENAME TO hidden")
    refreshing = asyncio.create_task(catalogue.run())
    try:
        with capture_logs() as logs:
            await eventually(lambda: len(logs) >= 2)
        assert {line["event"] for line in logs} == {"store_unavailable"}
    finally:
        await pool.execute("ALTER TABLE hidden RENAME TO items")
    await upsert_items(pool, [patch("late")])
    await eventually(lambda: catalogue.number_of("late") is not None)
    await end([refreshing])
