"""The columns files may have: the names of the GraphQL inputs, and flat ones for the default offer of an item."""

from difflib import get_close_matches
from enum import StrEnum
from typing import Final

from cli.loading.chunks import WrongFile
from core.contract import Event


class Kind(StrEnum):
    """What a file holds."""

    ITEMS = "items"
    USERS = "users"
    EVENTS = "events"


FIELDS: Final[dict[Kind, frozenset[str]]] = {
    Kind.EVENTS: frozenset(field.alias or name for name, field in Event.model_fields.items()) - {"receivedAt"},
    Kind.ITEMS: frozenset(
        "id updatedAt groupId title description categories brand imageUrl image url appUrl attributes offers"
        " price listPrice currency available".split()
    ),
    Kind.USERS: frozenset({"id", "updatedAt", "traits"}),
}
REQUIRED: Final[dict[Kind, tuple[tuple[str, ...], ...]]] = {
    Kind.EVENTS: (("type",), ("occurredAt",), ("userId", "anonymousId")),
    Kind.ITEMS: (("id",),),
    Kind.USERS: (("id",),),
}
SPREAD: Final = {Kind.ITEMS: "attributes.", Kind.USERS: "traits."}
"""A column `attributes.size` is the key `size` of `attributes`."""

TIMES: Final = frozenset({"occurredAt", "updatedAt"})
MONEY: Final = frozenset({"unitPrice", "value", "price", "listPrice"})
LISTS: Final = frozenset({"itemIds", "categories"})
OBJECTS: Final = frozenset({"properties", "traits", "attributes", "offers"})


def check_columns(kind: Kind, columns: list[str]) -> None:
    """Raise WrongFile naming the column that is missing, unknown or there twice."""
    for column in columns:
        if columns.count(column) > 1:
            raise WrongFile(f"the column {column!r} is there twice")
        if column not in FIELDS[kind] and not column.startswith(SPREAD.get(kind, column + ".")):
            raise WrongFile(f"the column {column!r} is not known for {kind}; {_advice(kind, column)}")
    for choices in REQUIRED[kind]:
        if not set(choices) & set(columns):
            missing = " or ".join(repr(choice) for choice in choices)
            raise WrongFile(f"the column {missing} is missing; there are: {', '.join(columns)}")


def _advice(kind: Kind, column: str) -> str:
    close = get_close_matches(column.replace("_", "").lower(), [name.lower() for name in FIELDS[kind]], 1)
    meant = next((name for name in FIELDS[kind] if close and name.lower() == close[0]), None)
    return f"did you mean {meant!r}?" if meant else f"known are: {', '.join(sorted(FIELDS[kind]))}"
