"""What keeps the forms safe: proof that our own page sent them, and what they carry, sealed for one browser."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import Headers

from core import clock
from core.errors import InvalidInput, PenchantError
from engine.signing import Signer

LIFETIME: Final = timedelta(minutes=30)  # how long a page may stay open


About = Literal["authorization request", "sign-out request"]


class Expired(PenchantError):
    """The form is too old, was changed, or belongs to another browser or session."""


class OtherSite(PenchantError):
    """A page of another site sent the form."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A client's request while its person fills in forms: its parameters, and when it arrived."""

    parameters: Mapping[str, str]
    asked_at: datetime


class Forms:
    """Seals what a form carries. `owner` is the cookie of the browser or session that alone may send it back."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def token(self, owner: str) -> str:
        """The token against cross-site request forgery in the forms of this owner."""
        return self._signer.sign("sign-in form", _digest(owner))

    def check_token(self, token: str | None, owner: str | None) -> None:
        """Raise Expired unless the token was made for this owner."""
        if not token or not owner:
            raise Expired()
        if not hmac.compare_digest(self._open(token), _digest(owner)):
            raise Expired()

    def seal(self, about: About, pending: Pending, owner: str) -> str:
        """The request as a text that only this owner can send back, for half an hour."""
        carried = {
            "parameters": dict(pending.parameters),
            "asked_at": pending.asked_at.timestamp(),
            "until": (clock.now() + LIFETIME).timestamp(),
            "owner": _digest(owner).hex(),
        }
        return self._signer.seal(about, orjson.dumps(carried))

    def unseal(self, about: About, text: str | None, owner: str | None) -> Pending:
        """The request in a text that was sealed for this owner. Raises Expired for any other text."""
        if not text or not owner:
            raise Expired()
        try:
            carried: dict[str, Any] = orjson.loads(self._signer.unseal(about, text))
        except InvalidInput:
            raise Expired() from None
        if carried["until"] < clock.now().timestamp():
            raise Expired()
        if not hmac.compare_digest(carried["owner"], _digest(owner).hex()):
            raise Expired()
        return Pending(carried["parameters"], datetime.fromtimestamp(carried["asked_at"], UTC))

    def _open(self, token: str) -> bytes:
        try:
            return self._signer.open("sign-in form", token)
        except InvalidInput:
            raise Expired() from None


def check_same_site(headers: Headers, issuer: str) -> None:
    """Raise OtherSite when the browser says that a page of another origin sent this form.

    Our pages have `Referrer-Policy: no-referrer`, with which browsers send `Origin: null`: then, and in old browsers,
    the token of the form decides alone.
    """
    if (site := headers.get("sec-fetch-site")) is not None:
        if site not in ("same-origin", "none"):
            raise OtherSite()
        return
    parts = urlsplit(issuer)
    if headers.get("origin", "null").lower() not in ("null", f"{parts.scheme}://{parts.netloc}".lower()):
        raise OtherSite()


def _digest(owner: str) -> bytes:
    """Not the hash under which a session is stored: this one is in pages."""
    return hashlib.sha256(b"owner of a form\0" + owner.encode()).digest()
