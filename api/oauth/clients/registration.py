"""Registration of a client. Rejects what would be unsafe or could never work."""

import re
import secrets
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from api.oauth.clients.client_keys import check_jwks
from api.oauth.clients.secrets import hash_secret
from api.oauth.grant_types import AUTHORIZATION_CODE, GRANTS, OF_CONFIDENTIAL_CLIENTS, REFRESH_TOKEN
from core.errors import InvalidInput
from db.clients import Client
from engine.scopes import PEOPLE, PROTOCOL, SCOPES, read_scopes

SHORTEST_SECRET = 12
MAX_SECRET = 256
SHORTEST_TTL = 5  # seconds
MAX_TTL = 86_400
LONGEST_NAME = 80
LONGEST_URI = 2000
MAX_URIS = 50  # redirect URIs of a client, or origins
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
    secret: str | None = None,
    *,
    grants: Sequence[str],
    scope: str,
    redirect_uris: Sequence[str] = (),
    origins: Sequence[str] = (),
    ttl: int | None = None,
    name: str | None = None,
    first_party: bool = False,
    post_logout_redirect_uris: Sequence[str] = (),
    jwks: str | None = None,
) -> Client:
    """Build the client to store, with its secret hashed. Raises InvalidInput naming the wrong field.

    It authenticates with its secret, or by private_key_jwt with a key of `jwks`, a JWK set as JSON. With neither it is
    public: anybody can read its program, so it acts for people only, who sign in.
    """
    if not CLIENT_ID.fullmatch(client_id):
        raise InvalidInput(
            "A client id has 1 to 128 letters, digits or . _ ~ - and begins with a letter or digit", "id"
        )
    if secret is not None and jwks is not None:
        raise InvalidInput("A client has a secret or public keys, not both", "jwks")
    if ttl is not None and not SHORTEST_TTL <= ttl <= MAX_TTL:
        raise InvalidInput(f"The lifetime of tokens must be {SHORTEST_TTL} to {MAX_TTL} seconds", "ttl")
    client = Client(
        id=client_id,
        secret_hash=None if secret is None else hash_secret(check_secret(secret)),
        grants=tuple(dict.fromkeys(map(check_grant, grants))),
        scopes=check_scopes(scope),
        redirect_uris=_checked(redirect_uris, check_redirect_uri, "redirect-uri"),
        origins=_checked(origins, check_origin, "origin"),
        access_ttl=ttl,
        name=check_name(name),
        first_party=first_party,
        post_logout_redirect_uris=_checked(post_logout_redirect_uris, check_redirect_uri, "post-logout-uri"),
        jwks=None if jwks is None else check_jwks(jwks),
    )
    check_fit(client)
    return client


def check_fit(client: Client) -> None:
    """Raise InvalidInput when grants, scopes and redirect URIs do not fit each other or the kind of client."""
    grants = set(client.grants)
    if client.public and grants & OF_CONFIDENTIAL_CLIENTS:
        raise InvalidInput("A client without a secret or keys may use authorization_code and refresh_token", "grant")
    if REFRESH_TOKEN in grants and AUTHORIZATION_CODE not in grants:
        raise InvalidInput("refresh_token needs the grant authorization_code, from which the tokens come", "grant")
    if AUTHORIZATION_CODE in grants and not client.redirect_uris:
        raise InvalidInput("authorization_code needs a redirect URI", "redirect-uri")
    if "offline_access" in client.scopes and REFRESH_TOKEN not in grants:
        raise InvalidInput("offline_access needs the grant refresh_token", "scope")
    if client.public and not set(client.scopes) <= PEOPLE | PROTOCOL.keys():
        for_people = " ".join(sorted(PEOPLE | PROTOCOL.keys()))
        raise InvalidInput(f"A client without a secret or keys may have the scopes {for_people}", "scope")


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


def check_name(name: str | None) -> str | None:
    """The name to show to people, unchanged. Raises InvalidInput for one that is empty, too long or cannot be shown."""
    if name is not None and (not name.strip() or len(name) > LONGEST_NAME or not name.isprintable()):
        raise InvalidInput(f"A name has 1 to {LONGEST_NAME} printable characters", "name")
    return name


def check_scopes(scope: str) -> tuple[str, ...]:
    """The scopes in a space-separated list. Raises InvalidInput for one that does not exist."""
    names = read_scopes(scope)
    known = [*SCOPES, *PROTOCOL]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidInput(f"Unknown scopes: {' '.join(unknown)}. Known scopes: {' '.join(known)}", "scope")
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
    if len(uri) > LONGEST_URI or not _PRINTABLE.fullmatch(uri):
        raise InvalidInput(_REDIRECT_RULE, "redirect-uri")
    if "#" in uri or not (secure or local or _PRIVATE_SCHEME.fullmatch(parts.scheme)):
        raise InvalidInput(_REDIRECT_RULE, "redirect-uri")
    return uri


def _checked(texts: Sequence[str], check: Callable[[str], str], field: str) -> tuple[str, ...]:
    if len(texts) > MAX_URIS:
        raise InvalidInput(f"At most {MAX_URIS} are allowed", field)
    try:
        return tuple(dict.fromkeys(map(check, texts)))
    except InvalidInput as error:
        raise InvalidInput(str(error), field) from None
