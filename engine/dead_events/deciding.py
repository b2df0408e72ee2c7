"""Decisions of people about dead events: replay or discard. One result for each id."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from pydantic import ValidationError

from bus.envelope import VERSION, Envelope
from bus.messages import as_received, store_arrays
from bus.publisher import Publisher
from core.contract import Event, check_reason
from core.errors import StoreUnavailable
from core.stores import log_unavailable
from db.dead_events import DeadReason, DeadState, ReplayableEvent, discard_dead_events, find_replayable, mark_replayed
from db.events import find_conflicts
from db.postgres import Connection
from engine.outcomes import Outcome, Result, check_count

log = structlog.get_logger()

IN_FLIGHT: Final = 20  # messages
MAX_DIGITS: Final = 18


async def replay(pool: Connection, publisher: Publisher, ids: Sequence[str], by: str) -> list[Result]:
    """Send dead events through the queue once more, under the identities they have; one result for each id.

    Each is marked after the broker has confirmed it. After a crash between the two it is sent again, and stored once.
    Raises TooManyElements for more than 500.
    """
    check_count(len(ids))
    found = await find_replayable(pool, _numbers(ids))
    refused = await _refused(pool, found)
    to_send = [row for row in found.values() if row.id not in refused]
    sent: set[int] = set()
    for start in range(0, len(to_send), IN_FLIGHT):
        confirmed = await _send(publisher, to_send[start : start + IN_FLIGHT])
        await mark_replayed(pool, confirmed, by)
        sent |= {row.id for row in confirmed}
    log.info("dead_events_replayed", events=len(sent), refused=len(refused))
    return [_result(index, id, found, refused, sent) for index, id in enumerate(ids)]


async def discard(pool: Connection, ids: Sequence[str], reason: str, by: str) -> list[Result]:
    """Delete the bodies of dead events, keep who discarded them and why; one result for each id.

    Raises TooManyElements for more than 500, and InvalidInput for a reason that cannot be stored.
    """
    check_count(len(ids))
    reason = check_reason(reason)
    numbers = _numbers(ids)
    discarded = await discard_dead_events(pool, numbers, reason, by)
    found = await find_replayable(pool, numbers)
    log.info("dead_events_discarded", events=len(discarded))
    return [_result(index, id, found, {}, discarded) for index, id in enumerate(ids)]


def number_of(id: str) -> int | None:
    """The number of a dead event, from its id; None when it cannot be one of ours."""
    return int(id) if id.isascii() and id.isdigit() and len(id) <= MAX_DIGITS else None


def envelope_of(row: ReplayableEvent) -> Envelope:
    """The envelope that sends a dead event, or a message we could not read, once more."""
    assert row.task is not None and row.body is not None
    if row.kind == "EVENT":
        return store_arrays([b"[" + row.body + b"]"], id=row.envelope_id)
    return as_received(row.task, row.body, row.envelope_id)


async def _refused(pool: Connection, found: dict[int, ReplayableEvent]) -> dict[int, Result]:
    """The rows that are not sent, each with the reason."""
    undecided = [row for row in found.values() if row.state is DeadState.DEAD]
    refused = {row.id: _decided(row) for row in found.values() if row.state is not DeadState.DEAD}
    refused |= {row.id: _NO_TASK for row in undecided if row.task is None}
    refused |= {row.id: _NEWER for row in undecided if row.envelope_version != VERSION}
    events = {row.id: event for row in undecided if row.reason == DeadReason.CONFLICT and (event := _event(row))}
    conflicts = {id(event) for event in await find_conflicts(pool, list(events.values()))}
    return refused | {number: _CONFLICT for number, event in events.items() if id(event) in conflicts}


async def _send(publisher: Publisher, rows: Sequence[ReplayableEvent]) -> list[ReplayableEvent]:
    """Those of these rows that the broker has confirmed."""
    confirmed = await asyncio.gather(*(_is_sent(publisher, row) for row in rows))
    return [row for row, is_sent in zip(rows, confirmed, strict=True) if is_sent]


async def _is_sent(publisher: Publisher, row: ReplayableEvent) -> bool:
    try:
        await publisher.publish(envelope_of(row))
    except StoreUnavailable as error:
        log_unavailable(error, doing="replay a dead event", id=row.id)
        return False
    return True


def _event(row: ReplayableEvent) -> Event | None:
    try:
        return Event.model_validate_json(row.body or b"")
    except ValidationError:
        return None


def _numbers(ids: Sequence[str]) -> list[int]:
    return sorted({number for id in ids if (number := number_of(id)) is not None})


def _result(
    index: int, id: str, found: dict[int, ReplayableEvent], refused: dict[int, Result], done: set[int]
) -> Result:
    number = number_of(id)
    if number is None or number not in found:
        return Result(index, Outcome.REJECTED, id[:MAX_DIGITS], "NOT_FOUND", None, "There is no such dead event.")
    if number in done:
        return Result(index, Outcome.ACCEPTED, id)
    why = refused.get(number)
    if why is None:
        why = _NOT_CONFIRMED if found[number].state is DeadState.DEAD else _decided(found[number])
    return Result(index, why.outcome, id, why.code, why.field, why.message)


def _decided(row: ReplayableEvent) -> Result:
    return Result(0, Outcome.DUPLICATE, message=f"It was {row.state.lower()} before: nothing changed.")


_CONFLICT: Final = Result(
    0,
    Outcome.CONFLICT,
    code="CONFLICT",
    message="Another event is stored under its source, id and occurredAt: it would be a dead event again.",
)
_NO_TASK: Final = Result(0, Outcome.REJECTED, code="NOT_REPLAYABLE", message="The message names no task.")
_NEWER: Final = Result(0, Outcome.REJECTED, code="NOT_REPLAYABLE", message="A newer release wrote it. Upgrade first.")
_NOT_CONFIRMED: Final = Result(
    0, Outcome.RETRY, code="SERVICE_UNAVAILABLE", message="The broker did not confirm it. It is kept: try again."
)
