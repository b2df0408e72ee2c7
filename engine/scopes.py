"""The scopes a token may carry. Every field of the schema that needs a scope names one of these."""

import re

from core.errors import InvalidInput

SCOPES: dict[str, str] = {
    "recommendations:read": "Read recommendations, similar items and trends.",
    "profiles:read": "Read people: traits, history, RFM, forecasts.",
    "profiles:write": "Write people and join guests to them.",
    "profiles:erase": "Erase and export people.",
    "segments:read": "Read segments and their members.",
    "catalog:read": "Read items.",
    "catalog:write": "Write and remove items.",
    "events:write": "Send events.",
    "orders:write": "Send events about money: purchases and returns.",
    "events:admin": "Replay or discard events that could not be stored.",
    "metrics:read": "Read drift, key figures and alerts.",
    "alerts:write": "Acknowledge alerts.",
    "models:read": "Read models, training jobs, decisions and explanations.",
    "models:write": "Request training, promote models and roll them back.",
    "placements:write": "Change placements and their rules.",
    "clients:admin": "Register and disable clients.",
    "schema:read": "Read the GraphQL schema by introspection.",
    "openid": "Sign a person in.",
    "profile": "Read a signed-in person's name.",
    "offline_access": "Keep access by a refresh token.",
}

# A token of a user or a guest never carries another scope, whatever its client has and asks for.
PEOPLE = frozenset({"recommendations:read", "profiles:read", "events:write", "orders:write", "openid"})
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
