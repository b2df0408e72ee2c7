"""The rules that hold for one kind of list: all of a placement and a market, and those of the page."""

import asyncio
from collections.abc import Sequence
from hashlib import blake2b
from time import monotonic
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.catalogue import Catalogue
from engine.rules.effects import Effects, fold
from engine.rules.rule import Rule
from ml.affinity.boosting import boost, with_candidates
from ml.affinity.ranking import PersonView, Scored
from ml.masks import Mask

TURN: Final = 0.01  # seconds that rules are folded before others run
FEW: Final = 200  # rules that are folded again with each change of the catalogue
REST: Final = 10  # times as long as it took to fold many rules, they are not folded again
LASTS: Final = 600.0  # seconds, after which rules are folded again: items do not stay new
_NOBODY: Final = np.zeros(0, np.uint32)


class RulesInForce:
    """Some rules in one market, the most important first. Equal to any other object with the same ones.

    `base` has those of all pages of the placement: their effects are shared.
    """

    def __init__(self, rules: Sequence[Rule], market: str | None, base: "RulesInForce | None" = None) -> None:
        self.rules, self.market, self._base = tuple(rules), market, base
        self._hash = hash((self.rules, market, base))
        named = repr((market, base and base.identity, [rule.serial for rule in rules])).encode()
        self.identity: bytes = blake2b(named, digest_size=16).digest()  # equal objects have the same; it holds nothing
        self._folding = asyncio.Lock()
        self._effects: Effects | None = None
        self._of: Effects | None = None  # effects of the base that these were made from
        self._next = self._until = 0.0

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, RulesInForce)
            and self._hash == other._hash
            and (self.rules, self.market, self._base) == (other.rules, other.market, other._base)
        )

    def __repr__(self) -> str:
        return f"<{len(self.all)} rules>"

    @property
    def all(self) -> tuple[Rule, ...]:
        """Those of the base and of the page."""
        return (*(self._base.rules if self._base else ()), *self.rules)

    @property
    def nbytes(self) -> int:
        """The bytes of what they do, as far as that is known."""
        return 0 if self._effects is None else self._effects.nbytes

    @property
    def effects(self) -> Effects:
        """What they do. `ready` must have been awaited once."""
        assert self._effects is not None
        return self._effects

    async def ready(self, catalogue: Catalogue) -> None:
        """Find out what they do to the items of now.

        A few rules follow every change of the catalogue at once. Others run while it takes long, and lists are made by
        what the rules did before, if that is known.
        """
        if self._base is not None:
            await self._base.ready(catalogue)
        if self._are_current(catalogue) or (self._effects is not None and self._folding.locked()):
            return
        async with self._folding:
            if not self._are_current(catalogue):
                await self._fold(catalogue)

    def _are_current(self, catalogue: Catalogue) -> bool:
        if self._effects is None or monotonic() >= self._until:
            return False
        if self._base is not None and self._of is not self._base.effects:
            return False
        return self._effects.revision == catalogue.revision or monotonic() < self._next

    async def _fold(self, catalogue: Catalogue) -> None:
        began, before = monotonic(), self._base.effects if self._base else None
        for key in {key for rule in self.rules for key in rule.says.attributes}:
            await catalogue.follow(key)
        revision, found, resumed = catalogue.revision, Effects(-1, 0), monotonic()
        for effects in fold(self.rules, catalogue, self.market, before):
            found = effects
            if monotonic() >= resumed + TURN:
                await asyncio.sleep(0)
                resumed = monotonic()
        found.revision = revision
        self._effects, self._of, self._until = found, before, monotonic() + LASTS
        if len(self.rules) > FEW:
            self._next = monotonic() + REST * (monotonic() - began)


async def make_ready(rules: RulesInForce | None, catalogue: Catalogue) -> None:
    """Find out what the rules of a list do, before it is made."""
    if rules is not None:
        await rules.ready(catalogue)


def effects_of(rules: RulesInForce | None) -> Effects | None:
    """What the rules do."""
    return rules.effects if rules else None


def narrow_by(rules: RulesInForce | None, allowed: Mask) -> None:
    """Take the items out of the mask that the rules exclude."""
    kept = rules.effects.kept if rules else None
    if kept is not None:
        allowed[: len(kept)] &= kept
        if rules is not None and rules.effects.only:
            allowed[len(kept) :] = False


def leaders_of(rules: RulesInForce | None, view: PersonView) -> NDArray[np.uint32]:
    """Boosted items that are to be ranked whatever the person's history names."""
    return rules.effects.leaders(view.ranker.universe if view.ranker else None) if rules else _NOBODY


def weigh(rules: RulesInForce | None, scored: Scored) -> Scored:
    """The list with boosts."""
    if rules is None or rules.effects.weights is None:
        return scored
    scored = with_candidates(scored)
    return boost(scored, rules.effects.factors_of(scored.numbers))
