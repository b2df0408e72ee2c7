"""Explains one item of one person's list. The list is made by the code that makes it for the person."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Final, NamedTuple

from core.contract import Person
from core.errors import InvalidInput
from core.turns import OneAtATime
from db.items import Item, removal_time
from db.shares import Share
from engine.catalogue.catalogue import Catalogue
from engine.explaining.removals import Removal, RemovalRule, removal_of, variant_among
from engine.explaining.rule_effects import RuleEffect, bounding, effects_on, rules_about
from engine.recommending.list_kinds import RANKED, place_of, score_list
from engine.recommending.pages import MAX_ITEMS, Page, Pin, Select, cut_page, list_of_person, new_pin
from engine.recommending.people import Degradation, PersonLoader
from engine.recommending.recommendations import Basis, ListRequest, Recommender
from engine.recommending.serving_models import ServingModels
from engine.rules.in_force import effects_of, make_ready
from engine.variety.varying import Place
from ml.affinity.contributions import FeatureGroup
from ml.affinity.explaining import CandidateSource, ScoreParts, SourceSays, score_parts, sources_of
from ml.affinity.model import AffinityModel
from ml.affinity.ranking import Scored, select
from ml.affinity.several_lists import within
from ml.masks import Mask
from ml.ranked import REASON

__all__ = [
    "CandidateSource",
    "Explainer",
    "Explanation",
    "ExplanationOutcome",
    "FeatureGroup",
    "ScoreParts",
    "Source",
]  # what the edge uses, some of it of `ml.affinity`, which the edge does not import

_PLACED: Final = (REASON["EXPLORATION"], REASON["PINNED"])


class ExplanationOutcome(StrEnum):
    """Where an item is."""

    SHOWN = "SHOWN"
    RANKED_BELOW = "RANKED_BELOW"
    NOT_A_CANDIDATE = "NOT_A_CANDIDATE"
    REMOVED = "REMOVED"


class Source(NamedTuple):
    """What a source of candidates says of the item."""

    says: SourceSays
    because: Sequence[Item]


class Edge(NamedTuple):
    """The last item that is shown: what an item below has to pass."""

    rank: int
    item: Item
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Why an item is where it is."""

    outcome: ExplanationOutcome
    item_id: str
    as_of: datetime
    bundle: AffinityModel | None
    degraded: Sequence[Degradation]
    item: Item | None = None  # None: it is not in the catalogue
    rank: int | None = None  # from 1; None for an item that is not ranked, or behind the longest list
    removal: Removal | None = None
    known_to_model: bool = False
    sources: Sequence[Source] = ()
    score: float | None = None
    probability: float | None = None
    parts: ScoreParts | None = None
    edge: Edge | None = None  # of an item below the list
    reason: int | None = None  # index in ml.ranked.REASONS; None for an item that is not listed
    cause: Item | None = None  # that the reason is about
    every: int = 0  # days, as in the page
    rules: Sequence[RuleEffect] = ()  # of the shop, about the item
    rank_without_rules: int | None = None  # where rules hold: its rank if there were none; None as for the rank


class Explainer:
    """Explains items. `recommender` makes the list and explains nothing else; `reads` looks up items that are gone."""

    def __init__(
        self,
        catalogue: Catalogue,
        models: ServingModels,
        recommender: Recommender,
        people: PersonLoader,
        turns: OneAtATime,
        reads: Share,
        *,
        dislikes_hold: timedelta,
    ) -> None:
        self._catalogue, self._models, self._recommender, self._people = catalogue, models, recommender, people
        self._turns, self._reads, self._dislikes_hold = turns, reads, dislikes_hold

    async def explain(
        self, person: Person, item_id: str, request: ListRequest, version: str | None = None
    ) -> Explanation:
        """Where an item is in the list that the request asks for, and why.

        `version` is the id of the model to ask in place of the one that serves. Raises InvalidInput as the list does,
        and for a version that cannot be opened.
        """
        bundle = await self._bundle(version)
        self._recommender.bundle = bundle
        state, missing, _ = await self._people.state_for_list(person, personalize=request.personalize)
        degraded = [*missing, *([] if bundle else [Degradation.NO_MODEL])]
        gone = None
        if self._catalogue.number_of(item_id) is None:
            removed = await removal_time(self._reads, item_id)
            gone = Removal(RemovalRule.UNKNOWN_ITEM if removed is None else RemovalRule.WITHDRAWN)
        await make_ready(request.rules, self._catalogue)
        wanted = self._catalogue.number_of(item_id)
        about = [] if wanted is None else await rules_about(request.rules, self._catalogue, wanted)
        async with self._turns:
            pin = new_pin(bundle.id if bundle else None)
            found = Explanation(
                ExplanationOutcome.REMOVED,
                item_id,
                datetime.fromtimestamp(pin.as_of, UTC),
                bundle,
                degraded,
                removal=gone,
            )
            number = self._catalogue.number_of(item_id)
            if number is None:
                return found
            basis = self._recommender.basis_for(person, request, pin, bundle, state)
            item = self._catalogue.item(number)
            removal = removal_of(self._catalogue, request, about, basis, state, number, self._dislikes_hold)
            found = replace(found, item=item, removal=removal, known_to_model=_knows(bundle, number))
            rules = effects_on(request.rules, about, self._catalogue, number)
            place = place_of(request, person, self._models, pin.as_of)
            explained = _Place(self._catalogue, list_of_person(person), basis, request, pin, place).explain(
                found, number
            )
            without = None
            if request.rules is not None:
                plain = request._replace(rules=None)
                basis = self._recommender.basis_for(person, plain, pin, bundle, state)
                without = _Place(self._catalogue, list_of_person(person), basis, plain, pin, place).rank(number)
            return replace(explained, rules=rules, rank_without_rules=without)

    async def _bundle(self, version: str | None) -> AffinityModel | None:
        """The bundle that serves, or that of a version."""
        if version is None:
            return self._recommender.bundle
        bundle = await self._models.pinned(version)
        if bundle is None:
            raise InvalidInput("There is no such model, or its files are gone.", field="modelVersionId")
        return bundle


