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
    if "consent" in wanted.prompt or not (wanted.client.first_party or set(wanted.scopes) <= allowed):
        return Step.CONSENT_REQUIRED if silent else Step.CONSENT
    return Step.APPROVE


def _must_sign_in_again(wanted: AuthorizationRequest, session: Session, asked_at: datetime) -> bool:
    """A session that began after the request is new enough for everything: `prompt=login` asks once."""
    if session.auth_time >= asked_at:
        return False
    if wanted.prompt & {"login", "select_account"}:
        return True
    return wanted.max_age is not None and session.auth_time < asked_at - timedelta(seconds=wanted.max_age)
