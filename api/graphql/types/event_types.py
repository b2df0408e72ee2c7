"""The enum EventType of the schema: the event contract's own enum, registered once for every topic that shows it."""

import strawberry

from core.contract import EventType

__all__ = ["EventType"]

strawberry.enum(
    EventType,
    description="The kind of an event. VIEW, CLICK, ADD_TO_CART, REMOVE_FROM_CART, PURCHASE, RETURN, RATING, LIKE and"
    " DISLIKE are about one item. SEARCH has a `query`. IMPRESSION lists the items that were visible.",
)
