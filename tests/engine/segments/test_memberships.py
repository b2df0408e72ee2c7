"""The segments of a person for lists: from memory, Redis or Postgres, and none when that takes long."""

import asyncio

import pytest
from redis.asyncio import Redis

from core import clock
from core.contract import Person
from db.cache import connect_redis, forget_people, move_person, person_keys, read_memberships
from db.merged_users import merge_into
from db.postgres import Pool
from db.segments import save_segment, write_snapshot
from engine.segments.memberships import NONE, Memberships

ANNA, BERT = Person("user", "anna"), Person("user", "bert")
ANY = {"orders": {"min": 1}}


@pytest.fixture
async def segments(pool: Pool) -> None:
    """Anna belongs to a and b, bert to none any more."""
    for id in ("b", "a"):
        await save_segment(pool, id, id, ANY, "tests")
        await write_snapshot(pool, id, ANY, ["anna", "bert"], clock.now())
        await write_snapshot(pool, id, ANY, ["anna"], clock.now())


async def test_the_segments_of_a_user_are_read_once_for_some_minutes(pool: Pool, redis: Redis, segments: None) -> None:
    known = Memberships(pool, redis)
    found = await asyncio.gather(*(known.of(person) for person in (ANNA, BERT, ANNA, Person("guest", "anna"))))
    assert found == [{"a", "b"}, NONE, {"a", "b"}, NONE]
    assert (await read_memberships(redis, ANNA), await read_memberships(redis, BERT)) == (["a", "b"], [])
    assert 0 < await redis.ttl(person_keys(ANNA).segments) <= 120
    await pool.execute("DELETE FROM segment_members")
    assert await known.of(ANNA) == {"a", "b"}
    assert await Memberships(pool, redis).of(ANNA) == {"a", "b"}, "another process reads Redis"
    await redis.delete(person_keys(ANNA).segments)
    known.forget(ANNA)
    assert await known.of(ANNA) == NONE


async def test_an_old_id_belongs_to_the_segments_of_the_user_it_is_now(
    pool: Pool, redis: Redis, segments: None
) -> None:
    await merge_into(pool, "bert", "anna", "tests")
    assert await Memberships(pool, redis).of(BERT) == {"a", "b"}
    assert await Memberships(pool, redis).of_many([BERT, ANNA], pool) == {BERT: {"a", "b"}, ANNA: {"a", "b"}}


async def test_who_is_erased_or_merged_has_no_key_in_redis(pool: Pool, redis: Redis, segments: None) -> None:
    await asyncio.gather(*(Memberships(pool, redis).of(person) for person in (ANNA, BERT)))
    await move_person(redis, BERT, ANNA)
    assert [await read_memberships(redis, person) for person in (ANNA, BERT)] == [None, None]
    await Memberships(pool, redis).of(ANNA)
    assert await forget_people(redis, [ANNA]) == 1
    assert await read_memberships(redis, ANNA) is None


async def test_without_redis_nobody_belongs_to_a_segment(pool: Pool, segments: None) -> None:
    async with connect_redis("redis://127.0.0.1:1/0", timeout=0.2) as unreachable:
        assert await Memberships(pool, unreachable).of(ANNA) == NONE


async def test_a_list_does_not_wait_for_postgres_and_the_next_one_has_what_was_found(
    pool: Pool, redis: Redis, segments: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Memberships(pool, redis)
    async with pool.acquire() as locking, locking.transaction():
        await locking.execute("LOCK TABLE segment_members")
        monkeypatch.setattr("engine.segments.memberships.PATIENCE", 0.05)
        assert await known.of(ANNA) == NONE
        assert await read_memberships(redis, ANNA) is None
    monkeypatch.undo()
    assert await known.of(ANNA) == {"a", "b"}


async def test_people_wait_for_postgres_in_a_bounded_number(
    pool: Pool, redis: Redis, segments: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = Memberships(pool, redis)
    monkeypatch.setattr("engine.segments.memberships.PATIENCE", 0.05)
    monkeypatch.setattr("engine.segments.memberships.MOST_WAITING", 1)
    async with pool.acquire() as locking, locking.transaction():
        await locking.execute("LOCK TABLE segment_members")
        assert await known.of(ANNA) == NONE
        monkeypatch.setattr("engine.segments.memberships.PATIENCE", 5.0)
        assert await known.of(BERT) == NONE, "at once: one waits already"
    assert await known.of(ANNA) == {"a", "b"}
    assert await read_memberships(redis, BERT) is None, "nobody read them"
