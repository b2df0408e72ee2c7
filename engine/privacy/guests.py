"""Settles guests who became users: gives the user the events and choices stored while the guest was joined."""

from datetime import datetime, timedelta
from typing import Final

from redis.asyncio import Redis

from core.contract import Person
from db.cache import move_person
from db.choices import move_choices
from db.identities import assign_events, identities_of, lock_user, settle_identity, unsettled_identities
from db.postgres import Pool, transaction
from engine.choices.changing import show_choices

SETTLE_DELAY: Final = timedelta(seconds=15)  # longer than a statement that began before the identity was stored


async def settle_guests(pool: Pool, redis: Redis, now: datetime) -> int:
    """Give users the remaining events of their guests; returns how many guests are settled now.

    They were stored during the join, or Redis was away.
    """
    settled = 0
    for identity in await unsettled_identities(pool, now - SETTLE_DELAY):
        async with transaction(pool) as inside:
            await lock_user(inside, identity.user_id)
            if identity not in await identities_of(inside, identity.user_id):  # erased since
                continue
            guest = Person("guest", identity.anonymous_id)
            is_all = await assign_events(inside, guest, identity.user_id)
            await move_choices(inside, guest, identity.user_id)
            await move_person(redis, guest, Person("user", identity.user_id))
            if is_all:
                await settle_identity(inside, identity.anonymous_id)
                settled += 1
        await show_choices(pool, redis, Person("user", identity.user_id))
    return settled
