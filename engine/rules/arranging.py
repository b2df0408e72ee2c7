"""The places of items in a list that rules pin, keep free for some, or bound in number."""

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.catalogue import Catalogue
from engine.rules.effects import Effects
from ml.masks import Mask, is_allowed
from ml.ranked import REASON, Explain, Explained, Ranked

_Select = Callable[[int], Ranked]
_Score = Callable[[Mask], _Select]
_Numbers = NDArray[np.uint32]
LEAST: Final = 32  # items that are read at once


@dataclass(slots=True, eq=False)
class _Bound:
    """A number of items with the same code that a list may have. Items with the code 0 have none."""

    codes: Callable[[_Numbers], _Numbers]
    most: int
    about: Mask | None  # the items that count; None: all
    counts: dict[int, int] = field(default_factory=dict)  # by code
    _known: dict[int, int] = field(default_factory=dict)  # codes of items

    def learn(self, numbers: _Numbers) -> None:
        """Look the codes of items up at once: one by one it takes ten times as long."""
        self._known.update(zip(numbers.tolist(), self._codes_of(numbers).tolist(), strict=True))

    def count(self, number: int) -> None:
        """Count an item of the list."""
        code = self._code_of(number)
        if code:
            self.counts[code] = self.counts.get(code, 0) + 1

    def allows(self, number: int) -> bool:
        """Whether there may be one more item like this."""
        code = self._code_of(number)
        return not code or self.counts.get(code, 0) < self.most

    def are_too_many(self, numbers: _Numbers) -> NDArray[np.bool_]:
        """Of each item whether there may be no more like it."""
        reached = [code for code, count in self.counts.items() if count >= self.most]
        if not reached:
            return np.zeros(len(numbers), np.bool_)
        codes = self._codes_of(numbers)
        too_many = np.zeros(max(*reached, int(codes.max(initial=0))) + 1, np.bool_)  # by code
        too_many[reached] = True
        return too_many[codes]

    def _codes_of(self, numbers: _Numbers) -> _Numbers:
        codes = self.codes(numbers)
        return codes if self.about is None else np.where(is_allowed(numbers, self.about), codes, 0)

    def _code_of(self, number: int) -> int:
        code = self._known.get(number)
        if code is None:
            self.learn(np.array([number], np.uint32))
            code = self._known[number]
        return code


class _Ranking:
    """The items of a ranking, best first, of which each is used once. It is read as far as it is needed.

    Items of `last` come after all others.
    """

    def __init__(
        self, score: _Score, allowed: Mask, length: int, bounds: Sequence[_Bound], last: Mask | None = None
    ) -> None:
        self._score, self._allowed, self._length, self._bounds, self._last = score, allowed, length, bounds, last
        self.ranked = score(allowed)(length)
        self._scores = [(self.ranked.numbers, self.ranked.scores)]
        self._take(self.ranked.numbers)

    def best(self, used: Collection[int], bounds: Sequence[_Bound]) -> int | None:
        """The first item that is not used and of which there are not too many.

        What is passed over never comes again: used items stay so, and a bound that is reached stays so.
        """
        while True:
            while self._at < len(self._items):
                if _may_be_next(self._items[self._at], used, bounds):
                    return self._items[self._at]
                self._at += 1
            if not self._read_on(used, bounds):
                return None

    def first_of(self, used: Collection[int], bounds: Sequence[_Bound], about: Mask | None = None) -> int | None:
        """The same among the items that are read, or among those of them in a mask, without passing any over."""
        for number in self._items[self._at :]:
            if (about is None or _is_in(number, about)) and _may_be_next(number, used, bounds):
                return number
        return None

    def scores_of(self, numbers: _Numbers) -> NDArray[np.float32]:
        """The score of each item that was read; NaN for others."""
        found = np.full(len(numbers), np.nan, np.float32)
        for read, scores in self._scores:
            by_number = np.argsort(read)
            if len(read):
                at = by_number[np.minimum(np.searchsorted(read[by_number], numbers), len(read) - 1)]
                known = (read[at] == numbers) & np.isnan(found)
                found[known] = scores[at[known]]
        return found

    def _read_on(self, used: Collection[int], bounds: Sequence[_Bound]) -> bool:
        """Read the next items: of those alone that may be next. False at the end."""
        if self._whole and self._last is None:
            return False
        numbers = np.flatnonzero(self._allowed).astype(np.uint32)
        for bound in bounds:
            numbers = numbers[~bound.are_too_many(numbers)]
        allowed = np.zeros_like(self._allowed)
        allowed[numbers] = True
        allowed[list(used)] = False
        if self._last is not None:
            allowed &= self._last if self._whole else ~self._last
            self._last = None if self._whole else self._last
        self._length *= 2
        ranked = self._score(allowed)(self._length)
        self._scores.append((ranked.numbers, ranked.scores))
        self._take(ranked.numbers)
        return True

    def _take(self, numbers: _Numbers) -> None:
        self._whole = len(numbers) < self._length
        if self._last is not None:
            numbers = numbers[~self._last[numbers]]
        for bound in self._bounds:
            bound.learn(numbers)
        self._items: list[int] = numbers.tolist()
        self._at = 0


