"""The complete event that is queued, stored, shown and trained on, whatever contract version it was sent in."""

from datetime import datetime
from enum import StrEnum
from operator import itemgetter
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from core.amounts import Amount, cents_of, plain_amount
from core.cached_properties import CachedProperty
from core.hashes import hash64, identity_of, order_of
from core.sources import StoredSource
from core.texts import Id, LongId, Text

MOST_ITEMS: Final = 500
LARGEST_QUANTITY: Final = 1_000_000
BODY: Final = (
    "type", "user_id", "anonymous_id", "item_id", "item_ids", "order_id", "quantity", "unit_price", "currency", "value",
    "query", "impression_id", "session_id", "properties",
)  # fmt: skip
"""The fields that `Event.digest` covers, in its order."""
_AMOUNTS: Final = (BODY.index("unit_price"), BODY.index("value"))
_body_of: Final = itemgetter(*BODY)


class EventType(StrEnum):
    """The kind of action that a person did."""

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
OPINIONS: Final = frozenset({EventType.RATING, EventType.LIKE, EventType.DISLIKE})
BROWSING: Final = frozenset(
    {EventType.VIEW, EventType.CLICK, EventType.ADD_TO_CART, EventType.REMOVE_FROM_CART}
)  # of these, the number `order` is that of the session


class Person(NamedTuple):
    """Someone the shop knows by its own user id, or a guest by an anonymous id."""

    kind: Literal["user", "guest"]
    id: str


class MissingField(ValueError):
    """A required field is missing; `field` is its Python name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Event(BaseModel):
    """One thing that a person did, with its sender's id for it. `source` has the sender's namespace.

    An unknown item is no error: events are facts, and the catalogue may come later.
    """

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, ignored_types=(CachedProperty,))

    id: Id
    source: StoredSource
    type: EventType
    occurred_at: AwareDatetime
    user_id: Id | None = None
    anonymous_id: Id | None = None
    item_id: Id | None = None
    item_ids: Annotated[tuple[Id, ...], Field(min_length=1, max_length=MOST_ITEMS, fail_fast=True)] | None = None
    order_id: Id | None = None
    quantity: Annotated[int, Field(ge=1, le=LARGEST_QUANTITY)] | None = None
    unit_price: Amount | None = None
    currency: str | None = None
    value: Amount | None = None
    query: Text | None = None
    impression_id: LongId | None = None
    session_id: Id | None = None
    properties: dict[str, Any] | None = None
    received_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _has_person(self) -> Self:
        if self.user_id is None and self.anonymous_id is None:
            raise MissingField("user_id", "userId or anonymousId is required")
        return self

    def __eq__(self, other: object) -> bool:
        """Two events are equal when all their fields are."""
        return isinstance(other, Event) and all(
            getattr(self, name) == getattr(other, name) for name in Event.model_fields
        )

    def of_user(self, user_id: str) -> Self:
        """The same event with this user; the digest stays that of the sent body."""
        given = self.model_copy(update={"user_id": user_id})
        vars(given).update(digest=self.digest, as_sent=self)
        return given

    @CachedProperty
    def as_sent(self) -> "Event":
        """The event as it was sent: itself, unless it was assigned to a user."""
        return self

    @property
    def person(self) -> Person:
        """The person of the event: the user, else the guest."""
        return Person("user", self.user_id) if self.user_id is not None else Person("guest", self.anonymous_id or "")

    @property
    def moment(self) -> datetime:
        """When it happened, at the latest: a sender's clock may be ahead of ours."""
        return self.occurred_at if self.received_at is None else min(self.occurred_at, self.received_at)

    @CachedProperty
    def identity(self) -> int:
        """The identity of the event: a stable unsigned 64-bit hash of (source, id, occurredAt)."""
        return identity_of(self.source, self.id, self.occurred_at)

    @CachedProperty
    def digest(self) -> int:
        """A stable hash of the body, 0 <= digest < 2**63: the same identity with another digest is a conflict."""
        body = list(_body_of(vars(self)))
        for place in _AMOUNTS:
            body[place] = plain_amount(body[place])
        return hash64(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)) >> 1

    @property
    def cents(self) -> int:
        """Hundredths of the currency this line moved: unit price times quantity, else the value of a purchase.

        Of a rating, hundredths of its value.
        """
        if self.type is EventType.RATING:
            return cents_of(self.value) if self.value is not None else 0
        if self.unit_price is not None:
            return cents_of(self.unit_price * (self.quantity or 1))
        return cents_of(self.value) if self.value is not None and self.type in PAID else 0

    @property
    def order(self) -> int:
        """The order as a number: an unsigned 64-bit hash of `orderId`, 0 without one.

        Of an opinion, the microseconds of its second instead: they order what a person said within a second. Of
        BROWSING, the session.
        """
        if self.type in OPINIONS:
            return self.occurred_at.microsecond
        return order_of(self.session_id if self.type in BROWSING else self.order_id)
