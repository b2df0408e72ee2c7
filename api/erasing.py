"""Requests about everything held of one person: what it is, and that it be erased."""

from datetime import datetime
from typing import Any, NamedTuple

from api.errors import Forbidden
from api.graphql.context import Gateway
from api.viewer import Viewer
from core import clock
from core.contract import Person, check_id
from db.holdings import holdings_of


class Export(NamedTuple):
    """What was held of a person at a moment."""

    person: Person
    as_of: datetime
    profile: dict[str, Any]


async def export_user(gateway: Gateway, viewer: Viewer, id: str) -> Export:
    """Everything held of a user. Raises InvalidInput for what cannot be an id, Forbidden for a person's token."""
    check_client(viewer)
    person, now = Person("user", check_id(id, "id")), clock.now()
    return Export(person, now, await holdings_of(gateway.pool, person.id))


def check_client(viewer: Viewer) -> None:
    """Raise Forbidden for a person's token, whatever its scopes: whom it is about is the shop's to check."""
    if viewer.person is not None:
        raise Forbidden("This needs a client's own token.")
