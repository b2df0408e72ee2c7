"""Checks a login name and a password."""

from dataclasses import dataclass, field

from api.oauth.clients.secrets import matches_hash
from api.oauth.lanes import Lane
from api.oauth.people.accounts import LONGEST_PASSWORD, check_login, login_key, normal_password
from api.oauth.people.guesses import PasswordGuesses
from core.errors import InvalidInput
from db.accounts import Account, find_account
from db.postgres import Connection

THREADS = 1  # of each lane; an argon2 check takes 19 MiB and 30 ms in one
MAX_WAITING = 32  # sign-ins of each lane, running ones included


@dataclass(slots=True)
class Passwords:
    """Checks passwords in two lanes, like the secrets of clients: people go on where they signed in before."""

    pool: Connection
    guesses: PasswordGuesses
    familiar: Lane = field(default_factory=lambda: Lane("people-familiar", THREADS, MAX_WAITING))
    unfamiliar: Lane = field(default_factory=lambda: Lane("people-unfamiliar", THREADS, MAX_WAITING))

    async def account_of(self, login: str, password: str, caller: str) -> Account | None:
        """The enabled account with this login name and password; None, after the same time, for anything else.

        Raises TooManyGuesses, Overloaded, TimeoutError, StoreUnavailable.
        """
        try:
            key = login_key(check_login(login))
        except InvalidInput:
            return None
        if len(password) > LONGEST_PASSWORD:
            return None
        account = await find_account(self.pool, key)
        familiar = await self.guesses.is_familiar(account.id if account else 0, caller)
        counted = await self.guesses.begin(key, caller, familiar=familiar)
        right = True  # whatever else happens is no wrong password
        try:
            right = await self._is_right(account, password, caller, familiar=familiar)
        finally:
            if right:
                await self.guesses.end(counted)
        if account is None or not right:
            return None
        await self.guesses.set_familiar(account.id, caller)
        return account

    def close(self) -> None:
        """Drop the checks that wait."""
        self.familiar.close()
        self.unfamiliar.close()

    async def _is_right(self, account: Account | None, password: str, caller: str, *, familiar: bool) -> bool:
        lane = self.familiar if familiar else self.unfamiliar
        hash = account and account.password_hash
        matches = await lane.run(("address", caller), matches_hash, hash, normal_password(password))
        return matches and account is not None and account.disabled_at is None
