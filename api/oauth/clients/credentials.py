"""Client authentication: reads from a request who its client is, and how it wants to prove that."""

from base64 import b64decode
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote_plus

from authlib.oauth2.rfc6749.errors import InvalidRequestError, OAuth2Error

from api.oauth.clients.assertions import ASSERTION_TYPE, BadAssertion, client_of
from api.oauth.clients.registration import CLIENT_ID

METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
METHODS_OF_ALL = ["none", *METHODS]  # public clients too


class BadClient(OAuth2Error):  # type: ignore[misc]  # authlib ships no types
    """The client is unknown, disabled, has another secret, or sent no credentials: one answer for all four."""

    error = "invalid_client"
    description = "Client authentication failed."
    status_code = 401

    def get_headers(self) -> list[tuple[str, str]]:
        """The headers, with the challenge that RFC 6749, section 5.2 requires."""
        return [*super().get_headers(), ("WWW-Authenticate", 'Basic realm="penchant", charset="UTF-8"')]


class Credentials(NamedTuple):
    """The id and secret a client sends. `client_secret_basic` can be read in two ways, so there may be two `secrets`.

    RFC 6749 wants id and secret percent-encoded before Base64, but many clients send them as they are. `assertion` is
    the JWT of private_key_jwt. The method `none` has neither.
    """

    method: str
    client_id: str
    secrets: tuple[str, ...] = ()
    assertion: str = ""


def read_credentials(headers: Mapping[str, str], form: Mapping[str, str]) -> Credentials:
    """The credentials in a request.

    Raises BadClient when the id can be no client's, InvalidRequestError when there are two.
    """
    authorization = headers.get("authorization")
    asserted = "client_assertion" in form or "client_assertion_type" in form
    if (authorization is not None) + ("client_secret" in form) + asserted > 1:
        raise InvalidRequestError("The client must authenticate in one way only.")
    if authorization is not None or asserted:
        credentials = _asserted(form) if authorization is None else _basic(authorization)
        if form.get("client_id", credentials.client_id) != credentials.client_id:
            raise InvalidRequestError("The request has two different client ids.")
        return credentials
    if not CLIENT_ID.fullmatch(form.get("client_id", "")):
        raise BadClient()
    if "client_secret" in form:
        return Credentials("client_secret_post", form["client_id"], (form["client_secret"],))
    return Credentials("none", form["client_id"])


def _asserted(form: Mapping[str, str]) -> Credentials:
    assertion = form.get("client_assertion", "")
    try:
        client_id = client_of(assertion)
    except BadAssertion:
        raise BadClient() from None
    if form.get("client_assertion_type") != ASSERTION_TYPE or not CLIENT_ID.fullmatch(client_id):
        raise BadClient()
    return Credentials("private_key_jwt", client_id, assertion=assertion)


def named_client(headers: Mapping[str, str], form: Mapping[str, str]) -> str | None:
    """The client id that a request names, whoever sends it; None when it names none, or no possible one."""
    try:
        return read_credentials(headers, form).client_id
    except OAuth2Error:
        named = form.get("client_id", "")
        return named if CLIENT_ID.fullmatch(named) else None


def _basic(authorization: str) -> Credentials:
    scheme, _, encoded = authorization.partition(" ")
    try:
        plain_id, _, plain = b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except ValueError:
        raise BadClient() from None
    client_id = unquote_plus(plain_id)
    if scheme.lower() != "basic" or not CLIENT_ID.fullmatch(client_id):
        raise BadClient()
    unescaped = unquote_plus(plain)
    return Credentials("client_secret_basic", client_id, (plain,) if plain == unescaped else (unescaped, plain))
