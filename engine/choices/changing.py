"""Hide items and categories, show them again, and pause personal lists: for oneself, or for a user of the shop."""

from collections.abc import Callable
from typing import Final, Protocol

from redis.asyncio import Redis

from core import clock
from core.choices import Choices, check_category
from core.contract import Person, check_id, check_user_id
from core.errors import Forbidden, InvalidInput, StoreUnavailable
from core.stores import log_unavailable
from db.cache import write_choices
from db.choices import change_choices, choices_of
from db.merged_users import lock_owner
from db.postgres import Connection, transaction
from engine.viewer import Viewer

CLIENT_SCOPE: Final = "profiles:write"  # of a client that chooses for any user

Change = Callable[[Choices], Choices]


class NotYours(InvalidInput):
    """The token is of another person."""


class Lists(Protocol):
    """What has to know of a choice, beside Postgres: a gateway."""

    @property
    def redis(self) -> Redis:
        """The Redis client."""

    def drop_base_later(self, person: Person) -> None:
        """Drop the person's base as soon as Redis answers: it missed a choice."""


def hiding_item(id: str) -> Change:
    """Hide an item, whether or not the catalogue has it now. Raises InvalidInput for what cannot be an id."""
    item = check_id(id, "itemId")
    return lambda choices: choices.hiding(item=item)


def showing_item(id: str) -> Change:
    """Show an item again. Raises InvalidInput for what cannot be an id."""
    item = check_id(id, "itemId")
    return lambda choices: choices.showing(item=item)


def hiding_category(name: str) -> Change:
    """Hide all items of a category. Raises InvalidInput for a name that is too long."""
    category = check_category(name)
    return lambda choices: choices.hiding(category=category)


def showing_category(name: str) -> Change:
    """Show the items of a category again. Raises InvalidInput for a name that is too long."""
    category = check_category(name)
    return lambda choices: choices.showing(category=category)


def pausing(paused: bool) -> Change:
    """Let lists be as if nothing were known of the person, or let them be personal again."""
    now = clock.now()
    return lambda choices: choices._replace(paused_since=(choices.paused_since or now) if paused else None)


async def choose(pool: Connection, lists: Lists, viewer: Viewer, user_id: str | None, change: Change) -> Person:
    """Change what the viewer's person chose, or for a client what this user chose; returns the person.

    The next list follows it, at any gateway. Raises InvalidInput, NotYours for another person than the token's,
    TooManyHidden, and Forbidden for a client without profiles:write.
    """
    person = _whose(viewer, user_id)
    async with transaction(pool) as inside:
        owner = person
        if person.kind == "user":
            owner = Person("user", await lock_owner(inside, person.id))
        choices = await change_choices(inside, owner, change)
    await _show(lists.redis, owner, choices, lists.drop_base_later)
    return person


async def show_choices(pool: Connection, redis: Redis, person: Person) -> None:
    """Let the next lists follow what a person chose, after a guest or an old id was joined to them.

    Raises StoreUnavailable.
    """
    for chooser, choices in (await choices_of(pool, [person])).items():
        await write_choices(redis, chooser, choices)


async def _show(redis: Redis, person: Person, choices: Choices, drop_later: Callable[[Person], None]) -> None:
    try:
        await write_choices(redis, person, choices)
    except StoreUnavailable as error:
        log_unavailable(error, doing="write a person's choices to Redis")
        drop_later(person)


def _whose(viewer: Viewer, user_id: str | None) -> Person:
    """The person of the token, or the user that a client with the scope names."""
    if viewer.person is not None:
        if user_id is not None and viewer.person != Person("user", user_id):
            raise NotYours("This token is for another person.", "userId")
        return viewer.person
    if CLIENT_SCOPE not in viewer.scopes:
        raise Forbidden(f"This needs the scope {CLIENT_SCOPE}.")
    if user_id is None:
        raise InvalidInput("A client's own token has to say for whom: userId is missing.", "userId")
    return Person("user", check_user_id(user_id, "userId"))
