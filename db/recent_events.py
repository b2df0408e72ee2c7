"""Recent events are written to Redis; a person's base is dropped when Redis missed one of their events."""

from collections.abc import Iterable, Sequence
from typing import Final

from redis.asyncio import Redis

from core.contract import Event, Person
from core.errors import StoreUnavailable
from db.cache import add_recent, forget_bases, forget_bases_of

MOST_MISSED: Final = 100_000  # people; when Redis missed events of more, the bases of all people are dropped


class RecentEventsWriter:
    """Writes the recent events of one process. It remembers people whose events Redis missed.

    Their bases may be older than a missed event, which the delta never gets. So they are dropped as soon as Redis
    answers again: a base that is built from Postgres has every event.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._missed = set[Person]()

    async def add(self, events: Sequence[Event], seen: Sequence[Event] = ()) -> None:
        """What `add_recent` does. Raises StoreUnavailable when Redis missed them."""
        try:
            await add_recent(self._redis, events, seen)
        except StoreUnavailable:
            self.remember_missed(events)
            raise
        await self.drop_outdated()

    def remember_missed(self, events: Iterable[Event]) -> None:
        """Remember that Redis missed these."""
        self.drop_later(event.person for event in events)

    def drop_later(self, people: Iterable[Person]) -> None:
        """Drop the bases of these people as soon as Redis answers: it missed something about them."""
        if len(self._missed) <= MOST_MISSED:
            self._missed.update(people)

    async def drop_outdated(self) -> None:
        """Drop the bases of people whose events Redis missed. Raises StoreUnavailable while Redis is away."""
        if not self._missed:
            return
        missed, self._missed = self._missed, set()
        try:
            if len(missed) > MOST_MISSED:
                await forget_bases(self._redis)
            else:
                await forget_bases_of(self._redis, missed)
        except BaseException:
            self._missed |= missed
            raise
