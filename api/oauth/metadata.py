"""The metadata of the authorization server (RFC 8414), also at OpenID Connect's address. It lists only what exists.

No ID tokens are issued, so it says nothing about them.
"""

from typing import Any

from api.oauth.clients.credentials import METHODS
from api.oauth.grant_types import ISSUED
from engine.scopes import SCOPES


def metadata(issuer: str) -> dict[str, Any]:
    """The document that both well-known addresses serve."""
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/oauth/token",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "scopes_supported": list(SCOPES),
        "response_types_supported": [],
        "grant_types_supported": list(ISSUED),
        "token_endpoint_auth_methods_supported": METHODS,
    }
