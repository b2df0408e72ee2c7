"""Items are patched by upserts, kept as removed rows, and every change is read once."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from core.uploads import ItemPatch, Offer
from db import items
from db.items import (
    APPLIED_AT_ONCE,
    LONGEST_DESCRIPTION,
    Item,
    catalogue_version,
    items_changed_since,
    remove_items,
    stream_items,
    stream_texts,
    upsert_items,
)
from db.postgres import Pool
from tests.fixtures.items import items_by_id

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def patch(id: str = "a", updated_at: datetime = MONDAY, **fields: Any) -> ItemPatch:
    return {"id": id, "updated_at": updated_at, **fields}  # type: ignore[typeddict-item]


async def only(pool: Pool, id: str = "a") -> Item:
    return (await items_by_id(pool, [id]))[id]


async def test_an_item_is_read_back_as_it_was_written(pool: Pool) -> None:
    offers = [
        Offer(None, Decimal("2.50"), Decimal("3.000"), "EUR", True),
        Offer("se", None, None, None, False),
    ]
    given: dict[str, Any] = {
        "group_id": "g", "title": 'Quote " and 🍓', "description": "d", "categories": ["Food", "Fruit, fresh"],
        "brand": "b", "image_url": "i", "url": "u", "app_url": "p", "attributes": {"size": [1, None]},
    }  # fmt: skip
    assert await upsert_items(pool, [patch(**given, offers=offers)]) == ["ACCEPTED"]
    item = await only(pool)
    assert {name: getattr(item, name) for name in given} == {**given, "categories": ("Food", "Fruit, fresh")}
    assert item.offers == tuple(offers)
    assert str(item.offers[0].list_price) == "3.000"


async def test_an_absent_field_keeps_its_value_and_null_clears_it(pool: Pool) -> None:
    await upsert_items(pool, [patch(title="Tea", brand="Leaf", categories=["Drinks"])])
    await upsert_items(pool, [patch(brand=None, categories=None)])
    item = await only(pool)
    assert (item.title, item.brand, item.categories) == ("Tea", None, ())


async def test_an_older_patch_is_stale_and_an_equally_old_one_is_applied(pool: Pool) -> None:
    await upsert_items(pool, [patch(title="new")])
    assert await upsert_items(pool, [patch(updated_at=MONDAY - DAY, title="old")]) == ["STALE"]
    assert (await only(pool)).title == "new"
    assert await upsert_items(pool, [patch(title="same moment")]) == ["ACCEPTED"]
    assert (await only(pool)).title == "same moment"


async def test_patches_of_one_item_in_one_batch_apply_in_their_order(pool: Pool) -> None:
    outcomes = await upsert_items(
        pool, [patch(title="1", brand="b"), patch(updated_at=MONDAY + DAY, title="2"), patch(title="3")]
    )
    item = await only(pool)
    assert outcomes == ["ACCEPTED", "ACCEPTED", "STALE"]
    assert (item.title, item.brand) == ("2", "b")


async def test_many_patches_leave_the_event_loop_free_in_between(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    applied, apply = Counter[int](), items._apply
    rounds = 0

    async def count() -> None:
        nonlocal rounds
        while True:
            await asyncio.sleep(0)
            rounds += 1

    def noted(*arguments: Any) -> Any:
        applied[rounds] += 1
        return apply(*arguments)

    monkeypatch.setattr(items, "_apply", noted)
    counting = asyncio.create_task(count())
    outcomes = await upsert_items(pool, [patch(f"item-{number}") for number in range(3 * APPLIED_AT_ONCE)])
    counting.cancel()
    assert outcomes == ["ACCEPTED"] * (3 * APPLIED_AT_ONCE)
    assert sorted(applied.values()) == [APPLIED_AT_ONCE] * 3


async def test_a_removed_item_is_gone_and_keeps_its_number_when_it_returns(pool: Pool) -> None:
    await upsert_items(pool, [patch(title="Tea")])
    number = (await only(pool)).number
    assert await remove_items(pool, ["a", "never there"]) == [True, False]
    assert await remove_items(pool, ["a"]) == [False]
    assert await items_by_id(pool, ["a"]) == {}
    assert await upsert_items(pool, [patch(updated_at=datetime.now(UTC) + DAY)]) == ["ACCEPTED"]
    item = await only(pool)
    assert (item.number, item.title) == (number, "Tea")


async def test_a_patch_older_than_the_removal_does_not_bring_the_item_back(pool: Pool) -> None:
    await upsert_items(pool, [patch()])
    await remove_items(pool, ["a"])
    assert await upsert_items(pool, [patch(updated_at=MONDAY + DAY)]) == ["STALE"]
    assert await items_by_id(pool, ["a"]) == {}


async def test_every_change_and_every_removal_is_read_once(pool: Pool) -> None:
    await upsert_items(pool, [patch("a"), patch("b"), patch("c")])
    seq = await catalogue_version(pool)
    await upsert_items(pool, [patch("b", title="new")])
    await remove_items(pool, ["c"])
    live, removed, newer = await items_changed_since(pool, seq)
    assert [item.id for item in live] == ["b"]
    assert [id for id, _ in removed] == ["c"]
    assert await items_changed_since(pool, newer) == ([], [], newer)


async def test_a_patch_without_a_difference_is_not_a_change(pool: Pool) -> None:
    await upsert_items(pool, [patch(title="Tea")])
    seq = await catalogue_version(pool)
    await upsert_items(pool, [patch(updated_at=MONDAY + DAY, title="Tea")])
    assert await items_changed_since(pool, seq) == ([], [], seq)
    assert await upsert_items(pool, [patch(title="older than the last patch")]) == ["STALE"]


async def test_all_live_items_stream_in_pages(pool: Pool) -> None:
    ids = [f"item {index}" for index in range(7_001)]
    await upsert_items(pool, [patch(id) for id in ids])
    await remove_items(pool, ["item 3"])
    pages = [page async for page in stream_items(pool)]
    assert len(pages) == 2
    streamed = [item for page in pages for item in page]
    assert {item.id for item in streamed} == set(ids) - {"item 3"}
    assert [item.number for item in streamed] == sorted(item.number for item in streamed)


async def test_the_texts_of_live_items_stream_in_pages_and_are_cut_off(pool: Pool) -> None:
    await upsert_items(pool, [patch(f"item {index}") for index in range(5_001)])
    await upsert_items(pool, [patch("item 7", title="Tea", description="x" * 50_000, attributes={"colour": "green"})])
    await remove_items(pool, ["item 3"])
    pages = [page async for page in stream_texts(pool)]
    assert [len(page) for page in pages] == [5_000]
    (text,) = [text for page in pages for text in page if text.title == "Tea"]
    assert text.description == "x" * LONGEST_DESCRIPTION
    assert text.attributes == {"colour": "green"}
    assert text.number == (await items_by_id(pool, ["item 7"]))["item 7"].number


async def test_a_reader_never_misses_a_change_committed_late(pool: Pool) -> None:
    async with pool.acquire() as slow, slow.transaction():
        await upsert_items(slow, [patch("slow")])
        quick = asyncio.create_task(upsert_items(pool, [patch("quick")]))
        _, _, seq = await items_changed_since(pool, 0)
    await quick
    live, _, _ = await items_changed_since(pool, seq)
    assert {item.id for item in live} == {"slow", "quick"}


async def test_patching_an_existing_item_uses_up_no_number(pool: Pool) -> None:
    await upsert_items(pool, [patch("a")])
    for day in range(1, 4):
        await upsert_items(pool, [patch("a", MONDAY + day * DAY, title="Tea")])
    await upsert_items(pool, [patch("b")])
    assert (await only(pool, "b")).number == (await only(pool, "a")).number + 1
