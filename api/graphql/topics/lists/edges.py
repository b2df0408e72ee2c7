"""The elements of recommendation lists: rank, score, reason, item. They are columns until something needs objects."""

from collections.abc import Hashable, Sequence
from enum import Enum
from typing import Annotated, Any, NamedTuple

import strawberry

from api.graphql.context import Context, Info
from api.graphql.execution.columns import Columns, Versioned, kept_as
from api.graphql.planning.pure import pure
from api.graphql.topics.events import Event
from api.graphql.topics.items import Item, ItemColumns, versions_of
from api.graphql.types.permissions import requires_or_oneself
from core.cached_properties import CachedProperty
from core.contract import Person
from db import items as stored
from engine.placements.placement import Placement
from engine.reasons.texts import ReasonTexts
from engine.recommending.pages import Page
from ml.ranked import REASONS

_NOT_GIVEN = "2026-11-28: no list gives this reason yet. The mark goes when one does."


@strawberry.enum(
    description="Why an item is listed. BOUGHT_BEFORE: the person bought it. DUE_AGAIN: the person bought it, and it is"
    " about time to buy it again: they did so before, or people buy items of its category again. SIMILAR_TO: it is"
    " similar to an item that the person bought or that the page shows. VIEWED: it is similar to an item that the"
    " person just looked at. BOUGHT_TOGETHER: people buy it in one order with that item."
    " AFFINITY: it fits what the person usually buys. SEQUENCE: it is often bought after such an item. POPULAR: people"
    " bought it lately, within `PENCHANT_POPULAR_WINDOW`; the most bought rank first. TRENDING: many people bought it"
    " in the window asked for. BOUGHT_BY_OTHERS: people bought it, but none lately. NEW: it was added to the catalogue"
    " in the last 30 days. PINNED: the shop chose it. EXPLORATION: hardly anybody bought it yet, and it has"
    " its place by chance. OTHER: the shop has it, and nothing more is known. VIEWED_BEFORE: the person looked at it."
)
class ReasonCode(Enum):
    """The same as `ml.ranked.REASONS`, in the same order."""

    BOUGHT_BEFORE = "BOUGHT_BEFORE"
    DUE_AGAIN = "DUE_AGAIN"
    SIMILAR_TO = "SIMILAR_TO"
    BOUGHT_TOGETHER = "BOUGHT_TOGETHER"
    AFFINITY = strawberry.enum_value("AFFINITY", deprecation_reason=_NOT_GIVEN)
    SEQUENCE = strawberry.enum_value("SEQUENCE", deprecation_reason=_NOT_GIVEN)
    POPULAR = "POPULAR"
    TRENDING = "TRENDING"
    NEW = "NEW"
    PINNED = "PINNED"
    EXPLORATION = "EXPLORATION"
    VIEWED = "VIEWED"
    BOUGHT_BY_OTHERS = "BOUGHT_BY_OTHERS"
    OTHER = "OTHER"
    VIEWED_BEFORE = "VIEWED_BEFORE"


_CODES = tuple(ReasonCode[name] for name in REASONS)


class ReasonColumns(Versioned["Reason"]):
    """The reasons of a page. Two with the same code are equal when they are about the same items in the same market."""

    def __init__(self, edges: "EdgeColumns") -> None:
        self._edges, self.fragments, self.shared = edges, edges.fragments, (edges.market, edges.texts)

    def __len__(self) -> int:
        return len(self._edges)

    def row(self, position: int) -> "Reason":
        """The reason at a position."""
        edges = self._edges
        return Reason(
            code=_CODES[edges.page.reasons[position]],
            person=edges.person,
            shown=edges.records.shown[position],
            cause=edges.records.causes[position],
            every=edges.page.every[position],
            texts=edges.texts,
            market=edges.market,
        )

    def versions(self) -> Sequence[Hashable]:
        """The codes and usual gaps with the versions of the items."""
        page, (_, causes, versions) = self._edges.page, self._edges.records
        return list(zip(page.reasons, page.every, versions, versions_of(causes), strict=True))


class _Records(NamedTuple):
    """The items of a page, what each reason is about, and the versions of the items."""

    shown: list[stored.Item]
    causes: list[stored.Item]
    versions: list[int]