def _may_be_next(number: int, used: Container[int], bounds: Sequence[_Bound]) -> bool:
    if number in used:
        return False
    for bound in bounds:  # noqa: SIM110 - all() takes twice as long, for each place of each list
        if not bound.allows(number):
            return False
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
        score: _Score,
        shown: _Numbers,
        *,
        collapse: bool,
    ) -> None:
        self._effects, self._catalogue, self._allowed, self._begin = effects, catalogue, allowed, len(seen)
        self._score, self._shown, self._last = score, shown, self._shown_elsewhere(shown)
        self._hard = [_Bound(catalogue.groups, 1, None)] if collapse and catalogue.has_groups else []
        at_most = [_Bound(codes, rule.says.count or 1, about) for rule, about, codes in effects.at_most]
        self._all = [*self._hard, *at_most]
        self._slots = [_Slots(rule.says.count or 1, rule.says.of or 1, about) for rule, about in effects.slots]
        known = np.array([number for number in seen if number < catalogue.size], np.uint32)
        for bound in self._all:
            bound.learn(known)
        for at, number in enumerate(seen):
            if number < catalogue.size:
                self._note(at, number, self._all)
        self._pinned = self._pins()
        self._pinned_items = set(self._pinned.values())

    def _pins(self) -> dict[int, int]:
        """By place, from 0: the pinned items of this page and later ones that may be listed."""
        pinned, taken = dict[int, int](), set[int]()
        for position in sorted(self._effects.pins):
            if position <= self._begin:
                continue
            for rule in self._effects.pins[position]:
                number = self._catalogue.number_of(rule.says.item_id or "")
                if number is None or number in taken or number >= len(self._allowed) or not self._allowed[number]:
                    continue
                if all(bound.allows(number) for bound in self._hard):
                    pinned[position - 1] = number
                    taken.add(number)
                    for bound in self._hard:
                        bound.count(number)
                    break
        return pinned

    def page(self, length: int) -> Ranked:
        """The next items, at most so many."""
        rest = _Ranking(self._score, self._allowed, length + LEAST + len(self._shown), self._all, self._last)
        pins, found, used = dict(self._pinned), list[int](), set(self._pinned_items)
        placed = set(self._pinned_items)  # by rules
        while len(found) < length:
            place = self._begin + len(found)
            number = pins.pop(place, None)
            if number is None:
                number = self._slot(place, used, rest)
                placed.update([] if number is None else [number])
            if number is None:
                number = rest.best(used, self._all)
            if number is None:
                if not pins:
                    break
                number = pins.pop(min(pins))  # the list ends before their places
            found.append(number)
            used.add(number)
            self._note(place, number, self._all[len(self._hard) :] if number in self._pinned_items else self._all)
        return self._ranked(np.array(found, np.uint32), rest, placed)

    def _note(self, place: int, number: int, bounds: Sequence[_Bound]) -> None:
        for slots in self._slots:
            slots.note(place, number)
        for bound in bounds:
            bound.count(number)

    def _shown_elsewhere(self, shown: _Numbers) -> Mask | None:
        """The items that are shown elsewhere, and their variants."""
        if not len(shown):
            return None
        last, shown = np.zeros_like(self._allowed), shown[shown < self._catalogue.size]
        last[shown] = True
        if self._catalogue.has_groups:
            last[self._catalogue.variants_of(shown)] = True
        return last

    def _slot(self, place: int, used: Collection[int], rest: _Ranking) -> int | None:
        """The item of the first rule whose share of places is due."""
        missing = [(slots, one) for slots in self._slots if (one := slots.missing(place, self._pinned)) > 0]
        for slots, _ in missing:
            if slots.is_due(place) or self._free(place, slots) <= sum(one for _, one in missing):
                number = rest.first_of(
                    used, self._all, slots.about
                )  # reading a ranking of its own costs a quarter more
                if number is None:
                    number = slots.best(self._matching, used, self._hard, self._all)
                if number is not None:
                    return number
        return None

    def _free(self, place: int, slots: "_Slots") -> int:
        """The places of a block, from one on, without a pin."""
        return sum(later not in self._pinned for later in range(place, slots.end_of(place)))

    def _matching(self, about: Mask) -> _Ranking:
        """The ranking of the items that match."""
        mask = np.zeros_like(self._allowed)
        mask[: len(about)] = about[: len(self._allowed)]
        return _Ranking(self._score, self._allowed & mask, 2 * LEAST + len(self._pinned), self._all, self._last)

    def _ranked(self, numbers: _Numbers, rest: _Ranking, placed: Container[int]) -> Ranked:
        """The list; what rules `placed` in it is not there by chance."""
        scores, ranked = rest.scores_of(numbers), rest.ranked
        scores[_are_in(numbers, self._pinned_items)] = np.nan
        explain = _pinning(ranked.explain, self._pinned_items) if self._pinned_items else ranked.explain
        chosen = {number: draws for number, draws in ranked.chosen.items() if number not in placed}
        return replace(ranked, numbers=numbers, scores=_falling(scores), explain=explain, chosen=chosen)


