"""Accepted events in Redis: recent events for the next answers, and seen ids. Best effort: the worker adds them too."""

import asyncio
from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis

from core.contract import Event, Person
from core.errors import StoreUnavailable
from core.stores import log_unavailable
from db import cache
from db.recent_events import RecentEventsWriter

REDIS_PAUSE: Final = 1.0  # seconds without calls to Redis after one failed


class AcceptedEvents:
    """One process's view of the accepted events in Redis. No method raises while Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._recents = RecentEventsWriter(redis)
        self._paused_until = 0.0

    async def seen_digests(self, identities: Sequence[int]) -> list[int | None]:
        """The digest of the event accepted under each identity; None where Redis has none."""
        if identities and self._is_available():
            try:
                return await cache.seen_digests(self._redis, identities)
            except StoreUnavailable as error:
                self._pause(error)
        return [None] * len(identities)

    async def add(self, events: Sequence[Event], with_sender_id: Sequence[Event]) -> None:
        """Add to the recent events; remember the ids of those whose id comes from the sender."""
        if not self._is_available():
            self._recents.remember_missed(events)
            return
        try:
            await self._recents.add(events, with_sender_id)
        except StoreUnavailable as error:
            self._pause(error)

    def drop_base_later(self, person: Person) -> None:
        """Drop a person's base as soon as Redis answers."""
        self._recents.drop_later([person])

    async def drop_outdated_bases(self) -> None:
        """Drop the bases of people whose events Redis missed, so that they are rebuilt from Postgres."""
        if self._is_available():
            try:
                await self._recents.drop_outdated()
            except StoreUnavailable as error:
                self._pause(error)

    def _is_available(self) -> bool:
        return asyncio.get_running_loop().time() >= self._paused_until

    def _pause(self, error: StoreUnavailable) -> None:
        self._paused_until = asyncio.get_running_loop().time() + REDIS_PAUSE
        log_unavailable(error, doing="read and write recent events")
