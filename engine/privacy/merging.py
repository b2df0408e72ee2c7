"""Merge two users who are one person: the old id's events, guests and traits count for the other user from now on."""

from datetime import datetime
from typing import Final

import structlog
from redis.asyncio import Redis

from core.contract import Person, check_user_id
from core.errors import InvalidInput, StoreUnavailable
from core.stores import log_unavailable
from db.cache import move_person
from db.identities import assign_events
from db.merged_users import MOST_MERGED, MergeRefused, lock_owner, merge_into, settle_merge, unsettled_merges
from db.postgres import Connection, Pool, transaction
from engine.choices.changing import show_choices
from engine.privacy.guests import SETTLE_DELAY

log = structlog.get_logger()


class CannotMerge(InvalidInput):
    """An earlier merge contradicts this one, or the user has too many old ids."""


_REFUSED: Final = {
    MergeRefused.CIRCLE: ("intoId was merged into fromId before. The user that stays is fromId.", "intoId"),
    MergeRefused.TAKEN: ("fromId was merged into another user before. Merge that user instead.", "fromId"),
    MergeRefused.TOO_MANY: (f"A user may have at most {MOST_MERGED:,} old ids.", "intoId"),
}


async def merge_users(pool: Connection, redis: Redis, from_id: str, into_id: str, by: str) -> Person:
    """Let everything that is stored or still arrives about one user count for another; returns the user they are now.

    A chain is followed: after "a into b" and "b into c", a is c. Doing it again is harmless. Of a user with very many
    events, a periodic task assigns the rest. Raises InvalidInput for invalid or equal ids, and CannotMerge.
    """
    old = Person("user", check_user_id(from_id, "fromId"))
    if old.id == check_user_id(into_id, "intoId"):
        raise InvalidInput("fromId and intoId are the same user.", "fromId")
    merged = await merge_into(pool, old.id, into_id, by)
    if isinstance(merged, MergeRefused):
        raise CannotMerge(*_REFUSED[merged])
    log.info("users_merged", by=by)
    await _assign(pool, old)
    owner = Person("user", merged)
    try:
        await move_person(redis, old, owner)
        await show_choices(pool, redis, owner)
    except StoreUnavailable as error:  # a periodic task moves them later
        log_unavailable(error, doing="move a merged user's recent events")
    return owner


async def settle_merges(pool: Pool, redis: Redis, now: datetime) -> int:
    """Assign the remaining events of merged users; returns how many merged users are settled now.

    The events were stored during the merge, or were too many, or Redis was away.
    """
    settled = 0
    for merged in await unsettled_merges(pool, now - SETTLE_DELAY):
        old = Person("user", merged.user_id)
        owner, is_all = await _assign(pool, old)
        if owner == old:  # erased since
            continue
        await move_person(redis, old, owner)
        if is_all:
            await settle_merge(pool, merged.user_id)
            settled += 1
    return settled


async def _assign(pool: Connection, old: Person) -> tuple[Person, bool]:
    """Assign some events of an old id; returns the user they belong to now, and whether none is left."""
    async with transaction(pool) as inside:
        owner = Person("user", await lock_owner(inside, old.id))
        return owner, owner == old or await assign_events(inside, old, owner.id)
