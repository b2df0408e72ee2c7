"""A placement with settings, ready for lists: its masks, and its texts over those of all lists."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from engine.catalogue.catalogue import Catalogue
from engine.catalogue.filters import Filter
from engine.placements.settings import FallbackSource, ListKind, PlacementSettings, PriceBand, Repeat
from engine.reasons.texts import ReasonTexts
from ml.affinity.ranking import PersonView
from ml.affinity.repeats import split_by_due
from ml.masks import Mask
from ml.state import State
from ml.universe import Universe

MAX_PLACEMENT: Final = 64  # characters


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Placement:
    """One version of a placement. Lists are kept for the object itself: a new version is another one."""

    id: str
    version: int | None  # None: it is only tried out
    kind: ListKind
    first: int | None  # items of a list of which the request does not say how many
    filter: Filter | None
    bands: Mapping[str | None, Filter]  # by market
    repeat: Repeat
    fallback: tuple[FallbackSource, ...]
    texts: ReasonTexts | None  # None: those of all lists
    diversity: float = 0.0  # from 0, the order of the scores, to 1
    repeat_share: float | str | None = None  # of the list that is for own items; OWN: as the person buys
    explore: float = 0.0  # the share of the places that are given by chance

    @classmethod
    def of(cls, id: str, version: int | None, settings: PlacementSettings, texts: ReasonTexts) -> Self:
        """The placement with these settings; `texts` are those of all lists."""
        return cls(
            id,
            version,
            settings.list,
            settings.first,
            settings.filter.read() if settings.filter else None,
            {band.market: _filter_of(band) for band in settings.price},
            settings.repeat,
            settings.fallback,
            texts.with_texts(settings.texts, id) if settings.texts else None,
            settings.diversity,
            settings.repeat_share,
            settings.explore,
        )

    def band_in(self, market: str | None) -> Filter | None:
        """The filter of the price band in a market."""
        return self.bands.get(market) or self.bands.get(None)

    def narrow(self, catalogue: Catalogue, market: str | None, allowed: Mask) -> None:
        """Take the items out of the mask that the filter and the price band do not match."""
        for filter in (self.filter, self.band_in(market)):
            if filter is not None:
                allowed &= catalogue.mask(filter, market)

    def repeats(
        self, catalogue: Catalogue, universe: Universe | None, state: State, as_of: int
    ) -> NDArray[np.uint32] | None:
        """The numbers of the person's own items that are hidden, and of their variants; None for none."""
        if self.repeat is Repeat.ALLOWED or not len(state.bought):
            return None
        due, hidden = split_by_due(universe, state, as_of)
        if self.repeat is Repeat.HIDDEN:
            due, hidden = due[:0], np.concatenate([due, hidden])
        hidden = hidden[hidden < catalogue.size]
        if catalogue.has_groups:
            variants = catalogue.variants_of(hidden)
            hidden = np.concatenate([hidden, variants[~np.isin(variants, due)]])
        return hidden


def check_placement(name: str) -> str:
    """The name itself; raises InvalidInput when it is empty or too long."""
    if not 0 < len(name) <= MAX_PLACEMENT:
        raise InvalidInput(f"placement must have 1 to {MAX_PLACEMENT} characters.", field="placement")
    return name


def length_of(placement: Placement | None, first: int | None, usual: int) -> int:
    """How many items a list has: what the request says, else the placement, but no more than usual: that is charged."""
    if first is not None:
        return first
    return usual if placement is None or placement.first is None else min(placement.first, usual)


def preferred_by(placement: Placement | None) -> tuple[str, ...]:
    """What the placement takes first of what fills a list. It is the whole list where nothing is known of a person."""
    return placement.fallback if placement else ()


def hide_repeats(
    placement: Placement | None, catalogue: Catalogue, view: PersonView, state: State, allowed: Mask
) -> None:
    """Take the person's own items out of the mask that the placement does not repeat, as of the view's second."""
    if placement is not None:
        universe = view.ranker.universe if view.ranker else None
        hidden = placement.repeats(catalogue, universe, state, view.as_of)
        if hidden is not None:
            allowed[hidden] = False


def _filter_of(band: PriceBand) -> Filter:
    low, high = (None if bound is None else float(bound) for bound in (band.from_, band.to))
    return Filter(low=low, high=high, currency=band.currency)
