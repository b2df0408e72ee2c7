"""What people decide about dead events: sent through the queue once more, or discarded. One result each."""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

import asyncpg
import structlog
from pydantic import ValidationError

from bus.publisher import Broker, publish_again
from core.contract import Event, check_reason
from core.errors import StoreUnavailable
from db.dead_events import DeadReason, DeadState, ReplayableEvent, discard_dead_events, find_replayable, mark_replayed
from db.events import find_conflicts
from engine.outcomes import Outcome, Result, check_count

log = structlog.get_logger()

AT_ONCE: Final = 20  # messages
MOST_DIGITS: Final = 18  # digits


async def replay(pool: asyncpg.Pool, broker: Broker, ids: Sequence[str], by: str) -> list[Result]:
    """Send dead events through the queue once more, under the identities they have; one result for each id.

    Each is marked when the broker has confirmed it, never before: what happens between the two is sent again, and
    stored once. Raises TooManyElements for more than 500.
    """
    check_count(len(ids))
    remains = await find_replayable(pool, _numbers(ids))
    refused = await _refused(pool, remains)
    to_send = [each for each in remains.values() if each.id not in refused]
    sent: set[int] = set()
    for start in range(0, len(to_send), AT_ONCE):
        some = await _sent(broker, to_send[start : start + AT_ONCE])
        await mark_replayed(pool, some, by)
        sent |= {each.id for each in some}
    log.info("dead_events_replayed", events=len(sent), refused=len(refused))
    return [_result(index, id, remains, refused, sent) for index, id in enumerate(ids)]


async def discard(pool: asyncpg.Pool, ids: Sequence[str], reason: str, by: str) -> list[Result]:
    """Delete the bodies of dead events, keeping who wanted it and why; one result for each id.

    Raises TooManyElements for more than 500, and InvalidInput for a reason that cannot be kept.
    """
    check_count(len(ids))
    reason = check_reason(reason)
    numbers = _numbers(ids)
    discarded = await discard_dead_events(pool, numbers, reason, by)
    known = await find_replayable(pool, numbers)
    log.info("dead_events_discarded", events=len(discarded))
    return [_result(index, id, known, {}, discarded) for index, id in enumerate(ids)]


def number_of(id: str) -> int | None:
    """The number that an id stands for; None when it cannot be one of ours."""
    return int(id) if id.isascii() and id.isdigit() and len(id) <= MOST_DIGITS else None


async def _refused(pool: asyncpg.Pool, remains: dict[int, ReplayableEvent]) -> dict[int, Result]:
    """Those that are not to be sent, and why not."""
    dead = [each for each in remains.values() if each.state is DeadState.DEAD]
    refused = {each.id: _decided(each) for each in remains.values() if each.state is not DeadState.DEAD}
    refused |= {each.id: _NO_TASK for each in dead if each.task is None}
    told = {each.id: event for each in dead if each.reason == DeadReason.CONFLICT and (event := _event(each))}
    conflicts = {id(event) for event in await find_conflicts(pool, list(told.values()))}
    return refused | {number: _CONFLICT for number, event in told.items() if id(event) in conflicts}


async def _sent(broker: Broker, some: Sequence[ReplayableEvent]) -> list[ReplayableEvent]:
    """Those of these that the broker has confirmed."""
    confirmed = await asyncio.gather(*(_send(broker, each) for each in some))
    return [each for each, is_sent in zip(some, confirmed, strict=True) if is_sent]


async def _send(broker: Broker, each: ReplayableEvent) -> bool:
    assert each.task is not None and each.body is not None
    try:
        await publish_again(broker, uuid4(), each.task, each.body, is_event=each.kind == "EVENT")
    except StoreUnavailable as error:
        log.warning("dead_event_not_sent", id=each.id, error=str(error))
        return False
    return True


def _event(each: ReplayableEvent) -> Event | None:
    try:
        return Event.model_validate_json(each.body or b"")
    except ValidationError:
        return None


def _numbers(ids: Sequence[str]) -> list[int]:
    return sorted({number for id in ids if (number := number_of(id)) is not None})


def _result(
    index: int, id: str, known: dict[int, ReplayableEvent], refused: dict[int, Result], done: set[int]
) -> Result:
    number = number_of(id)
    if number is None or number not in known:
        return Result(index, Outcome.REJECTED, id[:MOST_DIGITS], "NOT_FOUND", None, "There is no such dead event.")
    if number in done:
        return Result(index, Outcome.ACCEPTED, id)
    why = refused.get(number)
    if why is None:
        why = _AWAY if known[number].state is DeadState.DEAD else _decided(known[number])
    return Result(index, why.outcome, id, why.code, why.field, why.message)


def _decided(each: ReplayableEvent) -> Result:
    return Result(0, Outcome.DUPLICATE, message=f"It was {each.state.lower()} before: nothing changed.")


_CONFLICT: Final = Result(
    0,
    Outcome.CONFLICT,
    code="CONFLICT",
    message="Another event is stored under its source, id and occurredAt: sent again it would only die again.",
)
_NO_TASK: Final = Result(0, Outcome.REJECTED, code="NOT_REPLAYABLE", message="It does not say which task it is for.")
_AWAY: Final = Result(
    0, Outcome.RETRY, code="SERVICE_UNAVAILABLE", message="The broker did not confirm it: try again, it is still here."
)
