"""Placements as Postgres keeps them: every version, the newest counts, equal settings add none."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from core.errors import InvalidInput
from db import placements
from db.placements import (
    PlacementChanged,
    StoredPlacement,
    count_placements,
    list_placements,
    newest_change,
    placement_by_id,
    placement_version,
    versions_of_placement,
)
from db.postgres import Pool


async def save(pool: Pool, id: str, settings: dict[str, Any] | None, **more: Any) -> StoredPlacement | None:
    return await placements.save_placement(pool, id, lambda _: settings, "tests", "because", **more)


async def test_every_version_is_kept_and_the_newest_counts(pool: Pool) -> None:
    assert (await newest_change(pool), await placement_by_id(pool, "home")) == (0, None)
    first = await save(pool, "home", {"repeat": "HIDDEN"})
    await save(pool, "cart", {})
    second = await save(pool, "home", {"repeat": "DUE_ONLY"})
    assert first and second and (first.version, second.version) == (1, 2)
    assert await placement_by_id(pool, "home") == second
    assert await placement_version(pool, "home", 1) == first
    assert await versions_of_placement(pool, "home", 5) == [second, first]
    assert await versions_of_placement(pool, "home", 5, before=2) == [first]
    assert [each.id for each in await list_placements(pool, 5)] == ["cart", "home"]
    assert [each.id for each in await list_placements(pool, 5, after="cart")] == ["home"]
    assert await newest_change(pool) == 3


async def test_equal_settings_add_no_version_and_none_is_the_default_again(pool: Pool) -> None:
    assert await save(pool, "home", None) is None
    assert await save(pool, "home", {"a": 1}) == await save(pool, "home", {"a": 1})
    gone = await save(pool, "home", None)
    assert gone and (gone.version, gone.settings) == (2, None)
    assert (await count_placements(pool), await list_placements(pool, 5)) == (0, [])
    again = await save(pool, "home", {"a": 1})
    assert again and again.version == 3


async def test_of_two_changes_of_one_version_the_second_is_refused(pool: Pool) -> None:
    await save(pool, "home", {"a": 1}, expected=0)
    both = await asyncio.gather(
        save(pool, "home", {"a": 2}, expected=1), save(pool, "home", {"a": 3}, expected=1), return_exceptions=True
    )
    assert {type(each) for each in both} == {StoredPlacement, PlacementChanged}
    now = await placement_by_id(pool, "home")
    assert now and now.version == 2


async def test_there_may_only_be_so_many(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placements, "save_placement", replace(placements.PLACEMENTS, most=1).save)
    await save(pool, "home", {})
    with pytest.raises(InvalidInput, match="at most 1"):
        await save(pool, "cart", {})
    await save(pool, "home", {"a": 1})
    await save(pool, "home", None)
    assert await save(pool, "cart", {}) is not None
