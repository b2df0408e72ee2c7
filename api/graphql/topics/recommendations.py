"""The one list type: items with their rank, their score and the reason they are there."""

import asyncio
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

import orjson
import strawberry

from api.graphql.context import Context, Info
from api.graphql.topics.events import Event
from api.graphql.topics.items import Item, Market
from api.graphql.types.filters import ItemFilter, read_filter
from api.graphql.types.paging import PageInfo, check_first
from api.graphql.types.permissions import requires, requires_or_oneself
from core.contract import Event as StoredEvent
from core.contract import Person
from core.errors import InvalidInput
from db import items as stored
from db.events import events_for_items
from engine.recommending.pages import Page
from engine.recommending.people import Degradation
from engine.recommending.recommendations import Listed, Wish
from ml.ranking import REASONS

LONGEST_NAME = 64  # of a placement
EVIDENCE = 3  # events shown per reason

_TEXTS = {
    "BOUGHT_BEFORE": "You have bought {item} before.",
    "DUE_AGAIN": "It may be time for {item} again.",
    "SIMILAR_TO": "Similar to {cause}.",
    "BOUGHT_TOGETHER": "Often bought together with {cause}.",
    "AFFINITY": "{item} fits what you usually choose.",
    "SEQUENCE": "Often bought after {cause}.",
    "POPULAR": "{item} is popular with other customers.",
    "TRENDING": "Many people are buying {item}.",
    "NEW": "{item} is new.",
    "PINNED": "{item} was chosen by the shop.",
    "EXPLORATION": "{item} is something different to discover.",
}


@strawberry.enum(description="What kind of reason put an item in a list.")
class ReasonCode(StrEnum):
    """As `ml.ranking.REASONS`, in its order."""

    BOUGHT_BEFORE = "BOUGHT_BEFORE"
    DUE_AGAIN = "DUE_AGAIN"
    SIMILAR_TO = "SIMILAR_TO"
    BOUGHT_TOGETHER = "BOUGHT_TOGETHER"
    AFFINITY = "AFFINITY"
    SEQUENCE = "SEQUENCE"
    POPULAR = "POPULAR"
    TRENDING = "TRENDING"
    NEW = "NEW"
    PINNED = "PINNED"
    EXPLORATION = "EXPLORATION"


_CODES = tuple(ReasonCode(name) for name in REASONS)

strawberry.enum(
    Degradation,
    description="Why an answer is less than it could be: UNKNOWN_PERSON nothing is known of this person, so the list is"
    " the popular one; NO_MODEL no trained model serves yet; NO_CACHE the events of the last moments may be missing;"
    " NO_HISTORY the person's history could not be read.",
)


class Evidence:
    """A person's own events about the items that a list's reasons name: one query, only when somebody asks."""

    def __init__(self, context: Context, person: Person | None, items: Sequence[str]) -> None:
        self._context, self._person, self._items = context, person, items
        self._found: asyncio.Future[dict[str, list[StoredEvent]]] | None = None

    async def about(self, item: str) -> list[StoredEvent]:
        """The newest events about `item`, at most three."""
        if self._person is None:
            return []
        if self._found is None:
            query = events_for_items(self._context.gateway.pool, self._person, self._items, EVIDENCE)
            self._found = asyncio.ensure_future(query)
        return (await self._found).get(item, [])


@strawberry.type(description="Why an item is in the list.")
class Reason:
    """The evidence for one item."""

    code: ReasonCode = strawberry.field(description="What kind of reason.")
    person: strawberry.Private[Person | None]
    evidence: strawberry.Private[Evidence]
    shown: strawberry.Private[stored.Item]
    cause: strawberry.Private[stored.Item]

    @strawberry.field(description="A sentence to show. Only English is spoken so far; other languages get English.")
    def text(
        self, language: Annotated[str | None, strawberry.argument(description="BCP 47 tag of the language.")] = None
    ) -> str:
        """The reason in words."""
        if self.code is ReasonCode.SIMILAR_TO and self.cause.id == self.shown.id:
            return f"You looked at {_called(self.shown)} lately."
        return _TEXTS[self.code.value].format(item=_called(self.shown), cause=_called(self.cause))

    @strawberry.field(description="The item that is the reason: the one bought before, looked at, or like this one.")
    def item(self) -> Item | None:
        """The item the reason names."""
        return Item.of(self.cause)

    @strawberry.field(
        permission_classes=[requires_or_oneself("profiles:read")],
        description="The person's own newest events about that item, at most three.",
    )
    async def events(self) -> list[Event] | None:
        """What the person did with the item the reason names."""
        return [Event.of(event) for event in await self.evidence.about(self.cause.id)]


def _called(item: stored.Item) -> str:
    return item.title or item.id


@strawberry.type(description="An item in a list, with its reason.")
class RecommendationEdge:
    """One line of a list."""

    impression_id: strawberry.ID | None = strawberry.field(
        description="The list's, here too because clients merge pages: send it back with what the person does."
    )
    rank: int = strawberry.field(description="Place in the list, from 1, over all pages.")
    score: float = strawberry.field(description="How likely it is wanted, 0 to 1; comparable within one list only.")
    reason: Reason = strawberry.field(description="Why it is here.")
    node: Item = strawberry.field(description="The item.")
    page: strawberry.Private[Page]
    position: strawberry.Private[int]

    @strawberry.field(description="Give this as `after` to go on behind this item, within ten minutes.")
    def cursor(self, info: Info) -> str:
        """The signed place of this line."""
        return self.page.cursor(info.context.gateway.signer, self.position)


