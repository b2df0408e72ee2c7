"""Registration of a client. Rejects what would be unsafe or could never work."""

import re
import secrets
from collections.abc import Sequence
from urllib.parse import urlsplit

from api.oauth.clients.secrets import hash_secret
from api.oauth.grant_types import GRANTS
from core.errors import InvalidInput
from db.clients import Client
from engine.scopes import SCOPES, read_scopes

SHORTEST_SECRET = 12
MAX_SECRET = 256
SHORTEST_TTL = 60  # seconds
MAX_TTL = 86_400
CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")
_SECRET = re.compile(rf"[!-~]{{{SHORTEST_SECRET},{MAX_SECRET}}}")
_PRIVATE_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+", re.IGNORECASE)
_PRINTABLE = re.compile(r"[!-~]+")
_ORIGIN_RULE = "An origin is http(s)://host or http(s)://host:port, without path or wildcard"
_REDIRECT_RULE = "A redirect URI is https, http on loopback, or an app's own scheme with a dot in it; no fragment"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def new_secret() -> str:
    """A random secret of 256 bits, safe in URLs, forms and shells."""
    return secrets.token_urlsafe(32)


def register(
    client_id: str,
    secret: str,
    *,
    grants: Sequence[str],
    scope: str,
    redirect_uris: Sequence[str] = (),
    origins: Sequence[str] = (),
    ttl: int | None = None,
) -> Client:
    """Build the confidential client to store, with its secret hashed. Raises InvalidInput naming the wrong field."""
    if not CLIENT_ID.fullmatch(client_id):
        raise InvalidInput(
            "A client id has 1 to 128 letters, digits or . _ ~ - and begins with a letter or digit", "id"
        )
    check_secret(secret)
    if ttl is not None and not SHORTEST_TTL <= ttl <= MAX_TTL:
        raise InvalidInput(f"The lifetime of tokens must be {SHORTEST_TTL} to {MAX_TTL} seconds", "ttl")
    return Client(
        id=client_id,
        secret_hash=hash_secret(secret),
        grants=tuple(dict.fromkeys(map(check_grant, grants))),
        scopes=check_scopes(scope),
        redirect_uris=tuple(dict.fromkeys(map(check_redirect_uri, redirect_uris))),
        origins=tuple(dict.fromkeys(map(check_origin, origins))),
        access_ttl=ttl,
    )


def check_secret(secret: str) -> str:
    """The secret, unchanged. Raises InvalidInput for one that is too short, too long or cannot be sent."""
    if not _SECRET.fullmatch(secret):
        length = f"{SHORTEST_SECRET} to {MAX_SECRET}"
        raise InvalidInput(f"A secret has {length} printable ASCII characters and no spaces", "secret")
    return secret


def check_grant(grant: str) -> str:
    """The grant's full name. Raises InvalidInput for one that does not exist."""
    if grant in GRANTS.values():
        return grant
    if grant not in GRANTS:
        raise InvalidInput(f"Unknown grant. Use one of: {', '.join(GRANTS)}", "grant")
    return GRANTS[grant]


def check_scopes(scope: str) -> tuple[str, ...]:
    """The scopes in a space-separated list. Raises InvalidInput for one that does not exist."""
    names = read_scopes(scope)
    unknown = [name for name in names if name not in SCOPES]
    if unknown:
        raise InvalidInput(f"Unknown scopes: {' '.join(unknown)}. Known scopes: {' '.join(SCOPES)}", "scope")
    return names


def check_origin(origin: str) -> str:
    """The web origin as browsers send it. Raises InvalidInput for a path, a wildcard, `null` or another scheme."""
    try:
        parts = urlsplit(origin)
        default = {"http": 80, "https": 443}[parts.scheme]
        port = "" if parts.port in (None, default) else f":{parts.port}"
    except (KeyError, ValueError):
        raise InvalidInput(_ORIGIN_RULE, "origin") from None
    host = parts.hostname or ""
    has_more = "@" in parts.netloc or parts.path or parts.query or parts.fragment
    if not host or not host.isascii() or "*" in host or has_more:
        raise InvalidInput(_ORIGIN_RULE, "origin")
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def check_redirect_uri(uri: str) -> str:
    """The URI, unchanged: redirect URIs are compared exactly.

    Allowed are https, http on loopback, and an app's own scheme with a dot in it (RFC 8252, section 7). Raises
    InvalidInput for any other URI.
    """
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise InvalidInput(_REDIRECT_RULE, "redirect-uri") from None
    secure = parts.scheme == "https" and bool(parts.hostname)
    local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not _PRINTABLE.fullmatch(uri) or "#" in uri or not (secure or local or _PRIVATE_SCHEME.fullmatch(parts.scheme)):
        raise InvalidInput(_REDIRECT_RULE, "redirect-uri")
    return uri
