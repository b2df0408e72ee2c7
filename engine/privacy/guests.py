"""What is carried on about people after the answer was given: guests whose last events came late."""

from datetime import datetime, timedelta
from typing import Final

import asyncpg
from redis.asyncio import Redis

from core.contract import Person
from db.cache import move_guest
from db.identities import assign_events, identities_of, lock_user, settle_identity, unsettled_identities
from db.postgres import transaction

LANDED: Final = timedelta(seconds=15)  # longer than a statement may take that had not heard of the identity


async def settle_guests(pool: asyncpg.Pool, redis: Redis, now: datetime) -> int:
    """Give users what their guests did and was not theirs yet; returns how many guests are settled now.

    A batch that was being stored while the guest was joined has been missed, as has what a Redis that was away holds.
    """
    settled = 0
    for identity in await unsettled_identities(pool, now - LANDED):
        async with transaction(pool) as inside:
            await lock_user(inside, identity.user_id)
            if identity not in await identities_of(inside, identity.user_id):  # erased since
                continue
            everything = await assign_events(inside, identity.anonymous_id, identity.user_id)
            await move_guest(redis, Person("guest", identity.anonymous_id), Person("user", identity.user_id))
            if everything:
                await settle_identity(inside, identity.anonymous_id)
                settled += 1
    return settled
