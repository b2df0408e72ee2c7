"""The event contract: what a shop may say happened. The one source of the JSON Schema and the GraphQL input."""

import json
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from functools import cached_property
from hashlib import blake2b
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

import orjson
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from core import clock
from core.currencies import CURRENCIES
from core.errors import InvalidInput

EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
AHEAD: Final = timedelta(minutes=5)
LONGEST_ID: Final = 128
LONGEST_REASON: Final = 500
LARGEST_PROPERTIES: Final = 10_000  # bytes of JSON
DEEPEST_JSON: Final = 32  # levels: readers and writers on the way give up at a few hundred
_ID: Final = r"^[^\x00-\x1f\x7f-\x9f]+$"
_ID_PATTERN: Final = re.compile(_ID.replace("$", r"\Z"))
_CENT: Final = Decimal(1)

Id = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_ID, pattern=_ID)]
Money = Annotated[Decimal, Field(ge=0, max_digits=14, decimal_places=4, allow_inf_nan=False)]


class EventType(StrEnum):
    """What a person did."""

    VIEW = "VIEW"
    CLICK = "CLICK"
    ADD_TO_CART = "ADD_TO_CART"
    REMOVE_FROM_CART = "REMOVE_FROM_CART"
    PURCHASE = "PURCHASE"
    RETURN = "RETURN"
    RATING = "RATING"
    LIKE = "LIKE"
    DISLIKE = "DISLIKE"
    SEARCH = "SEARCH"
    IMPRESSION = "IMPRESSION"


PAID: Final = frozenset({EventType.PURCHASE, EventType.RETURN})
_NEEDS: Final[dict[EventType, tuple[str, ...]]] = {
    **dict.fromkeys(EventType, ("item_id",)),
    EventType.RATING: ("item_id", "value"),
    EventType.SEARCH: ("query",),
    EventType.IMPRESSION: ("item_ids",),
}


class Person(NamedTuple):
    """Someone the shop knows by its own user id, or a guest by an anonymous id."""

    kind: Literal["user", "guest"]
    id: str


class Event(BaseModel):
    """One thing that happened, complete: who, what, when, and which sender says so under which id.

    An item nobody has uploaded yet is no error: events are facts, and the catalogue may come later.
    """

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    id: Id
    source: Id
    type: EventType
    occurred_at: AwareDatetime
    user_id: Id | None = None
    anonymous_id: Id | None = None
    item_id: Id | None = None
    item_ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=500)] | None = None
    order_id: Id | None = None
    quantity: Annotated[int, Field(gt=0, le=1_000_000)] | None = None
    unit_price: Money | None = None
    currency: str | None = None
    value: Money | None = None
    query: Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00]+$")] | None = None
    impression_id: Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=_ID)] | None = None
    session_id: Id | None = None
    properties: dict[str, Any] | None = None
    received_at: AwareDatetime | None = None

    @field_validator("currency")
    @classmethod
    def _money_exists(cls, currency: str | None) -> str | None:
        if currency is not None and currency not in CURRENCIES:
            raise ValueError("is not a currency of ISO 4217")
        return currency

    @field_validator("properties")
    @classmethod
    def _is_plain_json(cls, properties: dict[str, Any] | None) -> dict[str, Any] | None:
        return properties if properties is None else plain_json(properties, LARGEST_PROPERTIES)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.user_id is None and self.anonymous_id is None:
            raise _Missing("user_id", "userId or anonymousId is required")
        for name in _NEEDS[self.type]:
            if getattr(self, name) is None:
                raise _Missing(name, f"{to_camel(name)} is required for {self.type}")
        return self

    @property
    def person(self) -> Person:
        """Whose event it is: the signed-in person, else the guest."""
        return Person("user", self.user_id) if self.user_id is not None else Person("guest", self.anonymous_id or "")

    @cached_property
    def identity(self) -> int:
        """What makes it the same event again: a stable unsigned 64-bit hash of (source, id, occurredAt)."""
        return identity_of(self.source, self.id, self.occurred_at)

    @cached_property
    def digest(self) -> int:
        """A stable hash of the body, 0 <= digest < 2**63: the same identity with another digest is a conflict."""
        body = [
            self.type, self.user_id, self.anonymous_id, self.item_id, self.item_ids, self.order_id, self.quantity,
            _plain(self.unit_price), self.currency, _plain(self.value), self.query, self.impression_id,
            self.session_id, self.properties,
        ]  # fmt: skip
        return _hash64(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)) >> 1

    @property
    def cents(self) -> int:
        """Hundredths of the currency this line moved: unit price times quantity, else the value of a purchase."""
        if self.unit_price is not None:
            return cents_of(self.unit_price * (self.quantity or 1))
        return cents_of(self.value) if self.value is not None and self.type in PAID else 0

    @property
    def order(self) -> int:
        """The order as a number: an unsigned 64-bit hash of `orderId`, 0 without one."""
        return order_of(self.order_id)

    def of_user(self, user_id: str) -> Self:
        """The same event as this user's; its digest stays what its sender's body gave."""
        given = self.model_copy(update={"user_id": user_id})
        vars(given)["digest"] = self.digest
        return given


