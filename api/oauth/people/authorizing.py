"""Leads a person through the steps that a client's request needs, to the answer that goes back to the client."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response

from api.oauth.authorizing.requests import AuthorizationRequest
from api.oauth.lanes import Lane
from api.oauth.people.forms import Expired, Forms, Pending
from api.oauth.people.pages import Asking, redirect
from api.oauth.people.sessions import Browser
from api.oauth.people.steps import Step, next_step
from api.oauth.server import TokenServer
from db.consents import allow_scopes, allowed_scopes
from db.postgres import Connection
from db.sessions import Session


@dataclass(slots=True)
class Authorizing:
    """The steps of one gateway process. `base` is the path before the paths of our pages."""

    server: TokenServer
    lane: Lane
    pool: Connection
    forms: Forms
    base: str

    async def read(self, pending: Pending, caller: str, repeated: Collection[str] = ()) -> AuthorizationRequest:
        """The valid request. Raises UnsafeRedirect, RefusedAuthorization, StoreUnavailable, Overloaded."""
        return await self.lane.run(
            ("address", caller), self.server.read_authorization, dict(pending.parameters), repeated
        )

    async def go_on(
        self, browser: Browser, pending: Pending, caller: str, repeated: Collection[str] = (), status: int = 303
    ) -> Response:
        """Send the browser to the next page, or with the answer to the client. Raises like `read`."""
        wanted, session = await self.read(pending, caller, repeated), browser.session
        allowed = await allowed_scopes(self.pool, session.account, wanted.client.id) if session else frozenset()
        step = next_step(wanted, session, pending.asked_at, allowed)
        if step is Step.SIGN_IN:
            return redirect(self.base + self.sign_in_path(browser, pending), status)
        if session is None or step in (Step.LOGIN_REQUIRED, Step.CONSENT_REQUIRED):
            return redirect(self.server.refuse_authorization(wanted, step.value), status)
        if step is Step.CONSENT:
            sealed = self.forms.seal("authorization request", pending, browser.session_id or "")
            return redirect(f"{self.base}/oauth/consent?request={sealed}", status)
        return redirect(await self._approve(wanted, session, caller), status)

    async def allow(self, browser: Browser, pending: Pending, caller: str) -> Response:
        """Remember the consent, and send the browser back with a code. Raises Expired, and like `read`."""
        wanted, session = await self.read(pending, caller), browser.session
        if session is None:
            raise Expired()
        await allow_scopes(self.pool, session.account, wanted.client.id, wanted.scopes)
        return redirect(await self._approve(wanted, session, caller))

    async def deny(self, pending: Pending, caller: str) -> Response:
        """Send the browser back: the person does not want it. Raises like `read`."""
        return redirect(self.server.refuse_authorization(await self.read(pending, caller), "access_denied"))

    def sign_in_path(self, browser: Browser, pending: Pending) -> str:
        """Where the person signs in for this request, below `base`."""
        return f"/login?request={self.forms.seal('authorization request', pending, browser.mark)}"

    def asking(self, wanted: AuthorizationRequest, sealed: str, owner: str) -> Asking:
        """What a form about this request sends back."""
        name = wanted.client.name or wanted.client.id
        return Asking(self.forms.token(owner), sealed, name, wanted.redirect_uri)

    async def _approve(self, wanted: AuthorizationRequest, session: Session, caller: str) -> str:
        """Where to send the browser, with a code for all scopes of the request."""
        approve = partial(self.server.approve, wanted, session.user_id, session.auth_time, wanted.scopes)
        return await self.lane.run(("address", caller), approve, session.id_hash)
