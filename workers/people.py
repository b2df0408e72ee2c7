"""What is carried on about people after the answer was given: guests whose last events came late."""

from datetime import datetime, timedelta
from typing import Final

import asyncpg
from redis.asyncio import Redis

from core.contract import Person
from db.cache import move_guest
from db.identities import give_events, settle_identity, unsettled_identities

LANDED: Final = timedelta(seconds=15)  # longer than a statement may take that had not heard of the identity


async def settle_guests(pool: asyncpg.Pool, redis: Redis, now: datetime) -> int:
    """Give users what their guests did and was not theirs yet; returns how many guests are settled now.

    A batch that was being stored while the guest was joined has been missed, as has what a Redis that was away holds.
    """
    settled = 0
    for identity in await unsettled_identities(pool, now - LANDED):
        everything = await give_events(pool, identity.anonymous_id, identity.user_id)
        await move_guest(redis, Person("guest", identity.anonymous_id), Person("user", identity.user_id))
        if everything:
            await settle_identity(pool, identity.anonymous_id)
            settled += 1
    return settled
