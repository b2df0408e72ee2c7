"""The segments that a person belongs to, as lists need them: known at once, or none for this answer."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from redis.asyncio import Redis

from core.bounded_cache import BoundedCache
from core.contract import Person
from core.errors import RateLimited, StoreUnavailable
from core.single_flight import SingleFlight
from core.stores import log_unavailable
from db.cache import read_memberships, write_memberships
from db.postgres import Connection
from db.segments import memberships_of

log = structlog.get_logger()

KEPT_FOR: Final = 60.0  # seconds in a process; in Redis they are kept for MEMBERSHIPS_TTL
PATIENCE: Final = 0.2  # seconds after which a list does without them
MOST_READS: Final = 2  # statements of a process at a time
MOST_WAITING: Final = 64  # people whose statement waits for another one
MOST_BYTES: Final = 8 * 2**20  # of all people's
_EACH: Final = 300  # bytes of a person without a segment
NONE: Final = frozenset[str]()


class Memberships:
    """Reads the segments of users: from memory, else from Redis, else from Postgres. Guests belong to none.

    Without Redis, or while Postgres is away or slow, nobody belongs to a segment: lists go on. A statement that
    was begun goes on too, so that the next list has what it found.
    """

    def __init__(self, pool: Connection, redis: Redis) -> None:
        self._pool, self._redis = pool, redis
        self._kept: BoundedCache[Person, frozenset[str]] = BoundedCache(MOST_BYTES, KEPT_FOR)
        self._reads = SingleFlight(self._read)
        self._few, self._waiting = asyncio.Semaphore(MOST_READS), 0

    async def of(self, person: Person) -> frozenset[str]:
        """The ids of the person's segments."""
        if person.kind != "user":
            return NONE
        known = self._kept.find(person)
        if known is not None:
            return known
        found = await self._reads.result_within(person, PATIENCE)
        return NONE if found is None else found[0]

    async def of_many(self, people: Sequence[Person], reads: Connection) -> dict[Person, frozenset[str]]:
        """The segments of each of these users, in one query of `reads`; none while Postgres is away."""
        users = [person for person in people if person.kind == "user"]
        try:
            found = await memberships_of(reads, [person.id for person in users])
        except (StoreUnavailable, RateLimited) as error:
            log.warning("memberships_not_read", error=str(error))
            return {}
        return {person: frozenset(found.get(person.id, ())) for person in users}

    def forget(self, person: Person) -> None:
        """Forget what this process remembers of a person."""
        self._kept.drop(person)

    async def _read(self, person: Person) -> frozenset[str]:
        try:
            names = await read_memberships(self._redis, person)
            if names is None:
                if self._waiting >= MOST_WAITING:
                    return NONE
                self._waiting += 1
                try:
                    async with self._few:
                        names = (await memberships_of(self._pool, [person.id])).get(person.id, [])
                finally:
                    self._waiting -= 1
                await write_memberships(self._redis, person, names)
        except StoreUnavailable as error:
            log_unavailable(error, doing="read the segments of a person")
            return NONE
        except Exception as error:  # perhaps no request waits for it any more
            log.warning("memberships_not_read", error=repr(error))
            return NONE
        found = frozenset(names)
        self._kept.keep(person, found, _EACH + sum(map(len, found)) + 60 * len(found))
        return found
