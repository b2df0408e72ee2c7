"""Authorization requests: what they may say, and the answers that go back to the client by a redirect."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from authlib.oauth2.base import OAuth2Error
from authlib.oauth2.rfc6749.errors import InvalidRequestError, UnsupportedResponseTypeError
from authlib.oidc.core.errors import (
    RegistrationNotSupportedError,
    RequestNotSupportedError,
    RequestURINotSupportedError,
)

from api.oauth.parsed_request import ParsedRequest
from core.contract import check_user_id
from core.errors import PenchantError
from db.authorizations import Approval
from db.clients import Client
from engine.scopes import read_scopes

PROMPTS = ("none", "login", "consent", "select_account")
LONGEST = {"state": 2048, "nonce": 512, "login_hint": 256, "ui_locales": 256, "id_token_hint": 8192}  # characters
REFUSED = {
    "request": RequestNotSupportedError,
    "request_uri": RequestURINotSupportedError,
    "registration": RegistrationNotSupportedError,
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


class UnsafeRedirect(PenchantError):
    """The request names no registered client and redirect URI of it, so nobody may be sent there: answer with 400."""


class RefusedAuthorization(PenchantError):
    """The client's request is refused. `location` is where to send the browser, with the reason."""

    def __init__(self, error: str, location: str) -> None:
        super().__init__(error)
        self.error = error
        self.location = location


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A valid request of a client. `scopes` are those it asks for, or its defaults.

    `user_hint` is the user of its `id_token_hint`: nobody else may be signed in without a page.
    """

    client: Client
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str | None
    code_challenge: str
    nonce: str | None
    prompt: frozenset[str]
    max_age: int | None
    login_hint: str | None
    ui_locales: tuple[str, ...]
    resource: str | None
    user_hint: str | None = None


def authorization_request(request: ParsedRequest, redirect_uri: str, user_hint: str | None) -> AuthorizationRequest:
    """The request in one that authlib has validated."""
    data = request.payload.data
    return AuthorizationRequest(
        client=request.client.record,
        redirect_uri=redirect_uri,
        scopes=read_scopes(request.scope),
        state=data.get("state"),
        code_challenge=data["code_challenge"],
        nonce=data.get("nonce"),
        prompt=read_prompt(data.get("prompt")),
        max_age=read_max_age(data.get("max_age")),
        login_hint=data.get("login_hint"),
        ui_locales=tuple(data.get("ui_locales", "").split()),
        resource=data.get("resource"),
        user_hint=user_hint,
    )


def approval_of(
    request: AuthorizationRequest,
    user_id: str,
    auth_time: datetime,
    scopes: tuple[str, ...],
    session: bytes | None = None,
) -> Approval:
    """What the user approved, as it is stored."""
    return Approval(
        client_id=request.client.id,
        user_id=check_user_id(user_id, "user_id"),
        scopes=scopes,
        auth_time=auth_time,
        redirect_uri=request.redirect_uri,
        code_challenge=request.code_challenge,
        nonce=request.nonce,
        session=session,
    )


def check_parameters(parameters: Mapping[str, str]) -> None:
    """Raise the OAuth2Error for the first parameter that is wrong, unsupported or too long."""
    if "response_type" not in parameters:
        raise InvalidRequestError("response_type is required.")
    if parameters["response_type"] != "code":
        raise UnsupportedResponseTypeError("other than code")
    for name, error in REFUSED.items():
        if name in parameters:
            raise error()
    for name, most in LONGEST.items():
        if not _is_plain(parameters.get(name, ""), most):
            raise InvalidRequestError(f"{name} has more than {most} characters, or control characters.")
    if parameters.get("response_mode", "query") != "query":
        raise InvalidRequestError("response_mode must be query.")
    read_prompt(parameters.get("prompt"))
    read_max_age(parameters.get("max_age"))


def read_prompt(text: str | None) -> frozenset[str]:
    """The values of `prompt`. Raises InvalidRequestError for an unknown one, and for `none` beside another."""
    prompts = frozenset((text or "").split())
    if not prompts <= set(PROMPTS) or ("none" in prompts and len(prompts) > 1):
        raise InvalidRequestError("prompt must be none alone, or some of login, consent and select_account.")
    return prompts


def read_max_age(text: str | None) -> int | None:
    """Seconds since the person last signed in. Raises InvalidRequestError for anything but a number."""
    if text is None:
        return None
    if not _SECONDS.fullmatch(text):
        raise InvalidRequestError("max_age must be a number of seconds.")
    return int(text)


def echoed_state(parameters: Mapping[str, str], repeated: Iterable[str]) -> str | None:
    """The state to send back: none if it was repeated or is not valid itself."""
    state = parameters.get("state")
    fit = state is not None and "state" not in repeated and _is_plain(state, LONGEST["state"])
    return state if fit else None


def describe(error: OAuth2Error) -> str:
    """The text of an error, with the characters that RFC 6749 allows in it: ASCII without quotes and backslashes."""
    return re.sub(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]", "?", str(error.get_error_description() or ""))


def location_of(redirect_uri: str, **parameters: str | None) -> str:
    """The redirect URI as it was registered, with these parameters added; those that are None are left out."""
    query = urlencode({name: value for name, value in parameters.items() if value is not None})
    return redirect_uri + ("&" if "?" in redirect_uri else "?") + query


def _is_plain(text: str, most: int) -> bool:
    return len(text) <= most and not _CONTROL.search(text)
