"""What is kept of an event that cannot be stored: its body as it came, whose it is as far as that can be read, and why.

The words are for people who may not know whose event it is: they say what is wrong, never with what.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import asyncpg
from pydantic import ValidationError

from bus.topology import STORE_EVENTS
from core.contract import EARLIEST, Event, EventType, check_id
from core.errors import InvalidInput
from db.dead_events import DeadReason, NewDeadEvent

LONGEST_NAME: Final = 128
_MOST_FAULTS: Final = 3
_WHOLE: Final = "it"
_KNOWN_FIELDS: Final = {field.alias or name for name, field in Event.model_fields.items()}

CONFLICT: Final = "Another event is stored under this source, id and occurredAt."


def of_event(event: Event, reason: DeadReason, detail: str, attempts: int = 1) -> NewDeadEvent:
    """Of an event as the contract knows it: what its sender told is kept, whoever it was given to since."""
    event = event.as_sent
    return NewDeadEvent(
        key=_digest(f"{event.identity:x}:{event.digest:x}".encode()),
        kind="EVENT",
        reason=reason,
        detail=detail,
        attempts=attempts,
        task=STORE_EVENTS,
        source=event.source,
        event_id=event.id,
        occurred_at=event.occurred_at,
        event_type=event.type,
        user_id=event.user_id,
        anonymous_id=event.anonymous_id,
        body=event.model_dump_json(by_alias=True, exclude_none=True).encode(),
        moment=event.moment,
    )


def of_element(element: Any, body: bytes, error: ValidationError, attempts: int = 1) -> NewDeadEvent:
    """Of an element of a batch that is no event; `body` is its JSON."""
    fields = element if isinstance(element, dict) else {}
    return NewDeadEvent(
        key=_digest(body),
        kind="EVENT",
        reason=DeadReason.INVALID,
        detail="; ".join(_faults(error)),
        attempts=attempts,
        task=STORE_EVENTS,
        source=_id(fields.get("source")),
        event_id=_id(fields.get("id")),
        occurred_at=_time(fields.get("occurredAt")),
        event_type=_type(fields.get("type")),
        user_id=_id(fields.get("userId")),
        anonymous_id=_id(fields.get("anonymousId")),
        body=body,
        moment=min(filter(None, map(_time, (fields.get("occurredAt"), fields.get("receivedAt")))), default=EARLIEST),
    )


def of_message(body: bytes, task: str | None, reason: DeadReason, detail: str, attempts: int = 1) -> NewDeadEvent:
    """Of a whole message, in which nobody can be found."""
    return NewDeadEvent(
        key=_digest(body),
        kind="MESSAGE",
        reason=reason,
        detail=detail,
        attempts=attempts,
        task=task,
        source=None,
        event_id=None,
        occurred_at=None,
        event_type=None,
        user_id=None,
        anonymous_id=None,
        body=body,
        moment=EARLIEST,
    )


def refused(event: Event, error: Exception) -> NewDeadEvent:
    """Of an event that Postgres refuses. Its own words may repeat what was in the event."""
    where = getattr(error, "column_name", None) or getattr(error, "constraint_name", None)
    state = getattr(error, "sqlstate", None) if isinstance(error, asyncpg.PostgresError) else None
    named = ", ".join(filter(None, (type(error).__name__, state and f"SQLSTATE {state}", where and f"at {where}")))
    return of_event(event, DeadReason.UNSTORABLE, f"Postgres refuses it: {named}.")


def dumped(element: Any) -> bytes:
    """An element's JSON: whatever was read, also what the contract would not take."""
    return json.dumps(element, separators=(",", ":")).encode()


def _faults(error: ValidationError) -> Iterable[str]:
    for fault in error.errors(include_url=False, include_input=False, include_context=False)[:_MOST_FAULTS]:
        field = str(fault["loc"][0]) if fault["loc"] else _WHOLE
        yield f"{field if field in (*_KNOWN_FIELDS, _WHOLE) else 'a field of another name'}: {fault['msg']}"


def name_of(value: object) -> str | None:
    """A name that somebody else gave, where it can be kept."""
    return _id(value)


def _id(value: object) -> str | None:
    with suppress(InvalidInput):
        return check_id(value, "id")
    return None


def _type(value: object) -> str | None:
    return value if isinstance(value, str) and value in EventType.__members__ else None


def _time(value: object) -> datetime | None:
    with suppress(ValueError, OverflowError):  # in UTC it may lie before the first year or after the last
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None else None
    return None


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