class EdgeColumns(Columns["RecommendationEdge"]):
    """The edges of a page. There is no await between the mask of its items and their reading, so every item exists.

    The items of a page that is `kept` are read when something needs them: its text may be kept, too.
    """

    changing = frozenset({"impression_id"})

    def __init__(
        self,
        context: Context,
        page: Page,
        impression: strawberry.ID | None,
        person: Person | None,
        market: str | None,
        placed: Placement | None = None,
        *,
        kept: bool,
    ) -> None:
        self.texts = (placed and placed.texts) or context.gateway.reason_texts
        self.context, self.page = context, page
        self.impression, self.person, self.market = impression, person, market
        self.fragments = context.gateway.catalogue.fragments
        if context.shown is not None:
            context.note_shown(item.id for item in (*self.records.shown, *self.records.causes))
        elif kept:
            self.kept = context.gateway.models.lists.texts, (page.serial, market)

    @CachedProperty
    def records(self) -> _Records:
        """The items as they are stored."""
        page, catalogue = self.page, self.context.gateway.catalogue
        shown: list[Any] = catalogue.items(page.numbers)
        causes: list[Any] = catalogue.items(page.because)
        if not all(causes):
            causes = [cause or one for cause, one in zip(causes, shown, strict=True)]
        return _Records(shown, causes, versions_of(shown))

    @CachedProperty
    def items(self) -> ItemColumns:
        """The items as a list."""
        records = self.records
        return ItemColumns(self.fragments, records.shown, records.versions, self.market)

    def __len__(self) -> int:
        return len(self.page.numbers)

    def row(self, position: int) -> "RecommendationEdge":
        """The edge at a position."""
        page = self.page
        return RecommendationEdge(
            impression_id=self.impression,
            rank=len(page.pin.seen) + position + 1,
            score=page.scores[position],
            probability=page.probabilities[position],
            reason=ReasonColumns(self).row(position),
            node=Item.of(self.records.shown[position], self.market),
            page=page,
            position=position,
        )

    def impression_id(self) -> list[strawberry.ID | None]:
        """The id of the list, in each edge."""
        return [self.impression] * len(self)

    def rank(self) -> list[int]:
        """The positions over all pages."""
        first = len(self.page.pin.seen) + 1
        return list(range(first, first + len(self.page.numbers)))

    def score(self) -> list[float]:
        """The scores."""
        return self.page.scores

    def probability(self) -> list[float | None]:
        """The probabilities."""
        return self.page.probabilities

    def reason(self) -> ReasonColumns:
        """The reasons."""
        return ReasonColumns(self)

    def node(self) -> ItemColumns:
        """The items."""
        return self.items


@kept_as(ReasonColumns)
@strawberry.type(description="Why an item is listed.")
class Reason:
    """The reason for one item."""

    code: ReasonCode = strawberry.field(description="The kind of reason.")
    person: strawberry.Private[Person | None]
    shown: strawberry.Private[stored.Item]
    cause: strawberry.Private[stored.Item]
    every: strawberry.Private[int]  # days in which the person usually buys the item again, 0 for unknown
    texts: strawberry.Private[ReasonTexts]
    market: strawberry.Private[str | None]

    @strawberry.field(
        description="The reason as a short sentence to show to the person. It is plain text: escape it as you escape"
        " titles."
    )
    @pure
    def text(
        self,
        language: Annotated[
            str | None,
            strawberry.argument(
                description="The BCP 47 tag of the wanted language, such as `de` or `de-AT`: en, de, fr, es, it, nl,"
                " pt, pl, or one that the shop added. `de-AT` falls back to `de`; a language without texts, to English."
            ),
        ] = None,
    ) -> str:
        """The reason in words."""
        return self.words(language)

    def words(self, language: str | None) -> str:
        """The same, for what says more than the reason."""
        return self.texts.text(self.code.value, language, _title(self.shown), _title(self.cause), self.every)

    @strawberry.field(
        description="The item that the reason is about: the one bought, looked at or similar; else the listed item"
        " itself. It is one that this list could show: live, available in the market, matching `filter` and not in"
        " `exclude`; or an item of the context. Without such an item there is another reason."
    )
    @pure
    def item(self) -> Item | None:
        """The item of the reason."""
        return Item.of(self.cause, self.market)

    @strawberry.field(
        permission_classes=[requires_or_oneself("profiles:read")],
        description="The person's own newest events about that item, at most three; empty for lists without a person.",
    )
    async def events(self, info: Info) -> list[Event] | None:
        """The person's events about the item of the reason."""
        if self.person is None:
            return []
        return [Event.of(event) for event in await info.context.evidence(self.person).get(self.cause.id) or ()]


def _title(item: stored.Item) -> str:
    return item.title or item.id


@kept_as(EdgeColumns)
@strawberry.type(description="An item in a list, with its rank, score and reason.")
class RecommendationEdge:
    """An element of a list. Its cursor is signed on demand, which an `Edge` cannot do."""

    impression_id: strawberry.ID | None = strawberry.field(
        description="The `impressionId` of the list, for clients that merge pages. Send it with the events that follow."
    )
    rank: int = strawberry.field(description="The position in the list over all pages, from 1.")
    score: float = strawberry.field(
        description="What the list is ordered by, 0 to 1. It is not a probability, and is comparable within one list"
        " only.",
        deprecation_reason="Since 2026-11-28; removed on 2027-06-01 at the earliest. Use `probability`, or `rank` for"
        " the order.",
    )
    probability: float | None = strawberry.field(
        description="How likely the person buys the item within the horizon of the model, 0 to 1: 14 days, fewer where"
        " the log that it learned from is short, more where few people came back lately (`Model.horizon`). It is"
        " calibrated on what people with earlier orders then bought. Null where nothing is calibrated: popular,"
        " trending, similar and bought-together items, items that were just looked at and their neighbours, people"
        " without orders, and baselines that serve in place of a model."
    )
    reason: Reason = strawberry.field(description="Why the item is listed.")
    node: Item = strawberry.field(description="The item.")
    page: strawberry.Private[Page]
    position: strawberry.Private[int]

    @strawberry.field(description="Send this as `after` within ten minutes to continue after this item.")
    @pure
    def cursor(self, info: Info) -> str:
        """The signed position of this element."""
        return self.page.cursor(info.context.gateway.signer, self.position)
