"""What a rule gets in the way of, or is stopped by, as far as it is known when it is saved."""

import asyncio
from collections.abc import Iterable
from enum import StrEnum
from itertools import islice
from typing import Final, NamedTuple

from engine.catalogue.catalogue import Catalogue
from engine.rules.rule import Rule
from engine.rules.settings import RuleKind
from ml.masks import Mask, is_allowed, mask_of

MOST_WARNINGS: Final = 20
MOST_COMPARED: Final = 200  # other rules that are looked at item by item


class ConflictKind(StrEnum):
    """What is wrong between a rule and another one, or the catalogue."""

    PIN_EXCLUDED = "PIN_EXCLUDED"
    SAME_POSITION = "SAME_POSITION"
    MATCHES_NOTHING = "MATCHES_NOTHING"
    LEAVES_NOTHING = "LEAVES_NOTHING"


class Conflict(NamedTuple):
    """A warning: the rule is saved all the same."""

    kind: ConflictKind
    message: str
    rule_id: str | None = None  # of the other rule


async def conflicts_of(rule: Rule, others: Iterable[Rule], catalogue: Catalogue) -> list[Conflict]:
    """What is wrong with a rule among others, as of now. At most MOST_WARNINGS.

    Others run meanwhile: to compare two rules takes up to milliseconds for each market.
    """
    await rule.make_ready(catalogue)
    found = _with_catalogue(rule, catalogue)
    own: dict[str | None, Mask] = {}
    near = (other for other in others if other.id != rule.id and _may_conflict(rule, other) and _may_meet(rule, other))
    for other in islice(near, MOST_COMPARED):
        await asyncio.sleep(0)
        if rule.says.kind is other.says.kind:
            message = f"The rule {other.id} pins an item to this position, too: the first by priority has it."
            found.append(Conflict(ConflictKind.SAME_POSITION, message, other.id))
        elif rule.says.kind is RuleKind.PIN:
            if await _excludes(other, rule, catalogue, {}):
                message = f"The rule {other.id} keeps the item out of lists: it is not pinned there."
                found.append(Conflict(ConflictKind.PIN_EXCLUDED, message, other.id))
        elif await _excludes(rule, other, catalogue, own):
            message = f"The rule {other.id} pins an item that this rule keeps out of lists."
            found.append(Conflict(ConflictKind.PIN_EXCLUDED, message, other.id))
        if len(found) >= MOST_WARNINGS:
            break
    return found


def _with_catalogue(rule: Rule, catalogue: Catalogue) -> list[Conflict]:
    markets = rule.says.when.markets or (None,)
    if any(_leaves_nothing(rule, catalogue, market) for market in markets):
        return [
            Conflict(ConflictKind.LEAVES_NOTHING, "No other item can be bought today: lists where it holds are empty.")
        ]
    every = not rule.chooses and rule.says.kind is not RuleKind.PIN
    if every or any(len(rule.numbers(catalogue, market)) for market in markets):
        return []
    what = "The item is not in the catalogue" if rule.says.kind is RuleKind.PIN else "No item matches"
    empty = ": lists where it holds are empty" if rule.says.kind is RuleKind.INCLUDE_ONLY else ""
    return [Conflict(ConflictKind.MATCHES_NOTHING, f"{what} today{empty}.")]


def _leaves_nothing(rule: Rule, catalogue: Catalogue, market: str | None) -> bool:
    """Whether a rule EXCLUDE leaves no item that can be bought in a market."""
    left = catalogue.sellable(None, market)
    if rule.says.kind is not RuleKind.EXCLUDE or not left.any():
        return False
    left[rule.numbers(catalogue, market)] = False
    return not left.any()


def _may_conflict(rule: Rule, other: Rule) -> bool:
    kinds = {rule.says.kind, other.says.kind}
    if kinds == {RuleKind.PIN}:
        return rule.says.position == other.says.position
    return RuleKind.PIN in kinds and kinds <= {RuleKind.PIN, RuleKind.EXCLUDE, RuleKind.INCLUDE_ONLY}


async def _excludes(rule: Rule, pin: Rule, catalogue: Catalogue, known: dict[str | None, Mask]) -> bool:
    """Whether a rule keeps a pinned item out. `known` has the items that the rule is about by market, and gets them."""
    for market in pin.says.when.markets or rule.says.when.markets or (None,):
        if market not in known:
            await asyncio.sleep(0)
            await rule.make_ready(catalogue)
            known[market] = mask_of(rule.numbers(catalogue, market))
        pinned = pin.numbers(catalogue, market)
        if is_allowed(pinned, known[market]).any() == (rule.says.kind is RuleKind.EXCLUDE):
            return True
    return False


def _may_meet(rule: Rule, other: Rule) -> bool:
    """Whether both may hold for one list."""
    one, two = rule.says.when, other.says.when
    named = (
        (one.placements, two.placements),
        (one.markets, two.markets),
        (one.item_ids, two.item_ids),
        (one.categories, two.categories),
        *([(one.weekdays, two.weekdays)] if one.time_zone == two.time_zone else []),
    )
    together = all(not mine or not theirs or not set(mine).isdisjoint(theirs) for mine, theirs in named)
    return together and rule.start < other.end and other.start < rule.end
