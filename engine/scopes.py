"""The scopes a token may carry. Each of SCOPES is needed by a field of the schema or a route, and by nothing else."""

import re
from collections.abc import Iterable

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
    "placements:read": "Read the settings of placements and rules, and try changes of them out.",
    "placements:write": "Change the settings of placements, and rules.",
    "segments:read": "Read segments, and who belongs to them.",
    "segments:write": "Define and delete segments.",
    "clients:admin": "Create and change OAuth clients, and read what was done to them.",
    "schema:read": "Read the GraphQL schema by introspection.",
}

# Scopes of OpenID Connect. They say what a client gets beside its access token, and allow no field.
PROTOCOL: dict[str, str] = {
    "openid": "Get an ID token: who signed in.",
    "profile": "Know the person's user id.",
    "offline_access": "Stay signed in: tokens can be refreshed after the person has signed out here.",
}

# Earlier releases offered these. They allow nothing; clients that have them may still ask for them.
RETIRED = frozenset({"alerts:write"})

# A token of a user or a guest never carries another scope, but those of PROTOCOL, whatever its client has and asks for.
PEOPLE = frozenset({"recommendations:read", "profiles:read", "events:write", "orders:write"})
# These it carries only when its client asks for them by name.
NAMED_FOR_PEOPLE = frozenset({"orders:write", "profile", "offline_access"})

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


def default_for_people(scopes: Iterable[str]) -> tuple[str, ...]:
    """Of a client's scopes, those that a person's token has when no scope is requested; in order."""
    return tuple(scope for scope in scopes if scope in (PEOPLE | PROTOCOL.keys()) - NAMED_FOR_PEOPLE)
