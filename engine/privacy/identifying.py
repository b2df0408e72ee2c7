"""A guest turns out to be a user: who may say so, and what changes at once."""

from typing import Final

import structlog
from asyncpg import Pool
from redis.asyncio import Redis

from core.contract import Person, check_id
from core.errors import Forbidden, InvalidInput, InvalidToken, StoreUnavailable
from core.stores import log_unavailable
from db.cache import move_guest
from db.identities import join_guest
from engine.viewer import TokenVerifier, Viewer

log = structlog.get_logger()

WRITE: Final = "events:write"
FOR_ANYONE: Final = "profiles:write"


class NotYours(InvalidInput):
    """The token does not speak for both."""


class Taken(InvalidInput):
    """The guest is another user already."""


async def identify(
    pool: Pool,
    redis: Redis,
    verifier: TokenVerifier,
    viewer: Viewer,
    user_id: str,
    anonymous_id: str,
    proof: str | None,
) -> Person:
    """Give the guest's events, those still in the queue too, to the user; the next answer uses them.

    `proof` is an access token of the guest, which a person's own token needs. Raises InvalidInput for wrong ids,
    NotYours, Taken, and Forbidden for a client without profiles:write.
    """
    user, guest = Person("user", check_id(user_id, "userId")), Person("guest", check_id(anonymous_id, "anonymousId"))
    await _check_speaks_for(verifier, viewer, user, guest, proof)
    if not await join_guest(pool, guest.id, user.id, viewer.client_id):
        raise Taken("This guest was identified as another user.", "anonymousId")
    try:
        await move_guest(redis, guest, user)
    except StoreUnavailable as error:  # the chores settle it
        log_unavailable(error, doing="move a guest's recent events")
    return user


async def _check_speaks_for(
    verifier: TokenVerifier, viewer: Viewer, user: Person, guest: Person, proof: str | None
) -> None:
    """A client speaks for anyone; a person for themselves, and for the guest whose token they hold as well."""
    if viewer.person is None:
        if FOR_ANYONE not in viewer.scopes:
            raise Forbidden(f"This needs the scope {FOR_ANYONE}.")
        return
    if viewer.person != user:
        raise NotYours("This token speaks for another person.", "userId")
    try:
        proven = None if proof is None else await verifier.verify(proof)
    except InvalidToken:
        proven = None
    if proven is None or (proven.person, proven.client_id) != (guest, viewer.client_id) or WRITE not in proven.scopes:
        raise NotYours("This needs a valid token of that guest, from the same client.", "anonymousToken")
