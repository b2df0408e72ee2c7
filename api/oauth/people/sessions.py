"""The cookies of a browser: one names the session, one marks a browser in which nobody has signed in yet."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from core import clock
from core.settings import SignIn
from db.accounts import Account
from db.postgres import Connection
from db.sessions import Session, end_session, open_session, use_session

_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Browser:
    """Who sends a request: the value of its own cookie, and the session with the value of that cookie, if any.

    `is_new` says that the browser has no cookie yet: the answer has to set it.
    """

    mark: str
    is_new: bool
    session: Session | None
    session_id: str | None


class Sessions:
    """Opens, finds and ends sessions. Cookies are `Secure`, with the prefix `__Host-`, unless the issuer is http."""

    def __init__(self, pool: Connection, issuer: str, settings: SignIn) -> None:
        self._pool = pool
        self._secure = issuer.startswith("https://")
        self._session_cookie = "__Host-penchant" if self._secure else "penchant_session"
        self._browser_cookie = "__Host-penchant-browser" if self._secure else "penchant_browser"
        self._idle = timedelta(seconds=settings.session_idle)
        self._lifetime = timedelta(seconds=settings.session_lifetime)

    async def browser_of(self, request: Request) -> Browser:
        """The browser that sends a request. Raises StoreUnavailable."""
        mark, id = self._cookie(request, self._browser_cookie), self._cookie(request, self._session_cookie)
        session = None
        if id is not None:
            session = await use_session(self._pool, _hash(id), clock.now(), self._idle, self._lifetime)
        return Browser(mark or _new_value(), mark is None, session, None if session is None else id)

    async def start(self, browser: Browser, account: Account) -> Browser | None:
        """The browser with a new session of this account, in place of the one it had.

        None when the account was disabled or got another password meanwhile.
        """
        id, now = _new_value(), clock.now()
        if not await open_session(self._pool, _hash(id), account.id, account.password_hash, now, self._lifetime):
            return None
        await self.end(browser)
        session = await use_session(self._pool, _hash(id), now, self._idle, self._lifetime)
        return None if session is None else Browser(browser.mark, browser.is_new, session, id)

    async def end(self, browser: Browser) -> None:
        """End the browser's session, if it has one."""
        if browser.session is not None:
            await end_session(self._pool, browser.session.id_hash)

    def set_cookies(self, response: Response, browser: Browser) -> None:
        """Give the browser the cookies it lacks: its mark, and the session that `start` made."""
        if browser.is_new:
            self._set(response, self._browser_cookie, browser.mark, None)

    def set_session(self, response: Response, browser: Browser) -> None:
        """Give the browser the cookie of its new session."""
        if browser.session_id is not None:
            self._set(response, self._session_cookie, browser.session_id, round(self._lifetime.total_seconds()))

    def forget_session(self, response: Response) -> None:
        """Let the browser forget its session's cookie."""
        self._set(response, self._session_cookie, "", 0)

    def _set(self, response: Response, name: str, value: str, max_age: int | None) -> None:
        response.set_cookie(name, value, max_age=max_age, path="/", secure=self._secure, httponly=True, samesite="lax")

    def _cookie(self, request: Request, name: str) -> str | None:
        value = request.cookies.get(name, "")
        return value if _VALUE.fullmatch(value) else None


def _new_value() -> str:
    return secrets.token_urlsafe(32)


def _hash(id: str) -> bytes:
    return hashlib.sha256(id.encode()).digest()