@dataclass(slots=True, eq=False)
class _Slots:
    """Places of each block that are for items that match."""

    count: int
    of: int  # places in a block
    about: Mask
    placed: dict[int, int] = field(default_factory=dict)  # by block: items that match
    _best: _Ranking | None = None  # of the items that match

    def note(self, place: int, number: int) -> None:
        """Count an item of the list."""
        if self._matches(number):
            self.placed[place // self.of] = self.placed.get(place // self.of, 0) + 1

    def end_of(self, place: int) -> int:
        """The first place of the next block."""
        return (place // self.of + 1) * self.of

    def missing(self, place: int, pinned: Mapping[int, int]) -> int:
        """How many items the block of a place still needs, beside those pinned behind the place."""
        missing = self.count - self.placed.get(place // self.of, 0)
        if missing > 0 and pinned:
            end = self.end_of(place)
            missing -= sum(self._matches(number) for at, number in pinned.items() if place <= at < end)
        return missing

    def is_due(self, place: int) -> bool:
        """Whether the items of a block so far have fewer that match than their share."""
        share = (place % self.of + 1) * self.count // self.of
        return self.placed.get(place // self.of, 0) < share

    def best(
        self,
        matching: Callable[[Mask], _Ranking],
        used: Collection[int],
        hard: Sequence[_Bound],
        bounds: Sequence[_Bound],
    ) -> int | None:
        """The best item that matches: one of which there are not too many yet, if there is one near the top."""
        if self._best is None:
            self._best = matching(self.about)
        best = self._best.best(used, hard)
        return best if best is None else self._best.first_of(used, bounds) or best

    def _matches(self, number: int) -> bool:
        return _is_in(number, self.about)


def arrange(
    effects: Effects | None,
    catalogue: Catalogue,
    allowed: Mask,
    seen: Sequence[int],
    score: _Score,
    shown: _Numbers,
    *,
    collapse: bool,
) -> _Select | None:
    """What selects the items of a page as rules arrange them; None where they arrange nothing."""
    if effects is None or not effects.arranges:
        return None
    return Arrangement(effects, catalogue, allowed, seen, score, shown, collapse=collapse).page


def _is_in(number: int, mask: Mask) -> bool:
    return number < len(mask) and bool(mask[number])


def _falling(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scores of a list that falls: an item without a score has that of the item before, the first ones the next."""
    known = np.flatnonzero(~np.isnan(scores))
    if not len(known):
        return np.zeros_like(scores)
    at = np.maximum(np.searchsorted(known, np.arange(len(scores)), side="right") - 1, 0)
    falling: NDArray[np.float32] = np.minimum.accumulate(scores[known[at]])
    return falling


def _are_in(numbers: _Numbers, few: Container[int]) -> NDArray[np.bool_]:
    return np.array([number in few for number in numbers.tolist()], np.bool_)


def _pinning(explain: Explain, pinned: Container[int]) -> Explain:
    """The reasons, with PINNED for these items."""

    def explain_all(numbers: _Numbers) -> Explained:
        found = explain(numbers)
        chosen = _are_in(numbers, pinned)
        found.reasons[chosen], found.because[chosen], found.every[chosen] = REASON["PINNED"], 0, 0
        return found

    return explain_all
