"""A user approves what a client asks for: codes, without the pages."""

import hashlib
from base64 import urlsafe_b64encode
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from api.oauth.authority import Authority
from core import clock

BACK = "https://shop.example/back"
VERIFIER = "a-verifier-of-the-app-" + "x" * 30


def code_of(
    authority: Authority,
    scope: str = "openid recommendations:read profiles:read",
    *,
    client_id: str = "app",
    user_id: str = "u1",
    auth_time: datetime | None = None,
    **more: Any,
) -> str:
    """The code that the client gets when the user approves what it asks for."""
    challenge = urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": BACK,
        "scope": scope,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    request = authority.server.read_authorization(asked | more)
    location = authority.server.approve(request, user_id, auth_time or clock.now(), request.scopes)
    return parse_qs(urlsplit(location).query)["code"][0]


def redemption(code: str, /, **changes: str) -> dict[str, str]:
    """The form by which the app changes a code for tokens."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "client_id": "app",
        "redirect_uri": BACK,
        "code_verifier": VERIFIER,
    }
    return form | changes
