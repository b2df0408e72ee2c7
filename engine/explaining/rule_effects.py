"""Which of the shop's rules move an item of a list, or keep it out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine.catalogue.catalogue import Catalogue
from engine.rules.in_force import RulesInForce
from engine.rules.rule import Rule
from engine.rules.settings import RuleKind
from ml.masks import Mask


class RuleEffect(NamedTuple):
    """A rule about the item."""

    rule_id: str
    version: int | None
    kind: RuleKind
    factor: float | None  # that the odds are multiplied by
    position: int | None  # that the item is pinned to


def effects_on(rules: RulesInForce | None, catalogue: Catalogue, number: int) -> list[RuleEffect]:
    """The rules that are about an item, the most important first."""
    if rules is None:
        return []
    about = sorted((rule for rule in rules.all if _is_about(rule, rules, catalogue, number)), key=lambda one: one.order)
    return [
        RuleEffect(
            rule.id,
            rule.version,
            rule.says.kind,
            _factor_of(rule, rules, catalogue, number),
            rule.says.position,
        )
        for rule in about
    ]


def excluding(rules: RulesInForce | None, catalogue: Catalogue, number: int) -> str | None:
    """The id of the first rule that keeps an item out of the list, whatever its score is."""
    kept = rules.effects.kept if rules else None
    if rules is None or kept is None or (kept[number] if number < len(kept) else not rules.effects.only):
        return None
    for rule in sorted(rules.all, key=lambda one: (one.says.kind is RuleKind.INCLUDE_ONLY, *one.order)):
        about = _is_about(rule, rules, catalogue, number)
        if (rule.says.kind is RuleKind.EXCLUDE and about) or (rule.says.kind is RuleKind.INCLUDE_ONLY and not about):
            return rule.id
    return None


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


def _factor_of(rule: Rule, rules: RulesInForce, catalogue: Catalogue, number: int) -> float | None:
    if rule.says.kind not in (RuleKind.BOOST, RuleKind.BURY):
        return None
    if rule.says.attribute is None:
        return rule.factor
    numbers = rule.numbers(catalogue, rules.market)
    return float(np.exp(rule.weights(catalogue, numbers)[numbers == number][0]))


def _is_about(rule: Rule, rules: RulesInForce, catalogue: Catalogue, number: int) -> bool:
    return bool(np.isin(number, rule.numbers(catalogue, rules.market)))
