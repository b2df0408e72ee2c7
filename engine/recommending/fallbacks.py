"""What fills lists: what people bought lately, then what they bought earlier, then what nobody bought yet."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core import clock
from core.errors import StoreUnavailable
from core.stores import log_unavailable
from db.earlier_purchases import items_bought_earlier
from engine.catalogue.catalogue import Catalogue
from engine.recommending.trends import LEAST_AGE, MAX_POPULAR, REST, Trends
from ml.affinity.model import AffinityModel
from ml.fallback import Fallback, are_new, claims_of, in_turns, places_in
from ml.universe import HALF_LIFE

ENOUGH: Final = 1_000  # items bought lately: with so many, earlier purchases are not counted
LONGEST_AGE: Final = 3_600.0  # seconds that an order of the catalogue is used although no item changed
COUNT_TIMEOUT: Final = 10.0  # seconds: a gateway that starts waits for the first count
_KEPT: Final = 4  # fallbacks: that of each kept bundle, and that without one
_NONE: Final = np.zeros(0, np.uint32)


class Fallbacks:
    """The fallback of each bundle. `refresh` keeps what it is made of; `of` is cheap."""

    def __init__(self, catalogue: Catalogue, trends: Trends) -> None:
        self._catalogue, self._trends = catalogue, trends
        self._earlier, self._count_after = _NONE, 0.0
        self._rest, self._place, self._new = _NONE, _NONE, _NONE  # all items in turns of categories; the new ones
        self._version, self._order_after, self._order_until = -1, 0.0, 0.0
        self._made: dict[str | None, tuple[tuple[Any, ...], Fallback]] = {}
        self._preferring: dict[tuple[str, ...], tuple[Fallback, Fallback]] = {}  # with the usual one it was made from

    def of(self, bundle: AffinityModel | None, preferred: tuple[str, ...] = ()) -> Fallback:
        """What fills the lists of a bundle. It says POPULAR only of what was bought in the usual window.

        Items of the preferred sources (POPULAR, TRENDING, BOUGHT_BY_OTHERS, NEW) come first, in their order, then all
        as usual.
        """
        return self._prefer(self._usual(bundle), bundle, preferred) if preferred else self._usual(bundle)

    def _prefer(self, usual: Fallback, bundle: AffinityModel | None, preferred: tuple[str, ...]) -> Fallback:
        if "TRENDING" in preferred:
            self._trends.follow_trending()
        kept = self._preferring.get(preferred)
        if kept is not None and kept[0] is usual:
            return kept[1]
        sources = {
            "POPULAR": usual.order[0],
            "TRENDING": self._trends.trending,
            "BOUGHT_BY_OTHERS": usual.order[1] if bundle is None else bundle.universe.bought,
            "NEW": self._rest[np.isin(self._rest, self._new)],
        }
        claims = usual.claims
        if "TRENDING" in preferred:
            claims = claims_of(claims, TRENDING=sources["TRENDING"])
        made = replace(usual, order=(*(sources[name] for name in preferred), *usual.order), claims=claims)
        self._preferring[preferred] = usual, made
        return made

    def _usual(self, bundle: AffinityModel | None) -> Fallback:
        usual = self._trends.usual
        popular = _NONE if usual is None else usual.numbers
        parts = (popular, self._earlier, self._rest, self._trends.trending)
        id = bundle.id if bundle else None
        kept = self._made.get(id)
        if kept is not None and all(one is other for one, other in zip(kept[0], parts, strict=True)):
            return kept[1]
        earlier = self._earlier if bundle is None else bundle.universe.bought
        claims = claims_of(np.zeros(0, np.uint8), NEW=self._new, BOUGHT_BY_OTHERS=earlier, POPULAR=popular)
        if len(self._made) >= _KEPT:
            self._made.clear()
        made = Fallback((popular, earlier, self._rest), claims, self._place)
        self._made[id] = parts, made
        return made

    async def refresh(self, *, with_model: bool) -> None:
        """Count and order anew what changed. What cannot be counted stays as it was."""
        await self._order_catalogue()
        usual = self._trends.usual
        if not with_model and usual is not None and len(usual.numbers) < ENOUGH:
            await self._count_earlier()

    async def _count_earlier(self) -> None:
        began = _now()
        if began < self._count_after:
            return
        life = timedelta(seconds=HALF_LIFE)
        share, limit = self._trends.expensive, MAX_POPULAR
        try:
            found = await items_bought_earlier(share, clock.now(), life, limit, timeout=COUNT_TIMEOUT)
        except StoreUnavailable as error:
            log_unavailable(error, doing="count earlier purchases")
            self._count_after = _now() + REST * (_now() - began)
            return
        least = LEAST_AGE if len(found) else self._trends.empty_age
        self._count_after = began + max(least, REST * (_now() - began))
        self._earlier = found

    async def _order_catalogue(self) -> None:
        began, version = _now(), self._catalogue.version
        if began < (self._order_after if version != self._version else self._order_until):
            return
        columns = self._catalogue.order_columns()
        self._rest, self._place, self._new = await asyncio.to_thread(_ordered, *columns, clock.now().timestamp())
        self._version = version
        self._order_after = began + REST * (_now() - began)
        self._order_until = began + LONGEST_AGE


def _ordered(
    numbers: NDArray[np.uint32], category: NDArray[np.uint32], added: NDArray[np.uint32], as_of: float
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]:
    order = in_turns(numbers, category, added)
    return order, places_in(order), numbers[are_new(added, as_of)]


def _now() -> float:
    return asyncio.get_running_loop().time()
