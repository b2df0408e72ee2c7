"""The scopes a token may carry. Every field of the schema that needs a scope names one of these."""

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

_PERSONAL = frozenset({"events:write", "orders:write", "recommendations:read", "profiles:read", "catalog:read"})
_SIGN_IN = frozenset({"openid", "profile", "offline_access"})
# Scopes over the whole shop: a person's token carries one only when its client asks for it by name.
STAFF = frozenset(SCOPES) - _PERSONAL - _SIGN_IN


def read_scopes(text: str) -> tuple[str, ...]:
    """The scopes in a space-separated list, in order, without repeats."""
    return tuple(dict.fromkeys(text.split()))
