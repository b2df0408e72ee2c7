"""Fresh events told to Redis, and what becomes of those it could not be told of."""

from collections.abc import Iterable, Sequence
from typing import Final

from redis.asyncio import Redis

from core.contract import Event, Person
from core.errors import StoreUnavailable
from db.cache import add_recent, forget_bases, forget_bases_of

MOST_UNTOLD: Final = 100_000  # people; of more than these, everybody is remembered


class Recents:
    """One process's way to tell. Of whom Redis missed an event, the base is dropped as soon as it listens again.

    It may be older than the event, which its delta will never hold: built anew, it has what Postgres has.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._untold = set[Person]()

    async def tell(self, events: Sequence[Event]) -> None:
        """Add to the recent events of everybody among these. Raises StoreUnavailable when Redis missed them."""
        try:
            await add_recent(self._redis, events)
        except StoreUnavailable:
            self.miss(events)
            raise
        await self.make_up()

    def miss(self, events: Iterable[Event]) -> None:
        """Remember that Redis was not told of these."""
        if len(self._untold) <= MOST_UNTOLD:
            self._untold.update(event.person for event in events)

    async def make_up(self) -> None:
        """Drop the bases of whom Redis missed an event. Raises StoreUnavailable while Redis is away."""
        if not self._untold:
            return
        untold, self._untold = self._untold, set()
        try:
            if len(untold) > MOST_UNTOLD:
                await forget_bases(self._redis)
            else:
                await forget_bases_of(self._redis, untold)
        except BaseException:
            self._untold |= untold
            raise
