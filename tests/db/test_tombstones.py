"""Tombstones: keyed hashes that show no id, and the events that they reject."""

import hmac
from datetime import UTC, datetime, timedelta

from core.contract import Event, Person, read_event
from db.postgres import Pool
from db.tombstones import ensure_key, erased_events, insert_tombstones, newest_tombstone

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANNA = Person("user", "anna")


def make_event(happened: float = -1, received: float | None = -1, **who: str) -> Event:
    """An event of `who`, this many hours after the erasure."""
    moment = NOW + timedelta(hours=happened)
    raw = {"type": "VIEW", "itemId": "i1", "id": "e", "occurredAt": moment.isoformat(), **(who or {"userId": "anna"})}
    event = read_event(raw, source="shop", received_at=None)
    return event if received is None else event.model_copy(update={"received_at": NOW + timedelta(hours=received)})


async def kept_out(pool: Pool, *events: Event) -> set[int]:
    return await erased_events(pool, events, await newest_tombstone(pool))


async def test_the_hash_is_hmac_under_a_key_that_is_made_once(pool: Pool) -> None:
    for _ in range(2):
        await ensure_key(pool)
    await insert_tombstones(pool, [ANNA, Person("guest", "👻")], NOW)
    (row,) = await pool.fetch("SELECT inner_pad, outer_pad FROM erasure_keys")
    key = bytes(byte ^ 0x36 for byte in row["inner_pad"])
    assert key == bytes(byte ^ 0x5C for byte in row["outer_pad"]) and len(set(key)) > 1
    found = {row["person"] for row in await pool.fetch("SELECT person FROM tombstones")}
    assert found == {hmac.digest(key, name.encode(), "sha256") for name in ("user:anna", "guest:👻")}


async def test_only_events_of_that_person_from_before_the_erasure_are_rejected(pool: Pool) -> None:
    await ensure_key(pool)
    await insert_tombstones(pool, [ANNA, Person("guest", "g-1")], NOW)
    gone = [
        make_event(),
        make_event(received=None),
        make_event(received=1),
        make_event(happened=1, received=-1),  # a clock that was ahead
        make_event(anonymousId="g-1"),
    ]
    kept = [
        make_event(happened=1, received=1),
        make_event(happened=1, received=None),
        make_event(userId="bert"),
        make_event(anonymousId="anna"),
        make_event(userId="bert", anonymousId="g-1"),
    ]
    assert await kept_out(pool, *kept, *gone) == {5, 6, 7, 8, 9}


async def test_without_an_erasure_nothing_is_looked_up(pool: Pool) -> None:
    assert await newest_tombstone(pool) is None
    assert await kept_out(pool, make_event()) == set()
