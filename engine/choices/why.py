"""Why a person sees an item, as they are told: whether the shop placed it, and what they can do about it."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from core.choices import LONGEST_CATEGORY
from core.errors import InvalidInput
from db.items import Item
from engine.impressions import read_impression
from engine.recommending.pages import Page
from engine.rules.in_force import RulesInForce
from engine.signing import Signer
from ml.ranked import REASON
from ml.state import State


class StopAction(StrEnum):
    """What a person can do so that they do not see an item."""

    HIDE_ITEM = "HIDE_ITEM"
    HIDE_CATEGORY = "HIDE_CATEGORY"
    PAUSE = "PAUSE"


class Stop(NamedTuple):
    """An action, and the category it is about."""

    action: StopAction
    category: str | None = None


def placement_of(signer: Signer, impression: str | None, placement: str | None) -> str:
    """The placement of the list that was shown; `home` where nothing says it. Raises InvalidInput for a wrong id."""
    if impression is None:
        return placement or "home"
    shown = read_impression(signer, impression).placement
    if placement not in (None, shown):
        raise InvalidInput(f"The list with this impressionId was shown at {shown}.", "placement")
    return shown


def is_hidden(state: State, item: Item) -> bool:
    """Whether the person hid the item, or a category of it."""
    return item.id in state.choices.items or not set(state.choices.categories).isdisjoint(item.categories)


def is_placed(rules: RulesInForce | None, page: Page, position: int) -> bool:
    """Whether a rule of the shop put an item of a page there: it is pinned, has a slot, or is ranked higher."""
    number = page.numbers[position]
    if page.reasons[position] == REASON["PINNED"]:
        return True
    if rules is None:
        return False
    effects = rules.effects
    weights = effects.weights
    raised = weights is not None and number < len(weights) and bool(weights[number] > 0)
    return raised or any(number < len(about) and bool(about[number]) for _, about in effects.slots)


def stops_of(item: Item, *, personal: bool) -> Sequence[Stop]:
    """What the person can do: hide the item, or its last category; pause, where the list uses what they did.

    A category with more characters than a person may hide is left out.
    """
    found = [Stop(StopAction.HIDE_ITEM)]
    if item.categories and len(item.categories[-1]) <= LONGEST_CATEGORY:
        found.append(Stop(StopAction.HIDE_CATEGORY, item.categories[-1]))
    return [*found, Stop(StopAction.PAUSE)] if personal else found
