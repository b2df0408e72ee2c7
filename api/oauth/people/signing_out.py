"""Signing out at a client's request (OpenID Connect RP-Initiated Logout 1.0)."""

from collections.abc import Mapping
from dataclasses import dataclass

from authlib.oauth2.rfc6749.errors import InvalidRequestError

from api.oauth.authorizing.requests import location_of
from api.oauth.lanes import Lane
from api.oauth.people.sessions import Browser
from api.oauth.server import TokenServer
from api.oauth.tokens.id_tokens import IdTokens
from core.errors import PenchantError
from db.authorizations import revoke_families
from db.merged_users import ids_of
from db.postgres import Connection
from db.sessions import Session, end_session


class WrongReturn(PenchantError):
    """The request names an address that its client did not register: nobody may be sent there."""


@dataclass(frozen=True, slots=True)
class SignOut:
    """A request to sign out. `user_hint` and `client_id` are those of a valid ID token, else None."""

    user_hint: str | None = None
    client_id: str | None = None
    return_to: str | None = None


@dataclass(slots=True)
class SigningOut:
    """Reads requests to sign out, and ends sessions."""

    server: TokenServer
    id_tokens: IdTokens
    lane: Lane
    pool: Connection

    async def read(self, parameters: Mapping[str, str], caller: str) -> SignOut:
        """The request in these parameters. An ID token that is not ours counts as left out.

        Raises WrongReturn, InvalidRequestError, StoreUnavailable, Overloaded.
        """
        hint = self.id_tokens.read_hint(parameters.get("id_token_hint", ""))
        client_id = hint.client_id if hint else parameters.get("client_id")
        if hint and parameters.get("client_id", client_id) != client_id:
            raise InvalidRequestError("client_id is not the audience of id_token_hint.")
        return_to = await self._return_to(parameters, client_id, caller)
        return SignOut(hint.user_id, client_id, return_to) if hint else SignOut(return_to=return_to)

    def may_skip_question(self, wanted: SignOut, session: Session) -> bool:
        """Whether the person need not be asked: the client shows an ID token that it got for this very person."""
        return wanted.user_hint == session.user_id

    async def end(self, wanted: SignOut, browser: Browser) -> None:
        """End the browser's session, and with it the tokens of the client that asked, but for those for offline use."""
        if browser.session is None:
            return
        await end_session(self.pool, browser.session.id_hash)
        if self.may_skip_question(wanted, browser.session):
            users = await ids_of(self.pool, browser.session.user_id)
            await revoke_families(self.pool, users, client_id=wanted.client_id, keep_offline=True)

    async def _return_to(self, parameters: Mapping[str, str], client_id: str | None, caller: str) -> str | None:
        """Where to send the browser afterwards. Raises WrongReturn unless the client registered it."""
        uri = parameters.get("post_logout_redirect_uri")
        if uri is None:
            return None
        if client_id is None:
            if "id_token_hint" in parameters:  # one that we cannot read any more: the person stays here
                return None
            raise WrongReturn()
        client = await self.lane.run(("address", caller), self.server.query_client, client_id)
        if client is None or uri not in client.record.post_logout_redirect_uris:
            raise WrongReturn()
        return location_of(uri, state=parameters["state"]) if "state" in parameters else uri