@strawberry.type(description="A list of items made for someone or something, best first.")
class RecommendationConnection:
    """What recommendations, similar items and trends have in common."""

    impression_id: strawberry.ID | None = strawberry.field(
        description="Signed name of this list; IMPRESSION events that carry it say what was seen. Null for a preview."
    )
    placement: str = strawberry.field(description="The place on the page the list is for.")
    model_version: strawberry.ID | None = strawberry.field(description="The model that made it; null without one.")
    as_of: datetime = strawberry.field(description="The moment the list is true for; later pages keep the first one's.")
    degraded: list[Degradation] = strawberry.field(
        description="What is missing from this answer; empty when all is well."
    )
    edges: list[RecommendationEdge] = strawberry.field(description="The items with rank, score and reason.")
    nodes: list[Item] = strawberry.field(description="The items alone.")
    page: strawberry.Private[Page]

    @strawberry.field(description="Where this page ends. No item comes twice over the pages of a list.")
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
        cls, context: Context, listed: Listed, placement: str, person: Person | None, *, preview: bool = False
    ) -> Self:
        """The public shape of a page."""
        page, model = listed.page, strawberry.ID(listed.bundle.id) if listed.bundle else None
        impression = None if preview else _impression(context, placement, model, page)
        edges = _edges(context, page, impression, person)
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
    context: Context, page: Page, impression: strawberry.ID | None, person: Person | None
) -> list[RecommendationEdge]:
    """No await lies between the mask and here, so every item is still there."""
    item = context.gateway.catalogue.item
    shown = [item(number) for number in page.numbers]
    causes = [item(cause) if cause else None for cause in page.because]
    evidence = Evidence(context, person, [(cause or one).id for one, cause in zip(shown, causes, strict=True) if one])
    edges = []
    for position, (one, cause) in enumerate(zip(shown, causes, strict=True)):
        assert one is not None
        code = _CODES[page.reasons[position]]
        reason = Reason(code=code, person=person, evidence=evidence, shown=one, cause=cause or one)
        edges.append(
            RecommendationEdge(
                impression_id=impression,
                rank=len(page.pin.seen) + position + 1,
                score=page.scores[position],
                reason=reason,
                node=Item.of(one),
                page=page,
                position=position,
            )
        )
    return edges


def _impression(context: Context, placement: str, model: str | None, page: Page) -> strawberry.ID:
    """Which list this was, in a text nobody can forge; the nonce tells two equal lists apart."""
    said = orjson.dumps([placement, model, page.pin.as_of, len(page.pin.seen), secrets.token_hex(6)])
    return strawberry.ID(context.gateway.signer.sign("impression", said))


@strawberry.input(description="Where the person is right now.")
class RecommendationContext:
    """The page the list is for."""

    item_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Items the page shows: what is near them comes up, they themselves are left out."
    )
    cart_item_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Items in the cart: what is near them comes up, they themselves are left out."
    )
    recent_item_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Items just looked at that no event has told of yet."
    )
    category: str | None = strawberry.field(default=None, description="A category page: only its items are listed.")
    market: strawberry.ID | None = strawberry.field(
        default=None, description="Where the person buys: only what can be had there is listed."
    )
    personalize: bool | None = strawberry.field(
        default=True, description="False leaves out everything known of the person, as for someone who objects to it."
    )


async def recommend(
    context: Context,
    person: Person,
    *,
    placement: str,
    first: int,
    after: str | None,
    where: RecommendationContext | None,
    filter: ItemFilter | None,
    exclude: Sequence[str] | None,
    among: Sequence[str] | None,
    preview: bool,
) -> RecommendationConnection:
    """A page of what this person wants next."""
    if not 0 < len(placement) <= LONGEST_NAME:
        raise InvalidInput(f"placement must have 1 to {LONGEST_NAME} characters.", field="placement")
    where = where or RecommendationContext()
    shown = [*(where.item_ids or ()), *(where.cart_item_ids or ())]
    wish = Wish(
        first=check_first(first),
        after=after,
        wanted=read_filter(filter),
        market=where.market,
        category=where.category,
        near=[*shown, *(where.recent_item_ids or ())],
        exclude=[*shown, *(exclude or ())],
        among=among,
        personalize=where.personalize is not False,
    )
    listed = await context.recommender.for_person(person, wish)
    return RecommendationConnection.of(context, listed, placement, person, preview=preview)


async def similar_to(
    context: Context, item: stored.Item, first: int, after: str | None, filter: ItemFilter | None, market: str | None
) -> RecommendationConnection:
    """A page of what is most like an item."""
    wish = Wish(check_first(first), after, read_filter(filter), market)
    listed = await context.recommender.like_item(item, wish)
    return RecommendationConnection.of(context, listed, "similar", context.viewer.person)


@strawberry.type
class RecommendationQuery:
    """Lists that are nobody's own."""

    @strawberry.field(
        permission_classes=[requires("recommendations:read")],
        description="What most people bought lately, of what can be had; counted anew every minute.",
    )
    async def trending(
        self,
        info: Info,
        window: Annotated[
            timedelta, strawberry.argument(description="How far to look back: PT1H to P365D.")
        ] = timedelta(days=7),
        filter: Annotated[ItemFilter | None, strawberry.argument(description="Which items may be listed.")] = None,
        market: Market = None,
        first: Annotated[int, strawberry.argument(description="How many, 1 to 100.")] = 20,
        after: Annotated[str | None, strawberry.argument(description="`endCursor` of the page before.")] = None,
    ) -> RecommendationConnection | None:
        """A page of what most people buy."""
        context = info.context
        wish = Wish(check_first(first), after, read_filter(filter), market)
        listed = await context.recommender.trending(window, wish)
        return RecommendationConnection.of(context, listed, "trending", context.viewer.person)
