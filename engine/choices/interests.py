"""What a person seems to be interested in, as they are told: what they often buy, and what they lately looked at."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.contract import Person
from core.turns import OneAtATime
from engine.catalogue.catalogue import Catalogue
from engine.choices.why import is_hidden
from engine.explaining.affinities import Dimension, affinities_of, key_of
from engine.recommending.people import PersonLoader
from engine.recommending.recommendations import Recommender
from ml.state import State

MOST_ITEMS: Final = 3  # of the person's own items that an interest comes from


class Interest(NamedTuple):
    """A category or a brand, and the ids of the person's own items that it comes from, the newest first."""

    key: str
    share: float | None  # of all that they are expected to buy; None where they only looked at it
    items: tuple[str, ...]


async def interests_of(
    person: Person,
    by: Dimension,
    first: int,
    catalogue: Catalogue,
    people: PersonLoader,
    recommender: Recommender,
    turns: OneAtATime,
) -> list[Interest]:
    """At most `first` interests: first what the person buys, the most likely first, then what they looked at.

    Hidden categories are none, and of a person who paused nothing is known.
    """
    state = (await people.state(person)).state
    hidden = set(state.choices.categories) if by is Dimension.CATEGORY else set()
    found = await affinities_of(person, by, first + len(hidden), catalogue, people, recommender, turns)
    own, gone = _own_items(catalogue, state, by)
    interests = [Interest(one.key, one.share, own.pop(one.key, ())) for one in found.affinities]
    interests += [Interest(key, None, items) for key, items in own.items()]
    return [one for one in interests if one.key not in hidden | gone][:first]


def _own_items(catalogue: Catalogue, state: State, by: Dimension) -> tuple[dict[str, tuple[str, ...]], set[str]]:
    """By key, the newest first, the ids of what the person bought or looked at, but for what they hid or dislike.

    Beside them the keys of which all such items are in categories that they hid.
    """
    found, gone = dict[str, tuple[str, ...]](), set[str]()
    for number in _newest_first(state):
        item = catalogue.item(number)
        key = key_of(item, by)
        if item is None or key is None:
            continue
        if is_hidden(state, item):
            gone.add(key)
        elif len(found.setdefault(key, ())) < MOST_ITEMS:
            found[key] = (*found[key], item.id)
    return found, gone - found.keys()


def _newest_first(state: State) -> Iterator[int]:
    items = state.items[~np.isin(state.items["item"], state.disliked)]
    newest: NDArray[np.intp] = np.argsort(-np.maximum(items["last"], items["viewed"]).astype(np.int64), kind="stable")
    yield from items["item"][newest].tolist()
