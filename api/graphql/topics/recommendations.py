"""Lists of recommended items: each item with its rank, its score and the reason why it is listed."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final, Self, cast

import strawberry

from api.graphql.context import Context, Info
from api.graphql.planning.pure import pure
from api.graphql.topics.items import Item, Market
from api.graphql.topics.lists.edges import EdgeColumns, RecommendationEdge
from api.graphql.topics.lists.kinds import ListKind
from api.graphql.types.connections import UNNAMED, After, First, PageInfo, check_first
from api.graphql.types.filters import FilterBy, ItemFilter, read_filter
from api.graphql.types.permissions import requires
from core.contract import Person, check_id
from core.errors import InvalidInput
from core.hashes import order_of
from db import items as stored
from engine.catalogue.filters import Filter
from engine.impressions import new_impression
from engine.placements.placement import Placement, check_placement, length_of
from engine.recommending.pages import Page
from engine.recommending.people import Degradation
from engine.recommending.recommendations import ListRequest, RecommendedList, Recommender
from engine.rules.queries import LONGEST_QUERY
from engine.rules.rule_book import RuleBook

strawberry.enum(
    Degradation,
    description="Why a list is less personal or less fresh than usual. UNKNOWN_PERSON: nothing is stored about this"
    " person, so the list is the popular one. NO_MODEL: no trained model serves yet. OLD_MODEL: the model"
    " was trained by a release that did not learn this list: train again. NO_CACHE: events of the last moments may be"
    " missing. NO_HISTORY: the person's history could not be read. STORE_FULL: the database takes no new data, so"
    " events wait to be stored. PAUSED: the person paused personal lists (`pausePersonalization`), so the list is that"
    " of an unknown person.",
)


@strawberry.type(description="A page of a list of recommended items, best first.")
class RecommendationConnection:
    """A page of recommendations, similar items or trends. Its cursors are signed on demand."""

    impression_id: strawberry.ID | None = strawberry.field(
        description="The signed id of this list. Send it in IMPRESSION events with the items that were visible, and"
        " in the events that follow. Null for a preview."
    )
    placement: str = strawberry.field(description="The place where the list is shown.")
    placement_version: int | None = strawberry.field(
        description="The version of the placement's settings that the list follows; null without settings, as for an"
        " unknown placement: the list is as by default then."
    )
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
    page: strawberry.Private[Page]

    @strawberry.field(description="The items of this page alone.")
    @pure
    def nodes(self) -> list[Item]:
        """The items, which may be columns."""
        edges: Any = self.edges
        return cast(list[Item], edges.items)

    @strawberry.field(
        description="Where this page ends, and whether there are more. No item is on two pages of a list."
    )
    @pure
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
        placed: Placement | None = None,
        preview: bool = False,
    ) -> Self:
        """The public shape of a page."""
        page, model = listed.page, strawberry.ID(listed.bundle.id) if listed.bundle else None
        signer = context.gateway.signer
        impression = None if preview else strawberry.ID(new_impression(signer, placement, model, page))
        edges: Any = EdgeColumns(context, page, impression, person, market, placed, kept=listed.kept)
        return cls(
            impression_id=impression,
            placement=placement,
            placement_version=placed.version if placed else None,
            model_version=model,
            as_of=_moment(page.pin.as_of),
            degraded=listed.degraded,
            edges=edges,
            page=page,
        )


@lru_cache(256)
def _moment(seconds: int) -> datetime:
    """So many seconds after 1970."""
    return datetime.fromtimestamp(seconds, UTC)


@strawberry.input(description="What the person is looking at now.")
class RecommendationContext:
    """The page that the list is for."""

    item_ids: list[strawberry.ID] | None = strawberry.field(
        default=None,
        description="The ids of items that the page shows: similar items take turns with what the person likes, they"
        " themselves and their variants are left out. At most 100 ids in `itemIds`, `cartItemIds` and `recentItemIds`"
        " together.",
    )
    cart_item_ids: list[strawberry.ID] | None = strawberry.field(
        default=None,
        description="The ids of items in the cart: similar items take turns with what the person likes, they"
        " themselves and their variants are left out. What events say is in the cart is left out, too.",
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
    session_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="The `sessionId` of the person's events in the visit that runs: what they looked at in it counts as"
        " the running visit, for up to 24 hours. Events of other sessions, and of other people, do not. Null: the"
        " newest events say which visit runs, and it ends after a pause of 30 minutes.",
    )
    query: str | None = strawberry.field(
        default=None,
        description=f"What the person searches for, at most {LONGEST_QUERY} characters. Only rules of the shop look at"
        " it: it does not search.",
    )
    personalize: bool | None = strawberry.field(
        default=True,
        description="False: the list does not use anything that is stored about the person, for people who object to"
        " it.",
    )


_NO_CONTEXT: Final = RecommendationContext()


async def recommend(
    context: Context,
    person: Person,
    *,
    placement: str,
    first: int | None,
    after: str | None,
    where: RecommendationContext | None,
    market: str | None,
    filter: ItemFilter | None,
    exclude: Sequence[str] | None,
    among: Sequence[str] | None,
    preview: bool,
    placed: Placement | None = None,
    kind: ListKind | None = None,
) -> RecommendationConnection:
    """A page of the items that this person most likely wants next, as `placed` says."""
    shelf = None if preview or among is not None else placement
    wanted = None if filter is None else read_filter(filter)
    request = list_request(
        placement, first, where, market, wanted, exclude, after=after, among=among, shelf=shelf, placed=placed,
        kind=kind,
    )  # fmt: skip
    request = await with_rules(context, person, placement, request)
    listed = await context.recommender.for_person(person, request)
    return RecommendationConnection.of(
        context, listed, placement, person, request.market, placed=placed, preview=preview
    )


def list_request(
    placement: str,
    first: int | None,
    where: RecommendationContext | None,
    market: str | None,
    filter: Filter | None,
    exclude: Sequence[str] | None,
    *,
    after: str | None = None,
    among: Sequence[str] | None = None,
    shelf: str | None = None,
    placed: Placement | None = None,
    unnamed: int = UNNAMED,
    kind: ListKind | None = None,
) -> ListRequest:
    """The engine's request for a list; without more, for the first page of one that no list beside it knows of.

    `unnamed` is the number of items where neither the request nor the placement says it. Raises InvalidInput.
    """
    check_placement(placement)
    where = where or _NO_CONTEXT
    return ListRequest(
        first=check_first(length_of(placed, first, unnamed)),
        after=after,
        filter=filter,
        market=_market(market, where.market),
        category=where.category,
        context_items=[*(where.item_ids or ()), *(where.cart_item_ids or ())],
        viewed_items=where.recent_item_ids or (),
        session=_session(where.session_id),
        exclude=exclude or (),
        among=among,
        personalize=where.personalize is not False,
        shelf=shelf,
        placement=placed,
        query=_query(where.query),
        asked=kind,
    )


async def with_rules(
    context: Context, person: Person, placement: str, request: ListRequest, book: RuleBook | None = None
) -> ListRequest:
    """The request with the rules that hold for it and the person: those of `book`, or those that are saved."""
    book = book or context.gateway.rules.book
    if book.looks_at_segments(placement):
        segments = await context.people.segments(person, personalize=request.personalize)
        request = request._replace(segments=segments)
    return request._replace(rules=book.find(placement, context.gateway.catalogue, request))


def _session(id: str | None) -> int:
    """The hash of a session as the person's state has it. Raises InvalidInput for an id that no event can have."""
    return 0 if id is None else order_of(check_id(id, "context.sessionId"))


def _query(text: str | None) -> str | None:
    """The search itself. Raises InvalidInput for one that is too long."""
    if text is not None and len(text) > LONGEST_QUERY:
        raise InvalidInput(f"context.query may have at most {LONGEST_QUERY} characters.", field="context.query")
    return text


def _market(market: str | None, of_context: str | None) -> str | None:
    """The market of a list, given in either place. Raises InvalidInput for two markets."""
    if None not in (market, of_context) and market != of_context:
        raise InvalidInput("market and context.market name two markets: send market alone.", field="market")
    return of_context if market is None else market


def _list_of_item(
    name: str, make: Callable[[Recommender, stored.Item, ListRequest], Awaitable[RecommendedList]], description: str
) -> Any:
    """A field of Item: a list that is the same for everybody, made by `make`."""

    async def listed(
        root: Item, info: Info, first: First = 20, after: After = None, filter: FilterBy = None, market: Market = None
    ) -> RecommendationConnection | None:
        context = info.context
        wanted = root.market if market is None else market
        request = ListRequest(check_first(first), after, read_filter(filter), wanted)
        made = await make(context.recommender, root.record, request)
        return RecommendationConnection.of(context, made, name, context.viewer.person, wanted)

    permissions = [requires("recommendations:read")]
    return strawberry.field(name=name, resolver=listed, permission_classes=permissions, description=description)


SIMILAR = _list_of_item(
    "similar",
    Recommender.like_item,
    "The items most similar to this one, best first. Only available items are listed. For what completes"
    " this item see `boughtTogether`.",
)
BOUGHT_TOGETHER = _list_of_item(
    "boughtTogether",
    Recommender.bought_with,
    "The items that complete this one, best first: orders that have it have them more often than other"
    " orders do, and at least three people ordered both together. Nothing fills the list: it may be short, and it is"
    " empty without a model and for items newer than the model. Only available items are listed. For alternatives to"
    " this item see `similar`.",
)
LIST_FIELDS = [SIMILAR, BOUGHT_TOGETHER]
"""Fields of Item. `items.py` cannot declare them, because this module imports Item."""


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
        listed = await context.recommender.trending(window, request, context.reads)
        return RecommendationConnection.of(context, listed, "trending", context.viewer.person, market)