class _Place:
    """The list of one explanation, and the place of an item in it."""

    def __init__(
        self, catalogue: Catalogue, name: str, basis: Basis, request: ListRequest, pin: Pin, place: Place
    ) -> None:
        self._catalogue, self._basis, self._first, self._rules = catalogue, basis, request.first, request.rules
        self._ranked = request.kind in RANKED  # by what the sources of candidates say
        self._scored: Scored = score_list(
            catalogue, request, basis.view, basis.allowed, basis.fallback, basis.nameable, place=place
        )
        self._cut = partial(cut_page, catalogue, name, pin, basis.allowed, effects=effects_of(request.rules))

    def explain(self, found: Explanation, number: int) -> Explanation:
        """The explanation with everything that the list says of the item."""
        scored = self._scored
        at = (scored.numbers == number).nonzero()[0]
        found = replace(
            found,
            sources=[Source(says, self._items(says.because)) for says in sources_of(scored, number)],
            parts=score_parts(scored, number) if found.known_to_model or len(at) else None,
        )
        if not self._ranked:
            found = replace(found, sources=[], parts=None)
        if found.removal is not None:
            return found
        page = self._page(self._first)
        if number in page.numbers:
            return self._listed(found, ExplanationOutcome.SHOWN, page, number, filled=not len(at))
        edge = self._edge(page)
        longer = self._page(MAX_ITEMS)
        variant = variant_among(self._catalogue, longer.numbers, number)
        if variant is not None and number not in longer.numbers:
            return replace(found, removal=variant)
        bound = None if number in longer.numbers else bounding(self._rules, self._catalogue, longer.numbers, number)
        if bound is not None:
            return replace(found, removal=Removal(RemovalRule.RULE, rule_id=bound))
        if scored.view.ranker is not None and not len(at) and not _is_placed(longer, number):
            return replace(found, outcome=ExplanationOutcome.NOT_A_CANDIDATE, edge=edge)
        if number in longer.numbers:
            return replace(self._listed(found, ExplanationOutcome.RANKED_BELOW, longer, number), edge=edge)
        own = float(scored.scores[at[0]]) if len(at) else None
        return replace(found, outcome=ExplanationOutcome.RANKED_BELOW, edge=edge, score=own)

    def rank(self, number: int) -> int | None:
        """The rank of an item, from 1; None where it is not ranked."""
        longer = self._page(MAX_ITEMS)
        return longer.numbers.index(number) + 1 if number in longer.numbers else None

    def _page(self, first: int) -> Page:
        """The head of the list."""
        return self._cut(first, self._select)

    def _select(self, allowed: Mask) -> Select:
        return partial(select, within(self._scored, allowed))

    def _listed(
        self, found: Explanation, outcome: ExplanationOutcome, page: Page, number: int, *, filled: bool = False
    ) -> Explanation:
        at = page.numbers.index(number)
        cause = self._catalogue.item(page.because[at]) if page.because[at] else None
        by_chance = page.reasons[at] == REASON["EXPLORATION"]
        fills = Source(SourceSays(CandidateSource.FALLBACK, True, None, None, None, ()), ())
        return replace(
            found,
            outcome=outcome,
            rank=at + 1,
            score=page.scores[at],
            probability=page.probabilities[at],
            reason=page.reasons[at],
            every=page.every[at],
            cause=cause or found.item,
            sources=[*found.sources, fills] if filled and not by_chance else found.sources,
        )

    def _edge(self, page: Page) -> Edge | None:
        last = self._catalogue.item(page.numbers[-1]) if page.numbers else None
        return None if last is None else Edge(len(page.numbers), last, page.scores[-1])

    def _items(self, numbers: Sequence[int]) -> list[Item]:
        return [item for item in self._catalogue.items(numbers) if item is not None]


def _is_placed(page: Page, number: int) -> bool:
    """Whether an item has its place by chance or by a rule: it needs no source that names it."""
    return number in page.numbers and page.reasons[page.numbers.index(number)] in _PLACED


def _knows(bundle: AffinityModel | None, number: int) -> bool:
    """Whether the model has learned of the item."""
    return bundle is not None and number in bundle.numbers
