"""Which of the shop's rules move an item of a list, or keep it out."""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from engine.catalogue.catalogue import Catalogue
from engine.rules.in_force import RulesInForce
from engine.rules.rule import Rule
from engine.rules.settings import RuleKind
from ml.masks import Mask

MOST_TOLD: Final = 100  # rules that an explanation names
PIECE: Final = 20  # rules that are looked at before others run


class RuleEffect(NamedTuple):
    """A rule about the item."""

    rule_id: str
    version: int | None
    kind: RuleKind
    factor: float | None  # that the odds are multiplied by
    position: int | None  # that the item is pinned to


async def rules_about(rules: RulesInForce | None, catalogue: Catalogue, number: int) -> list[Rule]:
    """The rules that are about an item, the most important first. Others run meanwhile: there may be very many."""
    about = list[Rule]()
    for at, rule in enumerate(rules.all if rules else ()):
        await rule.make_ready(catalogue)
        if rules is not None and np.isin(number, rule.numbers(catalogue, rules.market)):
            about.append(rule)
        if at % PIECE == PIECE - 1:
            await asyncio.sleep(0)
    return sorted(about, key=lambda one: one.order)


def effects_on(
    rules: RulesInForce | None, about: Sequence[Rule], catalogue: Catalogue, number: int
) -> list[RuleEffect]:
    """What the rules that are about an item do to it: the MOST_TOLD most important of them."""
    market = rules.market if rules else None
    return [
        RuleEffect(
            rule.id, rule.version, rule.says.kind, _factor_of(rule, market, catalogue, number), rule.says.position
        )
        for rule in about[:MOST_TOLD]
    ]


def excluding(rules: RulesInForce | None, about: Sequence[Rule], number: int) -> str | None:
    """The id of the first rule that keeps an item out of the list, whatever its score is; `about`: those about it."""
    kept = rules.effects.kept if rules else None
    if rules is None or kept is None or (kept[number] if number < len(kept) else not rules.effects.only):
        return None
    excluded = [rule for rule in about if rule.says.kind is RuleKind.EXCLUDE]
    if not excluded:
        names = {rule.id for rule in about}
        only = (rule for rule in rules.all if rule.says.kind is RuleKind.INCLUDE_ONLY and rule.id not in names)
        excluded = sorted(only, key=lambda one: one.order)
    return excluded[0].id if excluded else None


def bounding(rules: RulesInForce | None, catalogue: Catalogue, numbers: Sequence[int], number: int) -> str | None:
    """The id of the first rule of which the list has so many items already that this one is left out."""
    if rules is None or not numbers:
        return None
    for rule, about, codes in rules.effects.at_most:
        if not _counts(about, number):
            continue
        own, *others = codes(np.array([number, *numbers], np.uint32)).tolist()
        counted = [code == own and _counts(about, at) for at, code in zip(numbers, others, strict=True)]
        if own and sum(counted) >= (rule.says.count or 1):
            return rule.id
    return None


def _counts(about: Mask | None, number: int) -> bool:
    """Whether AT_MOST counts an item; not one that came after its mask was made."""
    return about is None or (number < len(about) and bool(about[number]))


def _factor_of(rule: Rule, market: str | None, catalogue: Catalogue, number: int) -> float | None:
    if rule.says.kind not in (RuleKind.BOOST, RuleKind.BURY):
        return None
    if rule.says.attribute is None:
        return rule.factor
    numbers = rule.numbers(catalogue, market)
    return float(np.exp(rule.weights(catalogue, numbers)[numbers == number][0]))
