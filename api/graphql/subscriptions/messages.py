"""The messages and close codes of the protocol `graphql-transport-ws`, and what a caller may send."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from api.errors import RequestRefused
from api.graphql.request.reading import GraphQLRequest, read_payload
from api.http.json_body import MANY_CONTAINERS, count_containers, parse_json

PROTOCOL: Final = "graphql-transport-ws"
MAX_ID: Final = 128  # characters


class Close(Enum):
    """Why we close a connection: the code and the reason that its caller gets.

    Clients connect again after 4403 and ask their page for a token before; after 4401 they give up. So a token that
    has expired or was revoked ends in 4403.
    """

    IDLE = 1000, "Idle"
    TOO_MANY_MESSAGES = 1008, "Too many messages"
    FAILED = 1011, "Something went wrong on our side"
    TRY_AGAIN = 1013, "Try again later"
    MALFORMED = 4400, "Malformed message"
    NOT_INITIALISED = 4401, "Unauthorized"
    TOKEN_REFUSED = 4403, "Forbidden"
    TOKEN_ENDED = 4403, "Forbidden: the token has ended"
    WRONG_PROTOCOL = 4406, "Subprotocol not acceptable"
    TOO_SLOW = 4408, "Connection initialisation timeout"
    SAME_ID = 4409, "Subscriber for this id already exists"
    TOO_MANY_INITS = 4429, "Too many initialisation requests"


class Closed(Exception):
    """The connection is to be closed."""

    def __init__(self, close: Close) -> None:
        super().__init__(close.name)
        self.close = close


@dataclass(frozen=True, slots=True)
class Init:
    """The first message; `authorization` is as the header of this name, None without one."""

    authorization: str | None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """An operation to run, also a query."""

    id: str
    request: GraphQLRequest


@dataclass(frozen=True, slots=True)
class Complete:
    """The caller wants no more of an operation."""

    id: str


@dataclass(frozen=True, slots=True)
class Ping:
    """The caller wants a pong."""


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping."""


Received = Init | Subscribe | Complete | Ping | Pong


def read_message(text: Any) -> Received:
    """The message in a text frame. Raises Closed for anything that is not one."""
    try:
        if not isinstance(text, str) or count_containers(text.encode(), "The message") > MANY_CONTAINERS:
            raise Closed(Close.MALFORMED)
        parsed = parse_json(text, "The message")
        if isinstance(parsed.value, dict):
            return _read(parsed.value, parsed.nodes)
    except (RequestRefused, UnicodeEncodeError):
        raise Closed(Close.MALFORMED) from None
    raise Closed(Close.MALFORMED)


def _read(message: dict[str, Any], nodes: int) -> Received:
    kind, payload = message.get("type"), message.get("payload")
    if kind == "subscribe" and isinstance(payload, dict):
        return Subscribe(_id(message), read_payload(payload, nodes))
    if kind == "complete":
        return Complete(_id(message))
    if payload is not None and not isinstance(payload, dict):
        raise Closed(Close.MALFORMED)
    if kind == "connection_init":
        return Init(_authorization(payload or {}))
    if kind == "ping":
        return Ping()
    if kind == "pong":
        return Pong()
    raise Closed(Close.MALFORMED)


def _id(message: dict[str, Any]) -> str:
    id = message.get("id")
    if not isinstance(id, str) or not 1 <= len(id) <= MAX_ID:
        raise Closed(Close.MALFORMED)
    return id


def _authorization(payload: dict[str, Any]) -> str | None:
    """What the payload has in place of a header. Two different values are refused, as two headers are."""
    found = {payload[name] for name in ("authorization", "Authorization") if isinstance(payload.get(name), str)}
    if len(found) > 1:
        raise Closed(Close.TOKEN_REFUSED)
    return found.pop() if found else None
