"""Merged users: chains are followed, circles refused, and merges at once end as if one came after the other."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from core.contract import Person
from db import merged_users
from db.identities import join_guest, users_of_guests
from db.merged_users import MergeRefused, merge_into, merged_into, owner_of, owners_of_merged
from db.postgres import Pool
from db.users import User, person_known, upsert_users, user_by_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def merge(pool: Pool, from_id: str, into_id: str) -> str | MergeRefused:
    return await merge_into(pool, from_id, into_id, "shop")


async def test_chains_end_at_one_user_in_whatever_order_they_are_made(pool: Pool) -> None:
    for number, order in enumerate(permutations([("a", "b"), ("b", "c"), ("c", "d")])):
        for from_id, into_id in order:
            assert isinstance(await merge(pool, f"{from_id}{number}", f"{into_id}{number}"), str)
        owners = [await owner_of(pool, f"{id}{number}") for id in "abcd"]
        assert owners == [f"d{number}"] * 4
        assert [one.user_id for one in await merged_into(pool, f"d{number}")] != []


async def test_a_repeat_changes_nothing(pool: Pool) -> None:
    for _ in range(2):
        assert await merge(pool, "a", "b") == "b"
    await merge(pool, "b", "c")
    assert await merge(pool, "a", "b") == "c"
    assert await merge(pool, "a", "c") == "c"
    assert await owners_of_merged(pool) == {"a": "c", "b": "c"}


async def test_circles_and_a_second_target_are_refused(pool: Pool) -> None:
    await merge(pool, "a", "b")
    await merge(pool, "b", "c")
    assert await merge(pool, "c", "a") is MergeRefused.CIRCLE
    assert await merge(pool, "c", "b") is MergeRefused.CIRCLE
    assert await merge(pool, "a", "other") is MergeRefused.TAKEN
    assert await owners_of_merged(pool) == {"a": "c", "b": "c"}


async def test_old_ids_of_a_user_are_bounded(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merged_users, "MOST_MERGED", 3)
    for id in "abc":
        assert await merge(pool, id, "z") == "z"
    assert await merge(pool, "d", "z") is MergeRefused.TOO_MANY
    assert await merge(pool, "z", "y") is MergeRefused.TOO_MANY


async def test_merges_at_once_leave_no_chain_and_no_circle(pool: Pool) -> None:
    for number in range(20):
        a, b, c = (f"{id}{number}" for id in "abc")
        pairs = [(a, b), (b, c), (c, a), (b, a), (a, c)]
        joins = [join_guest(pool, f"guest{number}-{id}", id, "shop") for id in (a, b, c)]
        await asyncio.gather(*(merge(pool, *pair) for pair in pairs), *joins)
        owners = {await owner_of(pool, id) for id in (a, b, c)}
        assert len(owners) == 1, "they are one person"
        guests = await users_of_guests(pool)
        assert {guests[f"guest{number}-{id}"] for id in (a, b, c)} == owners
    owners_by_id = await owners_of_merged(pool)
    assert not owners_by_id.keys() & set(owners_by_id.values())


async def test_guests_move_and_later_joins_go_to_the_user_that_stays(pool: Pool) -> None:
    await join_guest(pool, "g-1", "old", "shop")
    await merge(pool, "old", "new")
    assert await join_guest(pool, "g-2", "old", "shop") == "new"
    assert await join_guest(pool, "g-1", "new", "shop") == "new"
    assert await users_of_guests(pool) == {"g-1": "new", "g-2": "new"}


async def test_traits_of_the_user_that_stays_win(pool: Pool) -> None:
    before, after = NOW - timedelta(days=1), NOW + timedelta(days=1)
    await upsert_users(pool, [{"id": "old", "updated_at": NOW, "traits": {"city": "Bern", "size": "M"}}])
    await upsert_users(pool, [{"id": "new", "updated_at": before, "traits": {"city": "Basel"}}])
    await merge(pool, "old", "new")
    for id in ("old", "new"):
        assert await user_by_id(pool, id) == User(id, {"city": "Basel", "size": "M"})
    await upsert_users(pool, [{"id": "old", "updated_at": after, "traits": {"city": "Chur", "size": "L"}}])
    assert await user_by_id(pool, "new") == User("new", {"city": "Basel", "size": "L"})


async def test_a_merged_user_is_known(pool: Pool) -> None:
    await merge(pool, "old", "new")
    assert [await person_known(pool, Person("user", id)) for id in ("old", "new", "other")] == [True, True, False]
