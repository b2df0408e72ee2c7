"""Join a guest to a user: check the permission, then give the user the guest's events."""

from typing import Final

from redis.asyncio import Redis

from core.contract import Person, check_id, check_user_id
from core.errors import Forbidden, InvalidInput, InvalidToken, StoreUnavailable
from core.stores import log_unavailable
from db.cache import move_person
from db.identities import is_only_a_user, join_guest
from db.postgres import Connection
from engine.choices.changing import show_choices
from engine.viewer import TokenVerifier, Viewer

PERSON_SCOPE: Final = "events:write"  # for the viewer's own person
CLIENT_SCOPE: Final = "profiles:write"  # for any person


class NotYours(InvalidInput):
    """The token is not for both of these people."""


class GuestTaken(InvalidInput):
    """The guest is joined to another user already."""


class IsUser(InvalidInput):
    """The anonymous id is the id of a user, who has no guest's events to join."""


async def identify(
    pool: Connection,
    redis: Redis,
    verifier: TokenVerifier,
    viewer: Viewer,
    user_id: str,
    anonymous_id: str,
    guest_token: str | None,
) -> Person:
    """Give the guest's choices and events to the user, also those still in the queue; the next answer uses them.

    A viewer with a person must pass `guest_token`, an access token of the guest. Raises InvalidInput for invalid ids,
    NotYours, IsUser, GuestTaken, and Forbidden for a client without profiles:write.
    """
    user = Person("user", check_user_id(user_id, "userId"))
    guest = Person("guest", check_id(anonymous_id, "anonymousId"))
    await _check_allowed(verifier, viewer, user, guest, guest_token)
    if await is_only_a_user(pool, guest.id):
        raise IsUser(
            "This is the id of a user, not of a guest: nothing was joined. To join two users, use mergeUsers.",
            "anonymousId",
        )
    owner = await join_guest(pool, guest.id, user.id, viewer.client_id)
    if owner is None:
        raise GuestTaken("This guest is joined to another user already.", "anonymousId")
    try:
        await move_person(redis, guest, Person("user", owner))
        await show_choices(pool, redis, Person("user", owner))
    except StoreUnavailable as error:  # a periodic task moves the guest later
        log_unavailable(error, doing="move a guest's recent events")
    return user


async def _check_allowed(
    verifier: TokenVerifier, viewer: Viewer, user: Person, guest: Person, guest_token: str | None
) -> None:
    """A client with the scope may join any two; a person only themselves and a guest whose token they have."""
    if viewer.person is None:
        if CLIENT_SCOPE not in viewer.scopes:
            raise Forbidden(f"This needs the scope {CLIENT_SCOPE}.")
        return
    if viewer.person != user:
        raise NotYours("This token is for another person.", "userId")
    try:
        proof = None if guest_token is None else await verifier.verify(guest_token)
    except InvalidToken:
        proof = None
    if (
        proof is None
        or (proof.person, proof.client_id) != (guest, viewer.client_id)
        or PERSON_SCOPE not in proof.scopes
    ):
        raise NotYours("This needs a valid token of that guest, from the same client.", "anonymousToken")
