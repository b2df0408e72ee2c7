"""The viewer: who sends a request, as read from the access token."""

from dataclasses import dataclass
from typing import Protocol

from core.contract import Person
from core.errors import Forbidden


@dataclass(frozen=True, slots=True)
class Viewer:
    """The client and the person that an access token names.

    `client_id` is the URL of a foreign issuer where that has no client; no client id has a colon or a slash.
    `person` is None in a client's own token; `expires_at` is in seconds since 1970.
    """

    client_id: str
    scopes: frozenset[str]
    person: Person | None
    expires_at: int

    @property
    def caller(self) -> tuple[str, Person | None]:
        """Whose requests share a bound: the client, and the person if the token names one."""
        return self.client_id, self.person


def check_client(viewer: Viewer) -> None:
    """Raise Forbidden for a person's token, whatever its scopes: the shop must check first who asks."""
    if viewer.person is not None:
        raise Forbidden("This needs a client's own token.")


class TokenVerifier(Protocol):
    """Checks access tokens."""

    async def verify(self, token: str) -> Viewer:
        """The viewer of a token.

        Raises InvalidToken, and StoreUnavailable or KeysUnavailable while tokens cannot be checked.
        """
        ...
