"""Users are patched by upserts; a person is known by their row or by an event."""

from datetime import UTC, datetime, timedelta

from core.contract import Person
from db.identities import join_guest
from db.postgres import Pool
from db.users import User, person_known, upsert_users, user_by_id

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)


async def test_traits_are_kept_when_absent_and_cleared_by_null(pool: Pool) -> None:
    await upsert_users(pool, [{"id": "u", "updated_at": MONDAY, "traits": {"city": "Århus"}}])
    await upsert_users(pool, [{"id": "u", "updated_at": MONDAY}])
    assert await user_by_id(pool, "u") == User("u", {"city": "Århus"})
    await upsert_users(pool, [{"id": "u", "updated_at": MONDAY, "traits": None}])
    assert await user_by_id(pool, "u") == User("u", {})


async def test_an_older_patch_is_stale(pool: Pool) -> None:
    outcomes = await upsert_users(
        pool,
        [
            {"id": "u", "updated_at": MONDAY + DAY, "traits": {"n": 2}},
            {"id": "v", "updated_at": MONDAY, "traits": {"n": 1}},
            {"id": "u", "updated_at": MONDAY, "traits": {"n": 1}},
        ],
    )
    assert outcomes == ["ACCEPTED", "ACCEPTED", "STALE"]
    assert await user_by_id(pool, "u") == User("u", {"n": 2})


async def test_an_unknown_id_is_not_a_user(pool: Pool) -> None:
    assert await user_by_id(pool, "nobody") is None
    assert await upsert_users(pool, []) == []


async def test_a_person_is_known_by_a_row_or_an_event(pool: Pool) -> None:
    await upsert_users(pool, [{"id": "described", "updated_at": MONDAY}])
    await pool.execute(
        "INSERT INTO events (source, id, occurred_at, type, user_id, anonymous_id, digest) VALUES"
        " ('s', '1', now(), 'VIEW', 'seen', NULL, 1), ('s', '2', now(), 'VIEW', NULL, 'guest', 1)"
    )
    known = {id: await person_known(pool, Person("user", id)) for id in ("described", "seen", "guest", "nobody")}
    assert known == {"described": True, "seen": True, "guest": False, "nobody": False}
    assert await person_known(pool, Person("guest", "guest"))
    assert not await person_known(pool, Person("guest", "seen"))


async def test_an_event_of_a_user_makes_no_guest_known_unless_the_guest_became_a_user(pool: Pool) -> None:
    await pool.execute(
        "INSERT INTO events (source, id, occurred_at, type, user_id, anonymous_id, digest) VALUES"
        " ('s', '1', now(), 'VIEW', 'carol', 'never', 1), ('s', '2', now(), 'VIEW', NULL, 'joined', 1)"
    )
    assert not await person_known(pool, Person("guest", "never"))
    await join_guest(pool, "joined", "anna", "shop")
    assert await person_known(pool, Person("guest", "joined"))
