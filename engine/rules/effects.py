"""What rules do to lists, as arrays by catalogue number. Many rules are folded into as few arrays as one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.catalogue import Catalogue
from engine.rules.rule import Rule
from engine.rules.settings import GREATEST_FACTOR, Per, RuleKind
from ml.masks import Mask, first_allowed
from ml.universe import Universe

MOST_ARRANGING: Final = 10  # rules SLOTS in one list, and as many AT_MOST
MOST_PINS: Final = 10  # for one position: the first of them whose item may be listed is taken
LEADERS: Final = 50  # boosted items that are ranked although nothing of the person names them
_NOBODY: Final = np.zeros(0, np.uint32)


class Bound(NamedTuple):
    """A rule AT_MOST with the items that count; None: all. Of items with the same code there are so many."""

    rule: Rule
    about: Mask | None
    codes: Callable[[NDArray[np.uint32]], NDArray[np.uint32]]


@dataclass(slots=True, eq=False)
class Effects:
    """The effects of some rules on the catalogue of one revision."""

    revision: int
    size: int
    kept: Mask | None = None  # the items that are not excluded
    only: bool = False  # whether items that came later, which `kept` does not know, are excluded
    weights: NDArray[np.float32] | None = None  # logarithms of the factors for the odds of items
    pins: dict[int, list[Rule]] = field(default_factory=dict)  # by position, from 1
    slots: list[tuple[Rule, Mask]] = field(default_factory=list)
    at_most: list[Bound] = field(default_factory=list)
    _leaders: tuple[Universe, NDArray[np.uint32]] | None = None

    @property
    def arranges(self) -> bool:
        """Whether they say where items are, beside how they are ranked."""
        return bool(self.pins or self.slots or self.at_most)

    @property
    def nbytes(self) -> int:
        """The bytes of its arrays by item."""
        masks = [self.kept, *(mask for _, mask in self.slots), *(bound.about for bound in self.at_most)]
        return sum(array.nbytes for array in (self.weights, *masks) if array is not None)

    def copy(self) -> "Effects":
        """The same effects, to be added to."""
        return Effects(
            self.revision,
            self.size,
            None if self.kept is None else self.kept.copy(),
            self.only,
            None if self.weights is None else self.weights.copy(),
            {position: list(rules) for position, rules in self.pins.items()},
            list(self.slots),
            list(self.at_most),
        )

    def add(self, rule: Rule, catalogue: Catalogue, market: str | None) -> None:
        """Add the effect of a rule."""
        kind = rule.says.kind
        if kind is RuleKind.PIN:
            at = self.pins.setdefault(rule.says.position or 1, [])
            at.append(rule)
            if len(at) > 1:
                at.sort(key=_order)
                del at[MOST_PINS:]
        elif kind is RuleKind.SLOTS:
            self.slots.append((rule, self._mask(rule, catalogue, market)))
            self.slots.sort(key=lambda each: each[0].order)
            del self.slots[MOST_ARRANGING:]
        elif kind is RuleKind.AT_MOST:
            about = self._mask(rule, catalogue, market) if rule.chooses else None
            self.at_most.append(Bound(rule, about, _codes_of(rule, catalogue)))
            self.at_most.sort(key=lambda each: each[0].order)
            del self.at_most[MOST_ARRANGING:]
        elif kind is RuleKind.INCLUDE_ONLY:
            mask, self.only = self._mask(rule, catalogue, market), True
            self.kept = mask if self.kept is None else self.kept & mask
        else:
            self._weigh(rule, catalogue, self._numbers(rule, catalogue, market))

    def _weigh(self, rule: Rule, catalogue: Catalogue, numbers: NDArray[np.uint32]) -> None:
        if rule.says.kind is RuleKind.EXCLUDE:
            if self.kept is None:
                self.kept = np.ones(self.size, np.bool_)
            self.kept[numbers] = False
            return
        if self.weights is None:
            self.weights = np.zeros(self.size, np.float32)
        self.weights[numbers] += rule.weights(catalogue, numbers)

    def _numbers(self, rule: Rule, catalogue: Catalogue, market: str | None) -> NDArray[np.uint32]:
        numbers = rule.numbers(catalogue, market)
        return numbers[numbers < self.size]  # the catalogue may have grown meanwhile

    def _mask(self, rule: Rule, catalogue: Catalogue, market: str | None) -> Mask:
        mask = np.zeros(self.size, np.bool_)
        mask[self._numbers(rule, catalogue, market)] = True
        return mask

    def factors_of(self, numbers: NDArray[np.uint32]) -> NDArray[np.float32]:
        """The factor of each item; 1 for one that came later."""
        found = np.zeros(len(numbers), np.float32)
        if self.weights is not None:
            inside = numbers < self.size
            found[inside] = self.weights[numbers[inside]]
        greatest = np.float32(np.log(GREATEST_FACTOR))
        return np.exp(np.clip(found, -greatest, greatest))

    def leaders(self, universe: Universe | None) -> NDArray[np.uint32]:
        """The most popular boosted items."""
        if universe is None or self.weights is None:
            return _NOBODY
        if self._leaders is None or self._leaders[0] is not universe:
            self._leaders = universe, first_allowed(universe.popular_numbers, self.weights > 0, LEADERS)
        return self._leaders[1]


def _codes_of(rule: Rule, catalogue: Catalogue) -> Callable[[NDArray[np.uint32]], NDArray[np.uint32]]:
    """What gives items that a rule AT_MOST counts together the same code, and 0 to those that it does not count."""
    if rule.says.attribute is not None:
        return partial(_codes_in, catalogue.attribute(rule.says.attribute).codes)
    return {Per.BRAND: catalogue.brands, Per.GROUP: catalogue.groups}.get(
        rule.says.per or Per.CATEGORY, catalogue.categories
    )


def _codes_in(codes: NDArray[np.uint32], numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The code of each item; 0 for one that came later."""
    found = np.zeros(len(numbers), np.uint32)
    inside = numbers < len(codes)
    found[inside] = codes[numbers[inside]]
    return found


def _order(rule: Rule) -> tuple[int, str]:
    return rule.order


def fold(
    rules: Sequence[Rule], catalogue: Catalogue, market: str | None, before: Effects | None = None
) -> Iterator[Effects]:
    """The effects of rules, added to those before; the last is complete. Others may run between two of them."""
    effects = Effects(catalogue.revision, catalogue.size) if before is None else before.copy()
    yield effects
    for rule in rules:
        effects.add(rule, catalogue, market)
        yield effects
