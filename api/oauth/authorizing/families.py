"""Codes and refresh tokens: made, looked up, used once. Whoever uses one twice ends its whole family."""

from dataclasses import dataclass
from datetime import timedelta
from secrets import token_urlsafe
from typing import NoReturn

from authlib.oauth2.rfc6749.errors import InvalidGrantError

from api.oauth.blocking_pool import BlockingPool
from core.settings import Tokens
from db.authorizations import (
    Approval,
    Family,
    RefreshToken,
    find_by_code,
    find_by_handle,
    redeem_code,
    revoke_family,
    rotate_refresh_token,
    sha256,
    store_code,
)

CODE_TTL = timedelta(seconds=60)
CLOCKS_DIFFER = timedelta(minutes=1)  # Postgres's from that of a gateway, which dates the access tokens


class Families:
    """The families in Postgres. Blocks: for threads. Everything raises StoreUnavailable.

    A refresh token is HANDLE.SECRET. The handle stays the same while the family is refreshed; only those who held a
    refresh token of it know the handle, so a token with it that is not the current one was used before.
    """

    def __init__(self, pool: BlockingPool, lifetimes: Tokens) -> None:
        self._pool = pool
        self._idle = timedelta(seconds=lifetimes.refresh_idle)
        self._absolute = timedelta(seconds=lifetimes.refresh_absolute)

    def approve(self, approval: Approval) -> str | None:
        """The code of a new family; None when the session in which it was approved has ended."""
        code, family_id = token_urlsafe(32), token_urlsafe(16)
        stored = self._pool.write(
            lambda connection: store_code(connection, family_id, approval, sha256(code), CODE_TTL)
        )
        return code if stored else None

    def of_code(self, code: str) -> Family | None:
        """The family of a code, used or not."""
        return self._pool.read(lambda connection: find_by_code(connection, sha256(code)))

    def of_refresh_token(self, token: str) -> Family | None:
        """The family of a refresh token, used or not."""
        handle, _, secret = token.partition(".")
        return self._pool.read(lambda connection: find_by_handle(connection, sha256(handle))) if secret else None

    def of_valid_refresh_token(self, token: str) -> Family | None:
        """The family of a refresh token that can be used."""
        family = self.of_refresh_token(token)
        if family is None or family.revoked or family.refresh_expired or family.refresh_hash != sha256(token):
            return None
        return family

    def check_code(self, family: Family) -> None:
        """Raise InvalidGrantError for a code that was used, expired or revoked. A used one ends the family."""
        if family.code_used:
            self._refuse_replay(family)
        if family.code_expired or family.revoked or family.user_id is None:
            raise InvalidGrantError("The code has expired or was revoked.")

    def check_refresh_token(self, family: Family, token: str) -> None:
        """Raise InvalidGrantError for a token that was used, expired or revoked. A used one ends the family."""
        if family.refresh_hash != sha256(token):
            self._refuse_replay(family)
        if family.refresh_expired or family.revoked or family.user_id is None:
            raise InvalidGrantError("The refresh token has expired or was revoked.")

    def redeem(self, family: Family, *, refreshable: bool, access_ttl: int) -> str | None:
        """Use the code. Returns the first refresh token, None for a family that is not refreshable.

        Raises InvalidGrantError when another request used the code meanwhile; that ends the family.
        """
        handle = token_urlsafe(16)
        token = f"{handle}.{token_urlsafe(32)}"
        new = self._stored(handle, token) if refreshable else None
        life = timedelta(seconds=access_ttl) + CLOCKS_DIFFER
        if not self._pool.write(lambda connection: redeem_code(connection, family.id, new, life)):
            self._refuse_replay(family)
        return token if refreshable else None

    def rotate(self, family: Family, used: str, *, access_ttl: int) -> str:
        """Use a refresh token. Returns the next one.

        Raises InvalidGrantError when another request used it meanwhile; that ends the family.
        """
        handle = used.partition(".")[0]
        token = f"{handle}.{token_urlsafe(32)}"
        new, life = self._stored(handle, token), timedelta(seconds=access_ttl) + CLOCKS_DIFFER
        if not self._pool.write(
            lambda connection: rotate_refresh_token(connection, family.id, sha256(used), new, life)
        ):
            self._refuse_replay(family)
        return token

    def revoke(self, family_id: str) -> None:
        """End a family."""
        self._pool.read(lambda connection: revoke_family(connection, family_id))

    def _stored(self, handle: str, token: str) -> RefreshToken:
        return RefreshToken(sha256(handle), sha256(token), self._idle, self._absolute)

    def _refuse_replay(self, family: Family) -> NoReturn:
        self.revoke(family.id)
        raise InvalidGrantError("It was used before. All tokens of that sign-in are revoked.")


@dataclass(frozen=True, slots=True)
class Held:
    """A family whose code or refresh token a request holds, as authlib wants it. `token` is the refresh token."""

    family: Family
    token: str = ""

    @property
    def code_challenge(self) -> str:
        """The challenge of the authorization request."""
        return self.family.code_challenge

    def get_redirect_uri(self) -> str:
        """The redirect URI of the authorization request."""
        return self.family.redirect_uri

    def get_scope(self) -> str:
        """What the person approved."""
        return " ".join(self.family.scopes)

    def check_client(self, client: object) -> bool:
        """True: the grants compare the client themselves, before anything else."""
        return True
