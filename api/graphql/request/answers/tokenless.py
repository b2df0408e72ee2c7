"""Requests without a token, from a CDN: only documents of one configured client that everybody may get."""

from typing import Final

from starlette.types import Scope

from api.graphql.request.answers.public import PublicViewer
from api.http.endpoint import TokenRefused
from api.http.oauth_changes import Copy, OAuthChanges
from api.http.refresher import Refresher
from api.limits.limits import meter_of_address
from db.clients import client_by_id
from db.postgres import Connection
from engine.viewer import Viewer

POLL: Final = 3.0  # seconds between two looks at whether the client has changed
_NO_END: Final = 2**40


class Tokenless(PublicViewer):
    """Whoever sends no token: has the client's scopes, and gets what everybody may get."""

    __slots__ = ()


class TokenlessClient:
    """Admits requests without a token, with the scopes that the client has now. Their addresses pay for them."""

    def __init__(self, pool: Connection, changes: OAuthChanges, client_id: str, *, poll: float = POLL) -> None:
        self._pool, self._changes, self._client_id = pool, changes, client_id
        self._copy = Copy(changes, ("clients",), self._read_client)
        self._viewer: Viewer | None = None
        self._refresher = Refresher("the client without a token", self._read, every=poll)

    async def admit(self, scope: Scope) -> Viewer:
        """The viewer of a request. Raises TokenRefused while there is no such client, and LimitReached."""
        meter = meter_of_address(scope)
        meter.check()
        await self._refresher.refresh()
        if self._viewer is None:
            raise _no_token()
        return self._viewer

    async def close(self) -> None:
        """Stop reading."""
        await self._refresher.close()

    async def _read(self) -> None:
        await self._changes.read()
        await self._copy.renew()

    async def _read_client(self) -> None:
        client = await client_by_id(self._pool, self._client_id)
        if client is None or client.disabled_at is not None:
            self._viewer = None
        else:
            payer = f"{client.id}/tokenless", None  # no client id has a slash: its own requests do not wait for these
            self._viewer = Tokenless(client.id, frozenset(client.scopes), None, _NO_END, payer)


def check_tokenless(viewer: Viewer, allowed: bool) -> None:
    """Raise TokenRefused for a viewer without a token, unless everybody may get the answer as far as is known."""
    if isinstance(viewer, Tokenless) and not allowed:
        raise _no_token()


def _no_token() -> TokenRefused:
    return TokenRefused(b"", "Send an access token: Authorization: Bearer ...")
