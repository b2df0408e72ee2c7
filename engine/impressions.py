"""The signed ids of shown lists: made with each list, and checked when an event names one."""

from random import getrandbits
from typing import NamedTuple

import orjson

from core.errors import InvalidInput
from engine.recommending.pages import Page
from engine.signing import Signer
from ml.affinity.explorable import DRAWS

_PURPOSE = "impression"


class UnknownImpression(InvalidInput):
    """No list of this server has this impressionId. Send the event without it, or with the id that the list had."""

    def __init__(self) -> None:
        super().__init__(str(self.__doc__), "impressionId")


class Impression(NamedTuple):
    """What the signed id of a list says of it."""

    placement: str
    model: str | None  # the id of the bundle
    as_of: int  # seconds
    before: int  # items on the pages before
    propensities: dict[int, float]  # by position on the page, from 0: how likely its item by chance had that place


def new_impression(signer: Signer, placement: str, model: str | None, page: Page) -> str:
    """The signed id of a list. A random number makes the ids of two equal lists differ."""
    identity = [placement, model, page.pin.as_of, len(page.pin.seen), getrandbits(48)]
    if page.explored:
        identity.append(page.explored)  # type: ignore[arg-type]
    return signer.sign(_PURPOSE, orjson.dumps(identity))


def read_impression(signer: Signer, id: str) -> Impression:
    """The list that has this id. Raises UnknownImpression, as `check_impression`."""
    try:
        placement, model, as_of, before, _, *explored = orjson.loads(signer.open(_PURPOSE, id))
    except InvalidInput:
        raise UnknownImpression() from None
    pairs = explored[0] if explored else []
    return Impression(placement, model, as_of, before, {place: draws / DRAWS for place, draws in pairs})


def check_impression(signer: Signer, id: str) -> None:
    """Raise UnknownImpression for an id that `new_impression` did not make with a secret of this signer."""
    try:
        signer.open(_PURPOSE, id)
    except InvalidInput:
        raise UnknownImpression() from None
