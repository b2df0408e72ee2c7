"""The metadata of the authorization server (RFC 8414), also at OpenID Connect's address. It lists only what exists."""

from typing import Any

from api.oauth.authorizing.requests import PROMPTS
from api.oauth.clients.client_keys import ALGORITHM_NAMES
from api.oauth.clients.credentials import METHODS, METHODS_OF_ALL
from api.oauth.grant_types import GRANTS
from api.oauth.tokens.signing_keys import ALGORITHM
from engine.reasons.texts import LANGUAGES
from engine.scopes import PROTOCOL, SCOPES


def metadata(issuer: str) -> dict[str, Any]:
    """The document that both well-known addresses serve."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/oauth/authorize",
        "token_endpoint": f"{issuer}/oauth/token",
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "end_session_endpoint": f"{issuer}/oauth/logout",
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "scopes_supported": [*SCOPES, *PROTOCOL],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANTS.values()),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": METHODS_OF_ALL,
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHM_NAMES),
        "revocation_endpoint_auth_methods_supported": METHODS_OF_ALL,
        "revocation_endpoint_auth_signing_alg_values_supported": list(ALGORITHM_NAMES),
        "introspection_endpoint_auth_methods_supported": METHODS,
        "introspection_endpoint_auth_signing_alg_values_supported": list(ALGORITHM_NAMES),
        "authorization_response_iss_parameter_supported": True,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "sid"],
        "ui_locales_supported": list(LANGUAGES),
        "prompt_values_supported": list(PROMPTS),
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }
