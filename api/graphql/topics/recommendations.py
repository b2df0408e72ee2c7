"""Lists of recommended items: each item with its rank, its score and the reason why it is listed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Annotated, Self

import strawberry

from api.graphql.context import Context, Info
from api.graphql.topics.events import Event
from api.graphql.topics.items import Item, Market
from api.graphql.types.connections import After, First, PageInfo, check_first
from api.graphql.types.filters import FilterBy, ItemFilter, read_filter
from api.graphql.types.permissions import requires, requires_or_oneself
from core.contract import Person
from core.errors import InvalidInput
from db import items as stored
from engine.catalogue.filters import Filter
from engine.impressions import new_impression
from engine.reasons.texts import ReasonTexts
from engine.recommending.pages import Page
from engine.recommending.people import Degradation
from engine.recommending.recommendations import ListRequest, RecommendedList, check_placement
from ml.ranked import REASONS

_NOT_GIVEN = "2026-11-28: no list gives this reason yet. The mark goes when one does."


@strawberry.enum(
    description="Why an item is listed. BOUGHT_BEFORE: the person bought it. DUE_AGAIN: the person bought it, and it is"
    " about time to buy it again: they did so before, or people buy items of its category again. SIMILAR_TO: it is"
    " similar to an item that the person bought or that the page shows. VIEWED: it is similar to an item that the"
    " person just looked at. BOUGHT_TOGETHER: it is often bought together with such an item. AFFINITY: it fits what the"
    " person usually buys. SEQUENCE: it is often bought after such an item. POPULAR: people bought it lately, within"
    " `PENCHANT_POPULAR_WINDOW`; the most bought rank first. TRENDING: many people bought it in the window asked for."
    " BOUGHT_BY_OTHERS: people bought it, but none lately. NEW: it was added to the catalogue in the last 30 days."
    " PINNED: the shop chose it. EXPLORATION: it is listed to learn what the person likes. OTHER: the shop has it, and"
    " nothing more is known."
)
class ReasonCode(Enum):
    """The same as `ml.ranked.REASONS`, in the same order."""

    BOUGHT_BEFORE = "BOUGHT_BEFORE"
    DUE_AGAIN = "DUE_AGAIN"
    SIMILAR_TO = "SIMILAR_TO"
    BOUGHT_TOGETHER = strawberry.enum_value("BOUGHT_TOGETHER", deprecation_reason=_NOT_GIVEN)
    AFFINITY = strawberry.enum_value("AFFINITY", deprecation_reason=_NOT_GIVEN)
    SEQUENCE = strawberry.enum_value("SEQUENCE", deprecation_reason=_NOT_GIVEN)
    POPULAR = "POPULAR"
    TRENDING = "TRENDING"
    NEW = "NEW"
    PINNED = strawberry.enum_value("PINNED", deprecation_reason=_NOT_GIVEN)
    EXPLORATION = strawberry.enum_value("EXPLORATION", deprecation_reason=_NOT_GIVEN)
    VIEWED = "VIEWED"
    BOUGHT_BY_OTHERS = "BOUGHT_BY_OTHERS"
    OTHER = "OTHER"


_CODES = tuple(ReasonCode[name] for name in REASONS)

strawberry.enum(
    Degradation,
    description="Why a list is less personal or less fresh than usual. UNKNOWN_PERSON: nothing is stored about this"
    " person, so the list is the popular one. NO_MODEL: no trained model serves yet. NO_CACHE: events of the last"
    " moments may be missing. NO_HISTORY: the person's history could not be read. STORE_FULL: the database takes no"
    " new data, so events wait to be stored.",
)


@strawberry.type(description="Why an item is listed.")
class Reason:
    """The reason for one item."""

    code: ReasonCode = strawberry.field(description="The kind of reason.")
    person: strawberry.Private[Person | None]
    shown: strawberry.Private[stored.Item]
    cause: strawberry.Private[stored.Item]
    texts: strawberry.Private[ReasonTexts]
    market: strawberry.Private[str | None]

    @strawberry.field(
        description="The reason as a short sentence to show to the person. It is plain text: escape it as you escape"
        " titles."
    )
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
        return self.texts.text(self.code.value, language, _title(self.shown), _title(self.cause))

    @strawberry.field(
        description="The item that the reason is about: the one bought, looked at or similar; else the listed item"
        " itself. It is one that this list could show: live, available in the market, matching `filter` and not in"
        " `exclude`; or an item of the context. Without such an item there is another reason."
    )
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
        " the log that it learned from is short (`Model.horizon`). It is calibrated on what people with earlier orders"
        " then bought. Null where nothing is calibrated: popular, trending and similar items, items that were just"
        " looked at and their neighbours, people without orders, and baselines that serve in place of a model."
    )
    reason: Reason = strawberry.field(description="Why the item is listed.")
    node: Item = strawberry.field(description="The item.")
    page: strawberry.Private[Page]
    position: strawberry.Private[int]

    @strawberry.field(description="Send this as `after` within ten minutes to continue after this item.")
    def cursor(self, info: Info) -> str:
        """The signed position of this element."""
        return self.page.cursor(info.context.gateway.signer, self.position)


@strawberry.type(description="A page of a list of recommended items, best first.")
class RecommendationConnection:
    """A page of recommendations, similar items or trends. Its cursors are signed on demand."""

    impression_id: strawberry.ID | None = strawberry.field(
        description="The signed id of this list. Send it in IMPRESSION events with the items that were visible, and"
        " in the events that follow. Null for a preview."
    )
    placement: str = strawberry.field(description="The place where the list is shown.")
    model_version: strawberry.ID | None = strawberry.field(
        description="The id of the model that ranked the list; null without a model."
    )
    as_of: datetime = strawberry.field(
        description="The time the list was made for. All pages of a list have the time of the first page."
    )
    degraded: list[Degradation] = strawberry.field(
        description="Why this list is less personal or less fresh than usual; empty when it is not."
    )
    edges: list[RecommendationEdge] = strawberry.field(
        description="The items of this page with rank, score and reason."
    )
    nodes: list[Item] = strawberry.field(description="The items of this page alone.")
    page: strawberry.Private[Page]

    @strawberry.field(
        description="Where this page ends, and whether there are more. No item is on two pages of a list."
    )
    def page_info(self, info: Info) -> PageInfo:
        """The ends of this page."""
        signer, last = info.context.gateway.signer, len(self.page.numbers) - 1
        return PageInfo(
            has_next_page=self.page.more,
            has_previous_page=bool(self.page.pin.seen),
            start_cursor=self.page.cursor(signer, 0) if last >= 0 else None,
            end_cursor=self.page.cursor(signer, last) if last >= 0 else None,
        )

    @classmethod
    def of(
        cls,
        context: Context,
        listed: RecommendedList,
        placement: str,
        person: Person | None,
        market: str | None,
        *,
        preview: bool = False,
    ) -> Self:
        """The public shape of a page."""
        page, model = listed.page, strawberry.ID(listed.bundle.id) if listed.bundle else None
        signer = context.gateway.signer
        impression = None if preview else strawberry.ID(new_impression(signer, placement, model, page))
        edges = _edges(context, page, impression, person, market)
        return cls(
            impression_id=impression,
            placement=placement,
            model_version=model,
            as_of=datetime.fromtimestamp(page.pin.as_of, UTC),
            degraded=listed.degraded,
            edges=edges,
            nodes=[edge.node for edge in edges],
            page=page,
        )


def _edges(
    context: Context, page: Page, impression: strawberry.ID | None, person: Person | None, market: str | None
) -> list[RecommendationEdge]:
    """The edges of a page. There is no await between the mask and here, so every item still exists."""
    item, texts = context.gateway.catalogue.item, context.gateway.reason_texts
    shown = [item(number) for number in page.numbers]
    causes = [item(cause) if cause else None for cause in page.because]
    edges = []
    for position, (one, cause) in enumerate(zip(shown, causes, strict=True)):
        assert one is not None
        code = _CODES[page.reasons[position]]
        reason = Reason(code=code, person=person, shown=one, cause=cause or one, texts=texts, market=market)
        edges.append(
            RecommendationEdge(
                impression_id=impression,
                rank=len(page.pin.seen) + position + 1,
                score=page.scores[position],
                probability=page.probabilities[position],
                reason=reason,
                node=Item.of(one, market),
                page=page,
                position=position,
            )
        )
    return edges


@strawberry.input(description="What the person is looking at now.")
class RecommendationContext:
    """The page that the list is for."""

    item_ids: list[strawberry.ID] | None = strawberry.field(
        default=None,
        description="The ids of items that the page shows: similar items take turns with what the person likes, they"
        " themselves are left out. At most 100 ids in `itemIds`, `cartItemIds` and `recentItemIds` together.",
    )
    cart_item_ids: list[strawberry.ID] | None = strawberry.field(
        default=None,
        description="The ids of items in the cart: similar items take turns with what the person likes, they"
        " themselves are left out. What events say is in the cart is left out, too.",
    )
    recent_item_ids: list[strawberry.ID] | None = strawberry.field(
        default=None,
        description="The ids of items just looked at, before an event reports it: similar items take turns with what"
        " the person likes.",
    )
    category: str | None = strawberry.field(
        default=None, description="The category of the page: only its items are listed."
    )
    market: strawberry.ID | None = strawberry.field(
        default=None,
        description="The market the person buys in: only items available there are listed.",
        deprecation_reason="Since 2026-11-28; removed on 2027-06-01 at the earliest. Use the argument `market` of"
        " `recommendations`, which means the same.",
    )
    personalize: bool | None = strawberry.field(
        default=True,
        description="False: the list does not use anything that is stored about the person, for people who object to"
        " it.",
    )


async def recommend(
    context: Context,
    person: Person,
    *,
    placement: str,
    first: int,
    after: str | None,
    where: RecommendationContext | None,
    market: str | None,
    filter: ItemFilter | None,
    exclude: Sequence[str] | None,
    among: Sequence[str] | None,
    preview: bool,
) -> RecommendationConnection:
    """A page of the items that this person most likely wants next."""
    request = list_request(placement, first, where, market, read_filter(filter), exclude)
    request = replace(request, after=after, among=among, shelf=None if preview or among is not None else placement)
    listed = await context.recommender.for_person(person, request)
    return RecommendationConnection.of(context, listed, placement, person, request.market, preview=preview)


def list_request(
    placement: str,
    first: int,
    where: RecommendationContext | None,
    market: str | None,
    filter: Filter | None,
    exclude: Sequence[str] | None,
) -> ListRequest:
    """The engine's request for the first page of a list that no list beside it knows of. Raises InvalidInput."""
    check_placement(placement)
    where = where or RecommendationContext()
    return ListRequest(
        first=check_first(first),
        filter=filter,
        market=_market(market, where.market),
        category=where.category,
        context_items=[*(where.item_ids or ()), *(where.cart_item_ids or ())],
        viewed_items=where.recent_item_ids or (),
        exclude=exclude or (),
        personalize=where.personalize is not False,
    )


def _market(market: str | None, of_context: str | None) -> str | None:
    """The market of a list, given in either place. Raises InvalidInput for two markets."""
    if None not in (market, of_context) and market != of_context:
        raise InvalidInput("market and context.market name two markets: send market alone.", field="market")
    return of_context if market is None else market


async def similar_to(
    root: Item, info: Info, first: First = 20, after: After = None, filter: FilterBy = None, market: Market = None
) -> RecommendationConnection | None:
    """A page of the items that are most similar to an item."""
    context, item = info.context, root.record
    wanted = root.market if market is None else market
    request = ListRequest(check_first(first), after, read_filter(filter), wanted)
    listed = await context.recommender.like_item(item, request)
    return RecommendationConnection.of(context, listed, "similar", context.viewer.person, wanted)


SIMILAR = strawberry.field(
    name="similar",
    resolver=similar_to,
    permission_classes=[requires("recommendations:read")],
    description="The items most similar to this one, best first. Only available items are listed.",
)
"""A field of Item. `items.py` cannot declare it, because this module imports Item."""


@strawberry.type
class RecommendationQuery:
    """Queries of lists that are not made for a person."""

    @strawberry.field(
        permission_classes=[requires("recommendations:read")],
        description="The items that most people bought lately, most first. They are counted every minute; over more"
        " than 30 days, every minute for each 30 days. Only available items are listed.",
    )
    async def trending(
        self,
        info: Info,
        window: Annotated[
            timedelta,
            strawberry.argument(
                description="How far to look back: PT1H (one hour) to P365D (365 days). It is rounded up to 1 or 6"
                " hours, to 1, 3, 7, 14, 30, 90, 180 or 365 days, or to the shop's own `PENCHANT_POPULAR_WINDOW`."
            ),
        ] = timedelta(days=7),
        filter: FilterBy = None,
        market: Market = None,
        first: First = 20,
        after: After = None,
    ) -> RecommendationConnection | None:
        """A page of the items that most people bought."""
        context = info.context
        request = ListRequest(check_first(first), after, read_filter(filter), market)
        listed = await context.recommender.trending(window, request)
        return RecommendationConnection.of(context, listed, "trending", context.viewer.person, market)
