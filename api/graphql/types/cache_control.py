"""Who may keep an answer: marks on the fields that are the same for everybody. Printed as `@cacheControl`."""

from copy import copy
from enum import Enum
from typing import Final

import strawberry
from graphql import GraphQLField
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.schema_directive import Location
from strawberry.types.field import StrawberryField

STEADY: Final = 300  # seconds
CHANGING: Final = 60  # seconds: prices, what is listed, and cursors, which are valid for ten minutes


@strawberry.enum(description="Who may keep an answer.")
class CacheControlScope(Enum):
    """PUBLIC: shared caches, for everybody. PRIVATE: nobody."""

    PUBLIC = "PUBLIC"
    PRIVATE = "PRIVATE"


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    description="PUBLIC: the field has the same value for everybody who may read it, and a cache may keep it for"
    " `maxAge` seconds. An answer is kept as long as all its fields allow. A field that is not marked is PRIVATE, and"
    " so is every answer with it: no cache keeps it. It is declared as in Apollo Server.",
)
class CacheControl:
    """How long a field may be kept, and by which caches."""

    max_age: int | None = strawberry.UNSET
    scope: CacheControlScope | None = strawberry.UNSET


PUBLIC: Final = {
    "Query": {"item": STEADY, "items": CHANGING, "trending": CHANGING},
    "Item": dict.fromkeys(
        ("nodeId", "id", "groupId", "title", "description", "categories", "brand", "image", "url", "appUrl"), STEADY
    )
    | {"attributes": STEADY, "attribute": STEADY, "similar": CHANGING, "boughtTogether": CHANGING}
    | {"price": CHANGING, "listPrice": CHANGING, "available": CHANGING},
    "Money": {"amount": CHANGING, "currency": CHANGING},
    "Image": {"url": STEADY},
    "ItemConnection": {"edges": STEADY, "nodes": STEADY, "pageInfo": CHANGING, "totalCount": STEADY},
    "ItemEdge": {"cursor": CHANGING, "node": STEADY},
    "PageInfo": dict.fromkeys(("hasNextPage", "hasPreviousPage", "startCursor", "endCursor"), CHANGING),
    "RecommendationConnection": dict.fromkeys(
        ("placement", "placementVersion", "modelVersion", "degraded", "edges", "nodes"), STEADY
    )
    | {"asOf": CHANGING, "pageInfo": CHANGING},
    "RecommendationEdge": {"cursor": CHANGING, "rank": STEADY, "reason": STEADY, "node": STEADY},
    "Reason": {"code": STEADY, "text": STEADY, "item": STEADY},
}
"""Seconds by type and field. Every other field is private."""

PRIVATE: Final = {
    "RecommendationConnection": {"impressionId"},  # of one showing to one person
    "RecommendationEdge": {"impressionId", "score", "probability"},
    "Reason": {"events"},
}
"""The private fields beside public ones: for routers, which would let them inherit what their object has."""


def with_cache_control(type_name: str, field: StrawberryField, name: str) -> StrawberryField:
    """The field `name` of a type with its mark, if it has one: a copy, because types that are alike share fields."""
    age = PUBLIC.get(type_name, {}).get(name)
    if age is not None:
        mark = CacheControl(max_age=age, scope=CacheControlScope.PUBLIC)
    elif name in PRIVATE.get(type_name, ()):
        mark = CacheControl(scope=CacheControlScope.PRIVATE)
    else:
        return field
    marked = copy(field)
    marked.directives = [*(one for one in field.directives if not isinstance(one, CacheControl)), mark]
    return marked


def public_age(field: GraphQLField) -> int | None:
    """How many seconds everybody may keep the field; None for a field that is private."""
    declared = field.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    for mark in getattr(declared, "directives", None) or ():
        if isinstance(mark, CacheControl) and mark.scope is CacheControlScope.PUBLIC:
            return mark.max_age
    return None
