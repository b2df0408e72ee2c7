"""What a token may be allowed to do. Every field of the schema names the scope it needs from this list."""

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
    "profile": "Tell a signed-in person's name.",
    "offline_access": "Keep access by a refresh token.",
}

# Whole-shop powers: part of a person's token only when its client asks for them by name.
_ANYBODY = frozenset({"events:write", "orders:write", "recommendations:read", "profiles:read", "catalog:read"})
_SIGN_IN = frozenset({"openid", "profile", "offline_access"})
STAFF = frozenset(SCOPES) - _ANYBODY - _SIGN_IN


def read_scopes(text: str) -> tuple[str, ...]:
    """The names in a space-separated list, each once, in their order."""
    return tuple(dict.fromkeys(text.split()))
