"""The places of items in a list that rules pin, keep free for some, or bound in number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.catalogue import Catalogue
from engine.rules.effects import Effects
from engine.rules.rule import Rule
from engine.rules.settings import Per
from ml.masks import Mask
from ml.ranked import REASON, Explain, Explained, Ranked

_Select = Callable[[int], Ranked]
_Numbers = NDArray[np.uint32]
LEAST: Final = 32  # items that are read at once


@dataclass(slots=True, eq=False)
class _Bound:
    """A number of items with the same code that a list may have. Items with the code 0 have none."""

    codes: Callable[[_Numbers], _Numbers]
    most: int
    about: Mask | None  # the items that count; None: all
    rule: Rule | None  # None: one item of each variant group
    counts: dict[int, int] = field(default_factory=dict)
    full: set[int] = field(default_factory=set)

    def codes_of(self, numbers: _Numbers) -> _Numbers:
        """The codes of items, 0 for one that does not count."""
        codes = self.codes(numbers)
        return codes if self.about is None else np.where(_in(numbers, self.about), codes, 0)

    def count(self, number: int) -> bool:
        """Count an item of the list; whether there may be no more like it from now on."""
        code = int(self.codes_of(np.array([number], np.uint32))[0])
        if not code:
            return False
        self.counts[code] = self.counts.get(code, 0) + 1
        if self.counts[code] < self.most:
            return False
        self.full.add(code)
        return True

    def allow(self, numbers: _Numbers) -> NDArray[np.bool_]:
        """Which of the items there may be."""
        if not self.full:
            return np.ones(len(numbers), np.bool_)
        return ~np.isin(self.codes_of(numbers), np.array([*self.full], np.uint32))


class _Ranking:
    """The items of a ranking that are not used yet, best first. It is read as far as it is needed."""

    def __init__(self, select: _Select, length: int, shown: _Numbers, catalogue: Catalogue) -> None:
        self._select, self._length, self._shown, self._catalogue = select, length, shown, catalogue
        self.whole = False
        self.read()

    def read(self) -> None:
        """Read it, from its beginning."""
        self.ranked = self._select(self._length)
        self.whole = len(self.ranked.numbers) < self._length
        self.numbers = self.ranked.numbers
        if len(self._shown):
            last = np.isin(self.numbers, self._shown)
            if self._catalogue.has_groups:
                codes = self._catalogue.groups(self.numbers)
                of_shown = self._catalogue.groups(self._shown[self._shown < self._catalogue.size])
                last |= (codes > 0) & np.isin(codes, of_shown)
            self.numbers = self.numbers[np.argsort(last, kind="stable")]

    def read_more(self) -> bool:
        """Read a longer part of it; whether there is one."""
        if self.whole:
            return False
        self._length *= 4
        self.read()
        return True


class Arrangement:
    """Arranges one page of a list.

    A pinned item has its position, if the list may have it at all. Slots take the best items that match, spread over
    each block of places. Of other items, those come in their order of which there are not too many yet. The items of
    the pages before count. Items `shown` elsewhere come after all others.
    """

    def __init__(
        self,
        effects: Effects,
        catalogue: Catalogue,
        allowed: Mask,
        seen: Sequence[int],
        score: Callable[[Mask], _Select],
        shown: _Numbers,
        *,
        collapse: bool,
    ) -> None:
        self._effects, self._catalogue, self._allowed, self._seen = effects, catalogue, allowed, list(seen)
        self._score, self._shown = score, shown
        group = [_Bound(catalogue.groups, 1, None, None)] if collapse and catalogue.has_groups else []
        codes = {Per.BRAND: catalogue.brands, Per.CATEGORY: catalogue.categories}
        self.bounds = [
            _Bound(codes[rule.says.per], rule.says.count or 1, about, rule)
            for rule, about in effects.at_most
            if rule.says.per is not None
        ]
        self._hard, self._all = group, [*group, *self.bounds]
        self._slots = [_Slots(rule, about) for rule, about in effects.slots]
        for at, number in enumerate(self._seen):
            if number < catalogue.size:
                for bound in self._all:
                    bound.count(number)
                self._note(at, number)
        self.pinned = self._pinned()

    def _pinned(self) -> dict[int, int]:
        """By place, from 0: the pinned items of this page and later ones that may be listed."""
        pinned, taken = dict[int, int](), set[int]()
        for position in sorted(self._effects.pins):
            if position <= len(self._seen):
                continue
            for rule in self._effects.pins[position]:
                number = self._catalogue.number_of(rule.says.item_id or "")
                if number is None or number in taken or not _in(np.array([number], np.uint32), self._allowed)[0]:
                    continue
                if all(bound.allow(np.array([number], np.uint32))[0] for bound in self._hard):
                    pinned[position - 1] = number
                    taken.add(number)
                    for bound in self._hard:
                        bound.count(number)
                    break
        return pinned

    def page(self, length: int) -> Ranked:
        """The next items, at most so many."""
        begin, found = len(self._seen), list[int]()
        rest = _Ranking(self._score(self._allowed), length + LEAST + len(self._shown), self._shown, self._catalogue)
        pins = dict(self.pinned)
        self._filter(rest, found)
        while len(found) < length:
            place = begin + len(found)
            number = pins.pop(place, None)
            if number is None:
                number = self._slot(place, found)
            if number is None:
                number = self._next(rest, found)
            if number is None:
                if not pins:
                    break
                number = pins.pop(min(pins))  # the list ends before their places
            self._add(place, number, found, rest)
        return self._ranked(np.array(found, np.uint32), rest.ranked)

    def _add(self, place: int, number: int, found: list[int], rest: _Ranking) -> None:
        is_pin = number in self.pinned.values()
        found.append(number)
        self._note(place, number)
        rest.numbers = rest.numbers[rest.numbers != number]
        for bound in self._all:
            if is_pin and bound in self._hard:
                continue  # counted already
            if bound.count(number):
                rest.numbers = rest.numbers[bound.allow(rest.numbers)]

    def _note(self, place: int, number: int) -> None:
        for slots in self._slots:
            slots.note(place, number)

    def _filter(self, rest: _Ranking, found: Sequence[int]) -> None:
        used = np.array([*found, *self.pinned.values()], np.uint32)
        kept = ~np.isin(rest.numbers, used)
        for bound in self._all:
            kept &= bound.allow(rest.numbers)
        rest.numbers = rest.numbers[kept]

    def _next(self, rest: _Ranking, found: Sequence[int]) -> int | None:
        while not len(rest.numbers):
            if not rest.read_more():
                return None
            self._filter(rest, found)
        return int(rest.numbers[0])

    def _slot(self, place: int, found: Sequence[int]) -> int | None:
        """The item of the first rule whose share of places is due."""
        missing = [slots.missing(place, self.pinned) for slots in self._slots]
        for slots, one in zip(self._slots, missing, strict=True):
            free = sum(later not in self.pinned for later in range(place, slots.end_of(place)))
            if one > 0 and (slots.is_due(place) or free <= sum(max(0, other) for other in missing)):
                number = slots.best(self._score, self._allowed, [*found, *self.pinned.values()], self._hard, self._all)
                if number is not None:
                    return number
        return None

    def _ranked(self, numbers: _Numbers, ranked: Ranked) -> Ranked:
        by_number = np.argsort(ranked.numbers)
        scores = np.full(len(numbers), np.nan, np.float32)
        if len(by_number):
            at = by_number[np.minimum(np.searchsorted(ranked.numbers[by_number], numbers), len(by_number) - 1)]
            ranking = (ranked.numbers[at] == numbers) & ~np.isin(numbers, [*self.pinned.values()])
            scores[ranking] = ranked.scores[at[ranking]]
        return replace(
            ranked, numbers=numbers, scores=_falling(scores), explain=_pinning(ranked.explain, [*self.pinned.values()])
        )


@dataclass(slots=True, eq=False)
class _Slots:
    """Places of each block that are for items that match."""

    rule: Rule
    about: Mask
    placed: dict[int, int] = field(default_factory=dict)  # by block: items that match
    _read: _Numbers | None = None  # the best items that match
    _whole: bool = False  # whether these are all
    _used_up: bool = False

    @property
    def of(self) -> int:
        """Places in a block."""
        return self.rule.says.of or 1

    def note(self, place: int, number: int) -> None:
        """Count an item of the list."""
        if number < len(self.about) and self.about[number]:
            self.placed[place // self.of] = self.placed.get(place // self.of, 0) + 1

    def end_of(self, place: int) -> int:
        """The first place of the next block."""
        return (place // self.of + 1) * self.of

    def missing(self, place: int, pinned: dict[int, int]) -> int:
        """How many items the block of a place still needs, beside those pinned behind the place."""
        later = [number for at, number in pinned.items() if place <= at < self.end_of(place)]
        matching = int(_in(np.array(later, np.uint32), self.about).sum()) if later else 0
        return (self.rule.says.count or 1) - self.placed.get(place // self.of, 0) - matching

    def is_due(self, place: int) -> bool:
        """Whether the items of a block so far have fewer that match than their share."""
        share = (place % self.of + 1) * (self.rule.says.count or 1) // self.of
        return self.placed.get(place // self.of, 0) < share

    def best(
        self,
        score: Callable[[Mask], _Select],
        allowed: Mask,
        used: Sequence[int],
        hard: Sequence[_Bound],
        bounds: Sequence[_Bound],
    ) -> int | None:
        """The best item that matches: one of which there are not too many yet, if there is one near the top."""
        length = 2 * LEAST + len(used)
        while not self._used_up:
            if self._read is None:
                about = np.zeros_like(allowed)
                about[: len(self.about)] = self.about[: len(allowed)]
                self._read = score(allowed & about)(length).numbers
                self._whole = len(self._read) < length
            numbers = self._read[~np.isin(self._read, np.array(used, np.uint32))]
            for bound in hard:
                numbers = numbers[bound.allow(numbers)]
            if len(numbers):
                within = np.ones(len(numbers), np.bool_)
                for bound in bounds:
                    within &= bound.allow(numbers)
                return int(numbers[within][0] if within.any() else numbers[0])
            self._used_up = self._whole
            length, self._read = 4 * length, None
        return None


def arrange(
    effects: Effects | None,
    catalogue: Catalogue,
    allowed: Mask,
    seen: Sequence[int],
    score: Callable[[Mask], _Select],
    shown: _Numbers,
    *,
    collapse: bool,
) -> _Select | None:
    """What selects the items of a page as rules arrange them; None where they arrange nothing."""
    if effects is None or not effects.arranges:
        return None
    return Arrangement(effects, catalogue, allowed, seen, score, shown, collapse=collapse).page


def _in(numbers: _Numbers, mask: Mask) -> NDArray[np.bool_]:
    inside = numbers < len(mask)
    inside[inside] = mask[numbers[inside]]
    return inside


def _falling(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scores of a list that falls: an item without a score has that of the item before, the first ones the next."""
    known = np.flatnonzero(~np.isnan(scores))
    if not len(known):
        return np.zeros_like(scores)
    at = np.maximum(np.searchsorted(known, np.arange(len(scores)), side="right") - 1, 0)
    falling: NDArray[np.float32] = np.minimum.accumulate(scores[known[at]])
    return falling


def _pinning(explain: Explain, pinned: Sequence[int]) -> Explain:
    """The reasons, with PINNED for these items."""

    def explain_all(numbers: _Numbers) -> Explained:
        found = explain(numbers)
        chosen = np.isin(numbers, np.array(pinned, np.uint32))
        found.reasons[chosen], found.because[chosen], found.every[chosen] = REASON["PINNED"], 0, 0
        return found

    return explain_all
