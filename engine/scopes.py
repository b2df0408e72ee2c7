"""The scopes a token may carry. Each is needed by a field of the schema or by a route, and by nothing else."""

import re

from core.errors import InvalidInput

SCOPES: dict[str, str] = {
    "recommendations:read": "Read recommendations, similar items and trends.",
    "profiles:read": "Read people: traits, history, RFM.",
    "profiles:write": "Write people and join guests to them.",
    "profiles:erase": "Erase and export people.",
    "catalog:read": "Read items.",
    "catalog:write": "Write and remove items.",
    "events:write": "Send events.",
    "orders:write": "Send events about money: purchases and returns.",
    "events:admin": "Replay or discard events that could not be stored.",
    "metrics:read": "Read which events could not be stored, and why.",
    "models:read": "Read models, training jobs and decisions.",
    "models:write": "Request training, promote models and roll them back.",
    "schema:read": "Read the GraphQL schema by introspection.",
}

# Earlier releases offered these. They allow nothing; clients that have them may still ask for them.
RETIRED = frozenset(
    {"segments:read", "alerts:write", "placements:write", "clients:admin", "openid", "profile", "offline_access"}
)
RETIRED_FOR_PEOPLE = frozenset({"openid"})

# A token of a user or a guest never carries another scope, whatever its client has and asks for.
PEOPLE = frozenset({"recommendations:read", "profiles:read", "events:write", "orders:write"})
# These it carries only when its client asks for them by name.
NAMED_FOR_PEOPLE = frozenset({"orders:write"})

LONGEST_LIST = 1024  # characters
_TOKEN = r"[\x21\x23-\x5b\x5d-\x7e]+"
_LIST = re.compile(rf"{_TOKEN}(?: {_TOKEN})*")  # RFC 6749, section 3.3


def read_scopes(text: str) -> tuple[str, ...]:
    """The scopes in a list with single spaces (U+0020) between, in order; none in an empty text.

    Raises InvalidInput for blanks at the ends, any other character between, a repeated scope, and a list too long.
    """
    if not text:
        return ()
    if len(text) > LONGEST_LIST or not _LIST.fullmatch(text):
        raise InvalidInput("Scopes are printable ASCII, with one space between two of them", "scope")
    names = tuple(text.split(" "))
    if len(set(names)) < len(names):
        raise InvalidInput("A scope is repeated", "scope")
    return names
