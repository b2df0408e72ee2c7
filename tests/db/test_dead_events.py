"""Dead events in a real Postgres: one row for each, one decision, and a lasting record."""

from datetime import UTC, datetime
from typing import Any

from db.dead_events import (
    DeadReason,
    DeadState,
    NewDeadEvent,
    bodies_of_dead_events,
    count_dead_events,
    dead_event_by_id,
    discard_dead_events,
    find_replayable,
    insert_dead_events,
    list_dead_events,
    mark_replayed,
    undecided_ids,
)
from db.postgres import Pool

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def new_dead_event(key: str = "k1", **changes: Any) -> NewDeadEvent:
    whole: dict[str, Any] = {
        "key": key, "kind": "EVENT", "reason": DeadReason.FAILED, "detail": "why", "attempts": 1, "task": "t",
        "source": "shop", "event_id": "e1", "occurred_at": None, "event_type": "VIEW", "user_id": "u1",
        "anonymous_id": None, "body": b"{}", "moment": NOW,
    }  # fmt: skip
    return NewDeadEvent(**{**whole, **changes})


async def only(pool: Pool, state: DeadState = DeadState.DEAD) -> Any:
    (dead,) = await list_dead_events(pool, 10, state=state)
    return dead


async def test_an_event_dead_lettered_again_is_the_same_row_with_the_last_reason(pool: Pool) -> None:
    await insert_dead_events(pool, [new_dead_event(), new_dead_event(body=b"within one statement")])
    first = await only(pool)
    await insert_dead_events(pool, [new_dead_event(reason=DeadReason.CRASHED, attempts=5, body=b"again")])
    again = await only(pool)
    assert (again.id, again.reason, again.attempts) == (first.id, DeadReason.CRASHED, 6)
    assert await bodies_of_dead_events(pool, [first.id, 4711]) == {first.id: b"again"}
    await insert_dead_events(pool, [])


async def test_a_confirmed_replay_is_marked_and_an_event_dead_lettered_meanwhile_stays_dead(pool: Pool) -> None:
    await insert_dead_events(pool, [new_dead_event("k1"), new_dead_event("k2", body=b"first")])
    one, two = await undecided_ids(pool, 10)
    found = await find_replayable(pool, [one, two, 4711])
    await insert_dead_events(pool, [new_dead_event("k2", body=b"second")])
    await mark_replayed(pool, list(found.values()), "ada")
    replayed = await only(pool, DeadState.REPLAYED)
    assert (replayed.id, replayed.decided_by) == (one, "ada")
    assert await bodies_of_dead_events(pool, [one, two]) == {two: b"second"}
    await insert_dead_events(pool, [new_dead_event("k1", body=b"third")])
    assert (await bodies_of_dead_events(pool, [one]))[one] == b"third"
    back = await dead_event_by_id(pool, one)
    assert back and (back.state, back.decided_by, back.decided_at) == (DeadState.DEAD, None, None)


async def test_a_discard_deletes_the_body_and_keeps_who_and_why(pool: Pool) -> None:
    await insert_dead_events(pool, [new_dead_event()])
    id = (await only(pool)).id
    assert await discard_dead_events(pool, [id, 4711], "a test order", "ada") == {id}
    assert await discard_dead_events(pool, [id], "again", "bob") == set()
    gone = await only(pool, DeadState.DISCARDED)
    assert (gone.decision, gone.decided_by, gone.decided_at is not None) == ("a test order", "ada", True)
    assert await bodies_of_dead_events(pool, [id]) == {}
    await insert_dead_events(pool, [new_dead_event()])
    assert (await only(pool)).id != id, "an event dead-lettered after its discard is a new row"
    assert (await only(pool, DeadState.DISCARDED)).decision == "a test order"


async def test_dead_events_are_counted_and_paged_by_reason(pool: Pool) -> None:
    await insert_dead_events(
        pool, [new_dead_event(f"k{n}", reason=DeadReason.CONFLICT if n % 2 else DeadReason.INVALID) for n in range(6)]
    )
    assert await count_dead_events(pool) == {"CONFLICT": 3, "INVALID": 3}
    conflicts = await list_dead_events(pool, 2, reason=DeadReason.CONFLICT)
    rest = await list_dead_events(pool, 2, conflicts[-1].id, reason=DeadReason.CONFLICT)
    assert [dead.id for dead in [*conflicts, *rest]] == sorted(
        await undecided_ids(pool, 9, reason=DeadReason.CONFLICT), reverse=True
    )
    oldest, *later = await undecided_ids(pool, 9)
    assert await undecided_ids(pool, 2, oldest) == later[:2]
    await discard_dead_events(pool, [dead.id for dead in conflicts], "why", "ada")
    assert await count_dead_events(pool) == {"CONFLICT": 1, "INVALID": 3}
