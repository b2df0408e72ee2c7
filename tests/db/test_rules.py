"""Rules as Postgres keeps them: the newest version counts, and what changed since is read alone."""

from dataclasses import replace
from typing import Any

import pytest

from core.errors import InvalidInput
from db.postgres import Pool
from db.rules import RULES


async def save(pool: Pool, id: str, settings: dict[str, Any] | None) -> None:
    await RULES.save(pool, id, lambda _: settings, "tests", None)


async def test_what_changed_since_is_read_in_the_order_of_the_changes(pool: Pool) -> None:
    assert (await RULES.changed_since(pool, 0, 10), await RULES.newest_change(pool)) == ({}, 0)
    await save(pool, "b", {"a": 1})
    await save(pool, "a", {"a": 1})
    await save(pool, "b", {"a": 2})
    first = await RULES.changed_since(pool, 0, 1)
    assert [(each.id, each.version) for each in first.values()] == [("a", 1)]
    rest = await RULES.changed_since(pool, max(first), 10)
    assert [(each.id, each.version, each.settings) for each in rest.values()] == [("b", 2, {"a": 2})]
    await save(pool, "a", None)
    gone = await RULES.changed_since(pool, max(rest), 10)
    assert [(each.id, each.settings) for each in gone.values()] == [("a", None)]
    assert [each.id for each in await RULES.listed(pool, 10)] == ["b"]
    assert await RULES.newest_change(pool) == max(gone)


async def test_many_are_saved_all_or_none(pool: Pool) -> None:
    await save(pool, "a", {"a": 1})
    few, change = replace(RULES, most=2), await RULES.newest_change(pool)
    with pytest.raises(InvalidInput, match="at most 2 rules"):
        await few.save_all(pool, {"a": {"a": 2}, "b": {"a": 1}, "c": {"a": 1}}, "tests", None)
    assert await RULES.newest_change(pool) == change
    saved = await few.save_all(pool, {"b": {"a": 1}, "a": {"a": 1}}, "tests", "because")
    assert [(one.id, one.before, one.version) for one in saved] == [("b", None, 1)]
    await save(pool, "b", None)
    assert [one.version for one in await few.save_all(pool, {"b": {"a": 1}}, "tests", None)] == [3]
    assert await few.save_all(pool, {}, "tests", None) == []