class _Missing(ValueError):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def read_event(raw: Mapping[str, Any], *, source: str, received_at: datetime | None) -> Event:
    """The event a sender meant: `source` unless it names its own; id and time minted when it gives neither.

    `received_at` is None for history brought by a loader. Raises InvalidInput naming the field as the sender writes it.
    """
    if "receivedAt" in raw:
        raise InvalidInput("receivedAt is not a field of an event", "receivedAt")
    given_id, given_time = raw.get("id"), raw.get("occurredAt")
    if given_id is not None and given_time is None:
        raise InvalidInput("an id of the sender needs its occurredAt", "occurredAt")
    now = received_at or clock.now()
    whole = {
        **raw,
        "id": mint_id(now) if given_id is None else given_id,
        "source": source if raw.get("source") is None else raw["source"],
        "occurredAt": now if given_time is None else _read_time(given_time, now),
        "receivedAt": received_at,
    }
    try:
        return Event.model_validate(whole)
    except ValidationError as error:
        raise _refusal(error) from None


def check_id(text: object, field: str) -> str:
    """`text` when it can be an id: 1 to 128 characters, no control characters. Raises InvalidInput naming `field`."""
    if not isinstance(text, str):
        raise InvalidInput(f"{field} must be a string", field)
    if not 0 < len(text) <= LONGEST_ID:
        raise InvalidInput(f"{field} must have 1 to {LONGEST_ID} characters", field)
    if not _ID_PATTERN.match(text) or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(f"{field} must not contain control characters", field)
    return text


def check_reason(text: str) -> str:
    """The reason somebody gives for the record, stripped. Raises InvalidInput for none, and for what cannot be kept."""
    text = text.strip()
    if not text:
        raise InvalidInput("A reason is needed: it is kept for the record.", "reason")
    if len(text) > LONGEST_REASON or "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(f"reason must be a text of at most {LONGEST_REASON} characters.", "reason")
    return text


def mint_id(now: datetime) -> str:
    """A new id that sorts by time: milliseconds, then 80 random bits, as 32 hexadecimal digits."""
    return f"{int(now.timestamp() * 1000):012x}{secrets.token_hex(10)}"


def identity_of(source: str, id: str, occurred_at: datetime) -> int:
    """The stable unsigned 64-bit hash of an event's identity."""
    return _hash64(f"{source}\x00{id}\x00{microseconds(occurred_at)}".encode())


def order_of(order_id: str | None) -> int:
    """The stable unsigned 64-bit hash of an order's id, 0 for none."""
    return 0 if order_id is None else _hash64(order_id.encode())


def cents_of(amount: Decimal) -> int:
    """The amount in hundredths, halves away from zero, as Postgres rounds."""
    return int((amount * 100).quantize(_CENT, rounding=ROUND_HALF_UP))


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exact (a float timestamp is not)."""
    return (moment - _EPOCH) // _MICROSECOND


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def _hash64(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


def _plain(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount.normalize(), "f")


def _read_time(value: object, now: datetime) -> datetime:
    moment = _parsed(value)
    if moment.tzinfo is None:
        raise InvalidInput("occurredAt needs its offset from UTC, as in 2025-03-01T12:00:00Z", "occurredAt")
    if moment < EARLIEST:
        raise InvalidInput("occurredAt lies before 1990", "occurredAt")
    if moment > now + AHEAD:
        raise InvalidInput("occurredAt lies more than 5 minutes ahead", "occurredAt")
    return moment.astimezone(UTC)


def _parsed(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and len(value) > len("2025-03-01"):
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    raise InvalidInput("occurredAt must be a time of RFC 3339, as in 2025-03-01T12:00:00Z", "occurredAt")


def plain_json(value: dict[str, Any], largest: int) -> dict[str, Any]:
    """`value` when Postgres and every JSON reader can hold it, in `largest` bytes. Raises ValueError saying why not."""
    try:
        json.dumps(value, allow_nan=False)  # orjson would write null for NaN
        packed = orjson.dumps(value)  # refuses half characters and integers over 64 bits
    except (ValueError, TypeError, RecursionError):
        raise ValueError("must be plain JSON: no NaN, no half characters, integers of 64 bits") from None
    if len(packed) > largest:
        raise ValueError(f"must be at most {largest} bytes of JSON")
    if b"\\u0000" in packed:
        raise ValueError("must not contain the NUL character")
    if _levels(value) > DEEPEST_JSON:
        raise ValueError(f"must have at most {DEEPEST_JSON} levels")
    return value


def _levels(value: object) -> int:
    """How deep it is nested, 0 for what holds nothing."""
    if isinstance(value, dict):
        return 1 + max(map(_levels, value.values()), default=0)
    return 1 + max(map(_levels, value), default=0) if isinstance(value, list) else 0


_WORDS: Final = {
    "extra_forbidden": "is not a field of an event",
    "string_pattern_mismatch": "must not contain control characters",
    "string_unicode": "must be valid Unicode",
    "missing": "is required",
}


def _refusal(error: ValidationError) -> InvalidInput:
    first = error.errors(include_url=False, include_input=False)[0]
    reason = first.get("ctx", {}).get("error")
    if isinstance(reason, _Missing):
        return InvalidInput(str(reason), to_camel(reason.field))
    field = str(first["loc"][0])[:LONGEST_ID]
    words = str(reason) if reason is not None else _WORDS.get(first["type"], first["msg"])
    return InvalidInput(f"{field}: {words}", field)
