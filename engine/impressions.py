"""The signed ids of shown lists: made with each list, and checked when an event names one."""

from random import getrandbits

import orjson

from core.errors import InvalidInput
from engine.recommending.pages import Page
from engine.signing import Signer

_PURPOSE = "impression"


class UnknownImpression(InvalidInput):
    """No list of this server has this impressionId. Send the event without it, or with the id that the list had."""

    def __init__(self) -> None:
        super().__init__(str(self.__doc__), "impressionId")


def new_impression(signer: Signer, placement: str, model: str | None, page: Page) -> str:
    """The signed id of a list. A random number makes the ids of two equal lists differ."""
    identity = [placement, model, page.pin.as_of, len(page.pin.seen), getrandbits(48)]
    return signer.sign(_PURPOSE, orjson.dumps(identity))


def read_impression(signer: Signer, id: str) -> str:
    """The placement of the list with this id. Raises UnknownImpression as `check_impression` does."""
    try:
        placement: str = orjson.loads(signer.open(_PURPOSE, id))[0]
    except InvalidInput:
        raise UnknownImpression() from None
    return placement


def check_impression(signer: Signer, id: str) -> None:
    """Raise UnknownImpression for an id that `new_impression` did not make with a secret of this signer."""
    try:
        signer.open(_PURPOSE, id)
    except InvalidInput:
        raise UnknownImpression() from None
