"""What this process keeps of the OAuth tables: it is read again when it has changed, and no more often."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from api.http.refresher import NEVER
from db.oauth_changes import list_changes, oldest_open
from db.postgres import Connection
from db.revocations import PAGE, revoked_families, revoked_tokens

ALL_EVERY: Final = 300.0  # seconds between two reads of everything, which also forget what has expired
KINDS: Final = ("clients", "keys", "issuers")


class OAuthChanges:
    """The ids of revoked tokens and families, and how often other tables have changed, as of the last `read`."""

    def __init__(self, pool: Connection) -> None:
        self._pool = pool
        self.tokens: set[str] = set()
        self.families: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._next = 0  # where to read on
        self._known: list[int] = []  # numbers of the changes that the last read found
        self._all_read_at = NEVER
        self._one_read = asyncio.Lock()

    def counts(self, kinds: tuple[str, ...]) -> tuple[int, ...]:
        """How many reads found that these tables had changed."""
        return tuple(self._counts[kind] for kind in kinds)

    async def read(self) -> None:
        """Read what is new: one statement, unless there is much. Raises StoreUnavailable."""
        async with self._one_read:
            if monotonic() - self._all_read_at >= ALL_EVERY:
                await self._read_all()
                return
            new = await list_changes(self._pool, self._next, self._known)
            if not new.complete:
                await self._read_all()
                return
            self.tokens.update(new.tokens)
            self.families.update(new.families)
            self._counts.update(new.kinds)
            self._next, self._known = new.next, new.numbers

    async def _read_all(self) -> None:
        seen = await list_changes(self._pool, await oldest_open(self._pool))
        tokens, families = set[str](), set[str]()
        async for page in revoked_tokens(self._pool):
            tokens.update(page)
        async for page in revoked_families(self._pool):
            families.update(page)
        old = self.tokens, self.families
        self.tokens, self.families = tokens, families
        self._counts.update(KINDS)
        self._next, self._known, self._all_read_at = seen.next, seen.numbers, monotonic()
        for ids in old:
            await _empty(ids)


async def _empty(ids: set[str]) -> None:
    """Free ids in pieces: at once, 100,000 of them hold the event loop for nine milliseconds."""
    while ids:
        for _ in range(min(len(ids), PAGE)):
            ids.pop()
        await asyncio.sleep(0)


class Copy:
    """What somebody keeps of tables of these kinds. `read` reads it; it is also run every `every` seconds."""

    def __init__(
        self,
        changes: OAuthChanges,
        kinds: tuple[str, ...],
        read: Callable[[], Awaitable[None]],
        *,
        every: float = float("inf"),
    ) -> None:
        self._changes, self._kinds, self._read, self._every = changes, kinds, read, every
        self._counts: tuple[int, ...] | None = None
        self._read_at = NEVER

    async def renew(self) -> None:
        """Read it again if the last `read` of the changes found one, or it is old. Raises StoreUnavailable."""
        counts, now = self._changes.counts(self._kinds), monotonic()
        if counts == self._counts and now - self._read_at < self._every:
            return
        await self._read()
        self._counts, self._read_at = counts, now
