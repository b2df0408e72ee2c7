"""The event contract: reads a sender's event, and exports every name that other modules need for events."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from core import clock
from core.amounts import LARGEST_LINE, cents_of
from core.errors import InvalidInput
from core.events import BODY, BROWSING, OPINIONS, PAID, Event, EventType, MissingField, Person
from core.events_v1 import LARGEST_PROPERTIES, V1, SentEvent
from core.hashes import identity_of, microseconds, order_of
from core.moments import read_moment
from core.refusals import bounded, first_error, path_of, unknown_field, words_of
from core.texts import (
    DEEPEST_JSON,
    LONGEST_ID,
    LONGEST_REASON,
    LONGEST_TEXT,
    Id,
    check_id,
    check_reason,
    check_user_id,
    plain_json,
)

__all__ = [
    "AHEAD", "BODY", "BROWSING", "DEEPEST_JSON", "EARLIEST", "LARGEST_PROPERTIES", "LONGEST_ID", "LONGEST_REASON",
    "LONGEST_TEXT", "OPINIONS", "PAID", "VERSIONS", "Event", "EventType", "Id", "Person", "cents_of", "check_id",
    "check_not_ahead", "check_reason", "check_user_id", "identity_of", "microseconds", "mint_id", "order_of",
    "plain_json", "read_event",
]  # fmt: skip

EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
AHEAD: Final = timedelta(minutes=5)
VERSIONS: Final[dict[str, dict[str, type[SentEvent]]]] = {"v1": V1}
"""Every version of the contract, with its models by event type."""
_FIELDS: Final = frozenset(field.alias or name for name, field in Event.model_fields.items()) - {"receivedAt"}


def read_event(raw: Mapping[str, Any], *, source: str, received_at: datetime | None, namespace: str = "") -> Event:
    """The event of a sender: `source` unless it names its own, and a new id and time when it has neither.

    `namespace` is the sender's, "" for a loader, whose `received_at` is None. Raises InvalidInput naming the field as
    the sender writes it.
    """
    _check_names(raw)
    given_id, given_time = raw.get("id"), raw.get("occurredAt")
    if given_id is not None and given_time is None:
        raise InvalidInput("an id of the sender needs its occurredAt", "occurredAt")
    now = received_at or clock.now()
    whole = {
        **raw,
        "id": mint_id(now) if given_id is None else given_id,
        "source": namespace + (source if raw.get("source") is None else check_id(raw["source"], "source")),
        "occurredAt": now if given_time is None else _read_time(given_time, now),
        "receivedAt": received_at,
    }
    try:
        event = _model_of(raw).model_validate(whole)
    except ValidationError as error:
        raise _refusal(error, raw) from None
    if event.user_id is not None:
        check_user_id(event.user_id, "userId")
    _check_line(event)
    return event


def mint_id(now: datetime) -> str:
    """A new id that sorts by time: milliseconds, then 80 random bits, as 32 hexadecimal digits."""
    return f"{int(now.timestamp() * 1000):012x}{secrets.token_hex(10)}"


def check_not_ahead(moment: datetime, now: datetime, field: str) -> None:
    """Raise InvalidInput naming `field` when the moment is further ahead than a sender's clock may be."""
    if moment > now + AHEAD:
        raise InvalidInput(f"{field} lies more than 5 minutes ahead", field)


def _check_names(raw: Mapping[str, Any]) -> None:
    """Refuse an unknown field before any value is checked: there may be very many of them."""
    unknown = next((name for name in raw if name not in _FIELDS), None)
    if unknown is not None:
        where = path_of([unknown])
        raise InvalidInput(f"{unknown_field(where)} of an event", where)


def _check_line(event: Event) -> None:
    """Sums of lines are 64-bit integers of cents: one line must not fill them."""
    if event.unit_price is not None and event.unit_price * (event.quantity or 1) > LARGEST_LINE:
        raise InvalidInput(f"unitPrice times quantity must be at most {LARGEST_LINE:,}", "unitPrice")


def _model_of(raw: Mapping[str, Any]) -> type[SentEvent]:
    type = raw.get("type")
    model = V1.get(type) if isinstance(type, str) else None
    if model is None:
        raise InvalidInput(f"type must be one of {', '.join(EventType)}", "type")
    return model


def _read_time(value: object, now: datetime) -> datetime:
    try:
        moment = read_moment(value)
    except ValueError as error:
        raise InvalidInput(f"occurredAt {error}", "occurredAt") from None
    if moment < EARLIEST:
        raise InvalidInput("occurredAt lies before 1990", "occurredAt")
    check_not_ahead(moment, now, "occurredAt")
    return moment


def _refusal(error: ValidationError, raw: Mapping[str, Any]) -> InvalidInput:
    first = first_error(error)
    reason = first.get("ctx", {}).get("error")
    if isinstance(reason, MissingField):
        return InvalidInput(str(reason), to_camel(reason.field))
    field = path_of(first["loc"][:1])
    if first["loc"] == (field,) and raw.get(field) is None:
        return InvalidInput(f"{field} is required for {raw['type']}", field)
    return InvalidInput(bounded(f"{field} {words_of(first)}"), field)
