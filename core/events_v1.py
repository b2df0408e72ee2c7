"""Version 1 of the event contract: the fields of a sender, one class per type, the source of `schemas/v1/`.

Within a version there are optional additions only: `penchant schema --check` fails on anything else.
"""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict, Field, TypeAdapter, WithJsonSchema
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

from core import amounts
from core.amounts import DECIMAL_PLACES, LARGEST_LINE, WHOLE_DIGITS, Amount, has_no_sign, read_decimal
from core.currencies import CURRENCIES
from core.events import LARGEST_QUANTITY, MOST_ITEMS, Event, EventType
from core.moments import MOMENT_PATTERN
from core.sources import StoredSource
from core.texts import Id, Text, plain_json

LARGEST_PROPERTIES: Final = 10_000  # bytes of JSON
_LARGEST_AMOUNT: Final = 9_999_999_999.9999
_AMOUNT: Final = rf"^([0-9]{{1,{WHOLE_DIGITS}}}(\.[0-9]{{0,{DECIMAL_PLACES}}}0*)?|\.[0-9]{{1,{DECIMAL_PLACES}}}0*)$"
_LONGEST: Final = 64  # characters of an amount
_PLAIN: Final = re.compile(_AMOUNT.replace("$", r"\Z"))
_DIGITS: Final = re.compile(rf"[0-9]{{1,{_LONGEST}}}\Z")
_QUANTITY: Final = r"^0*[1-9][0-9]{0,6}$"


def _read_amount(value: object) -> object:
    """Version 1 takes more than the GraphQL scalar Decimal: JSON numbers with a fraction, `.5`, `12.`, more zeros."""
    if isinstance(value, float) or (isinstance(value, str) and len(value) <= _LONGEST and _PLAIN.match(value)):
        return value
    return read_decimal(value)


def _read_quantity(value: object) -> object:
    """Version 1 takes texts of digits too."""
    if isinstance(value, bool) or (isinstance(value, str) and not _DIGITS.match(value)):
        raise ValueError("must be a number in plain digits, such as 2")
    return value


def _number(type: str, least: int, most: float, pattern: str) -> WithJsonSchema:
    number: JsonDict = {"type": type, "minimum": least, "maximum": most}
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": pattern}]})


_MOMENT_SCHEMA: Final = WithJsonSchema(
    {
        "anyOf": [{"type": "string", "format": "date-time", "pattern": MOMENT_PATTERN}, {"type": "null"}],
        "description": "RFC 3339 with an offset; since 1990, at most 5 minutes ahead.",
    }
)
_SOURCE_SCHEMA: Final = WithJsonSchema(TypeAdapter(Id).json_schema())
"""Of the sender's own part: `read_event` checks it, then puts the namespace before it."""
_LINE: Final = f"The price of one unit. Times the quantity it is at most {LARGEST_LINE:,}."
Money = Annotated[
    Amount,
    AfterValidator(has_no_sign),
    BeforeValidator(_read_amount),
    _number("number", 0, _LARGEST_AMOUNT, _AMOUNT),
]
Quantity = Annotated[
    int,
    Field(ge=1, le=LARGEST_QUANTITY),
    BeforeValidator(_read_quantity),
    _number("integer", 1, LARGEST_QUANTITY, _QUANTITY),
]
Currency = Annotated[amounts.Currency, Field(json_schema_extra={"enum": sorted(CURRENCIES)})]
Properties = Annotated[dict[str, Any], AfterValidator(lambda given: plain_json(given, LARGEST_PROPERTIES))]


def _as_sent(schema: JsonDict) -> None:
    """Add to the schema: a person is required, and ids and times are optional because they are minted."""
    minted = {"id", "source", "occurredAt"}
    required, properties = schema["required"], schema["properties"]
    assert isinstance(required, list) and isinstance(properties, dict)
    schema["required"] = [name for name in required if name not in minted]
    for name in ("id", "source"):
        properties[name] = {"anyOf": [properties[name], {"type": "null"}], "default": None}
    schema["anyOf"] = [_given("userId"), _given("anonymousId")]
    schema["if"], schema["then"] = _given("id"), _given("occurredAt")


def _given(name: str) -> JsonDict:
    return {"properties": {name: {"type": "string"}}, "required": [name]}


class SentEvent(Event):
    """An event in the form its sender writes, validated after its id, source and times are filled in."""

    model_config = ConfigDict(json_schema_extra=_as_sent)

    source: Annotated[StoredSource, _SOURCE_SCHEMA]
    occurred_at: Annotated[AwareDatetime, _MOMENT_SCHEMA]
    quantity: Quantity | None = None
    unit_price: Annotated[Money | None, Field(description=_LINE)] = None
    value: Money | None = None
    currency: Currency | None = None
    properties: Properties | None = None
    received_at: SkipJsonSchema[AwareDatetime | None] = None


class AboutItem(SentEvent):
    """Something done with one item."""

    item_id: Id


class View(AboutItem):
    """Somebody looked at an item."""

    type: Literal[EventType.VIEW]


class Click(AboutItem):
    """Somebody clicked on an item in a list."""

    type: Literal[EventType.CLICK]


class AddToCart(AboutItem):
    """Somebody put an item into the cart."""

    type: Literal[EventType.ADD_TO_CART]


class RemoveFromCart(AboutItem):
    """Somebody took an item out of the cart."""

    type: Literal[EventType.REMOVE_FROM_CART]


class Purchase(AboutItem):
    """Somebody bought an item: one line of an order."""

    type: Literal[EventType.PURCHASE]


class Return(AboutItem):
    """Somebody gave an item back."""

    type: Literal[EventType.RETURN]


class Rating(AboutItem):
    """Somebody rated an item: `value` says how."""

    type: Literal[EventType.RATING]
    value: Money


class Like(AboutItem):
    """Somebody likes an item."""

    type: Literal[EventType.LIKE]


class Dislike(AboutItem):
    """Somebody does not like an item."""

    type: Literal[EventType.DISLIKE]


class Search(SentEvent):
    """Somebody searched."""

    type: Literal[EventType.SEARCH]
    query: Text


class Impression(SentEvent):
    """Somebody saw these items of a list."""

    type: Literal[EventType.IMPRESSION]
    item_ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=MOST_ITEMS, fail_fast=True)]


V1: Final[dict[str, type[SentEvent]]] = {
    EventType.VIEW: View,
    EventType.CLICK: Click,
    EventType.ADD_TO_CART: AddToCart,
    EventType.REMOVE_FROM_CART: RemoveFromCart,
    EventType.PURCHASE: Purchase,
    EventType.RETURN: Return,
    EventType.RATING: Rating,
    EventType.LIKE: Like,
    EventType.DISLIKE: Dislike,
    EventType.SEARCH: Search,
    EventType.IMPRESSION: Impression,
}
