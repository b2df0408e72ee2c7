"""People erase themselves, in two steps: a confirmation first, and then the erasure, with a newer token."""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import orjson

from core import clock
from core.contract import Person
from core.errors import Forbidden, InvalidInput
from engine.signing import Signer
from engine.viewer import Viewer

LASTS: Final = timedelta(minutes=10)
_PURPOSE: Final = "forget"


class NotConfirmed(InvalidInput):
    """The confirmation is wrong, of another person, too old, or sent with the token that asked for it."""


class Confirmation(NamedTuple):
    """What the second step sends, and until when."""

    text: str
    expires_at: datetime


def ask_to_forget(signer: Signer, viewer: Viewer) -> Confirmation:
    """The first step: it changes nothing. Raises Forbidden for a client's own token."""
    person = _person_of(viewer)
    expires = int((clock.now() + LASTS).timestamp())
    text = signer.seal(_PURPOSE, orjson.dumps([viewer.client_id, *person, viewer.expires_at, expires]))
    return Confirmation(text, datetime.fromtimestamp(expires, UTC))


def check_confirmed(signer: Signer, viewer: Viewer, confirmation: str) -> Person:
    """The second step: the person who may be erased now. Raises NotConfirmed, and Forbidden as the first step does.

    The token must end later than the one that asked: so it is newer, and whoever holds one token alone erases nobody.
    """
    person = _person_of(viewer)
    try:
        client, kind, id, ended, expires = orjson.loads(signer.unseal(_PURPOSE, confirmation))
    except InvalidInput:
        raise NotConfirmed("This is no confirmation of this server: ask for one.", "confirmation") from None
    if (client, kind, id) != (viewer.client_id, *person):
        raise NotConfirmed("This confirmation is of another person or client.", "confirmation")
    if expires <= clock.now().timestamp():
        raise NotConfirmed("This confirmation is too old: ask for another one.", "confirmation")
    if viewer.expires_at <= ended:
        raise NotConfirmed("Send the confirmation with a newer token of the person.", "confirmation")
    return person


def _person_of(viewer: Viewer) -> Person:
    if viewer.person is None:
        raise Forbidden("This needs the token of a person. A client erases users with eraseUser.")
    return viewer.person
