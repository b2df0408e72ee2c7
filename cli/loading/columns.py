"""The columns that files may have, derived from the contracts: the names of the GraphQL inputs, and what they hold."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import AwareDatetime, BaseModel

from cli.loading.chunks import WrongFile
from core.contract import Event
from core.uploads import ItemUpload, OfferUpload, UserUpload


class Kind(StrEnum):
    """What a file holds."""

    ITEMS = "items"
    USERS = "users"
    EVENTS = "events"


def _names(model: type[BaseModel]) -> dict[str, Any]:
    """The type of every field, by the name that senders write."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _types(annotation: Any) -> Iterator[Any]:
    """The classes in an annotation: of each member of a union, of a container itself."""
    origin = get_origin(annotation)
    if origin is None:
        yield annotation
    elif origin in (tuple, dict):
        yield origin
    else:
        for part in get_args(annotation)[:1] if origin is Annotated else get_args(annotation):
            yield from _types(part)


_EVENT: Final = {name: annotation for name, annotation in _names(Event).items() if name != "receivedAt"}
_ITEM, _USER = _names(ItemUpload), _names(UserUpload)
_ALL: Final = [*_EVENT.items(), *_ITEM.items(), *_USER.items(), *_names(OfferUpload).items()]


def _holding(type: Any) -> frozenset[str]:
    """The columns whose values are of this type."""
    return frozenset(name for name, annotation in _ALL if type in _types(annotation))


FIELDS: Final[dict[Kind, frozenset[str]]] = {
    Kind.EVENTS: frozenset(_EVENT),
    Kind.ITEMS: frozenset(_ITEM),
    Kind.USERS: frozenset(_USER),
}
REQUIRED: Final[dict[Kind, tuple[tuple[str, ...], ...]]] = {
    Kind.EVENTS: (("type",), ("occurredAt",), ("userId", "anonymousId")),
    Kind.ITEMS: (("id",),),
    Kind.USERS: (("id",),),
}
_CLOSE: Final = 0.75  # how alike two names must be, of 1, for one to be meant by the other
SPREAD: Final = {Kind.ITEMS: "attributes.", Kind.USERS: "traits."}
"""A column `attributes.size` is the key `size` of `attributes`."""

IDS: Final = frozenset(
    {"id", "source", "userId", "anonymousId", "itemId", "orderId", "sessionId", "impressionId", "groupId", "market"}
)
TIMES: Final = _holding(AwareDatetime)
AMOUNTS: Final = _holding(Decimal)
NUMBERS: Final = AMOUNTS | _holding(int)
OBJECTS: Final = _holding(dict) | {"offers"}
LISTS: Final = _holding(tuple) - OBJECTS


_LONGEST_SHOWN: Final = 60  # characters of a name in an error
_LONGEST_LIST: Final = 200  # characters of all names that an error lists


def check_columns(kind: Kind, columns: list[str]) -> None:
    """Raise WrongFile naming the column that is missing, unknown or repeated."""
    for column in columns:
        if columns.count(column) > 1:
            raise WrongFile(f"the column {shown(column)!r} is there twice; rename one of them")
        if column not in FIELDS[kind] and not column.startswith(SPREAD.get(kind, column + ".")):
            raise WrongFile(f"the column {shown(column)!r} is not known for {kind}; {_advice(kind, column)}")
    for choices in REQUIRED[kind]:
        if not set(choices) & set(columns):
            missing = " or ".join(repr(choice) for choice in choices)
            raise WrongFile(f"the column {missing} is missing; there are: {listed(columns)}")


def shown(name: str) -> str:
    """The name as an error shows it: not too long."""
    return name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}..."


def listed(names: Iterable[str]) -> str:
    """The names as an error lists them: on one line, and not too many."""
    text = ", ".join(" ".join(shown(name).split()) for name in names)
    return text if len(text) <= _LONGEST_LIST else text[:_LONGEST_LIST].rpartition(", ")[0] + ", ..."


def _advice(kind: Kind, column: str) -> str:
    close = get_close_matches(column.replace("_", "").lower(), [name.lower() for name in FIELDS[kind]], 1, _CLOSE)
    meant = next((name for name in FIELDS[kind] if close and name.lower() == close[0]), None)
    return f"did you mean {meant!r}?" if meant else f"known are: {', '.join(sorted(FIELDS[kind]))}"
