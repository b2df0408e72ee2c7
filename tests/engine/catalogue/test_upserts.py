"""Uploads of many elements leave the event loop turns in between."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from core.tasks import end
from core.uploads import UserPatch, read_item, read_user
from db.items import Item, upsert_items
from db.postgres import Pool
from engine.catalogue import catalogue, upserts
from engine.catalogue.catalogue import Catalogue


class Turns:
    """Counts the turns of the event loop while a block runs."""

    def __init__(self) -> None:
        self.count = 0

    async def __aenter__(self) -> "Turns":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await end([self._task])

    async def _run(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)


async def test_few_elements_are_checked_in_one_turn(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    read_at: list[int] = []

    def read(raw: Mapping[str, Any]) -> UserPatch:
        read_at.append(turns.count)
        return read_user(raw)

    monkeypatch.setattr(upserts, "read_user", read)
    async with Turns() as turns:
        results = await upserts.store_users(pool, [{"id": f"u{number}"} for number in range(500)])
    assert {result.outcome for result in results} == {"ACCEPTED"} and len(read_at) == 500
    assert max(map(read_at.count, read_at)) <= upserts.SLICE


async def test_a_large_change_of_the_catalogue_is_applied_in_slices(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Catalogue(pool, poll=60)
    await served.load()
    offers = [{"market": f"m{number}", "price": "1.50"} for number in range(500)]
    patches = [read_item({"id": f"i{number}", "offers": offers}) for number in range(30)]
    await upsert_items(pool, patches)
    slices: list[tuple[int, int]] = []
    change = Catalogue._change

    def noted(self: Catalogue, live: list[Item], removed: list[int]) -> None:
        slices.append((turns.count, sum(len(item.offers) for item in live)))
        change(self, live, removed)

    monkeypatch.setattr(Catalogue, "_change", noted)
    async with Turns() as turns:
        await served.refresh()
    assert len(served) == 30 and sum(size for _, size in slices) == 15_000
    assert all(size <= catalogue.SLICE + 500 for _, size in slices)
    assert all(one < next for (one, size), (next, _) in pairwise(slices) if size)


async def test_a_small_patch_does_not_read_what_is_stored_of_its_item(pool: Pool) -> None:
    """Else 500 patches of a few bytes would read and write 500 items of 100 kB."""
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    await upsert_items(pool, [{"id": "a", "updated_at": moment, "description": "long", "attributes": {"a": 1}}])
    queries: list[str] = []
    async with pool.acquire() as connection:
        with connection.raw.query_logger(lambda record: queries.append(record.query)):
            await upsert_items(connection, [{"id": "a", "updated_at": moment, "title": "new"}])
    read = [query for query in queries if query.lstrip().startswith("SELECT") and "FROM items" in query]
    assert len(read) == 1 and not any("description" in query for query in read)
    row = await pool.fetchrow("SELECT title, description, attributes FROM items WHERE id = 'a'")
    assert tuple(row) == ("new", "long", {"a": 1})
