"""What a person has to do before a client's request is answered (OpenID Connect Core, section 3.1.2)."""

from collections.abc import Set
from datetime import datetime, timedelta
from enum import StrEnum

from api.oauth.authorizing.requests import AuthorizationRequest
from db.sessions import Session


class Step(StrEnum):
    """The next step. The last two are errors of the protocol: the person has something to do, and may not be asked."""

    SIGN_IN = "sign in"
    CONSENT = "consent"
    APPROVE = "approve"
    LOGIN_REQUIRED = "login_required"
    CONSENT_REQUIRED = "consent_required"


def next_step(wanted: AuthorizationRequest, session: Session | None, asked_at: datetime, allowed: Set[str]) -> Step:
    """The next step for a request that arrived at `asked_at`. `allowed` are the scopes of earlier consents."""
    silent = "none" in wanted.prompt
    if session is None or _must_sign_in_again(wanted, session, asked_at):
        return Step.LOGIN_REQUIRED if silent else Step.SIGN_IN
    if wanted.user_hint not in (None, session.user_id):  # another person signed in than the client expects
        return Step.LOGIN_REQUIRED if silent or session.auth_time >= asked_at else Step.SIGN_IN
    allows_all = wanted.client.first_party or set(wanted.scopes) <= allowed
    if "consent" in wanted.prompt or not allows_all or _may_be_another_app(wanted, session, asked_at):
        return Step.CONSENT_REQUIRED if silent else Step.CONSENT
    return Step.APPROVE


def _must_sign_in_again(wanted: AuthorizationRequest, session: Session, asked_at: datetime) -> bool:
    """A session that began after the request is new enough for everything: `prompt=login` asks once."""
    if session.auth_time >= asked_at:
        return False
    if wanted.prompt & {"login", "select_account"}:
        return True
    return wanted.max_age is not None and session.auth_time < asked_at - timedelta(seconds=wanted.max_age)


def _may_be_another_app(wanted: AuthorizationRequest, session: Session, asked_at: datetime) -> bool:
    """Whether another app may have sent a person who has not seen a page for this request (RFC 8252, section 8.6).

    Every app on a person's machine may claim a scheme or listen on loopback, and a public client has nothing that such
    an app would lack. Only its owner answers at an https address.
    """
    proves_itself = not wanted.client.public or wanted.redirect_uri.startswith("https://")
    return not proves_itself and session.auth_time < asked_at
