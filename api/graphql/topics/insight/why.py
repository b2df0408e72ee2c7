"""`User.whyDoISeeThis`: why a person sees an item, in words for them, and how they can stop it."""

from typing import Annotated, Any

import strawberry

from api.graphql.context import Info
from api.graphql.topics.insight.interests import PRIVATE, Language
from api.graphql.topics.items import Item, Market
from api.graphql.topics.lists.edges import Reason
from api.graphql.topics.recommendations import RecommendationConnection, list_request, with_rules
from api.graphql.types.connections import MAX_FIRST
from core.contract import check_id
from db import items as stored
from engine.choices.why import Stop, StopAction, is_hidden, is_placed, placement_of, stops_of
from engine.reasons.texts import ReasonTexts

strawberry.enum(
    StopAction,
    description="What a person can do so that they do not see an item. HIDE_ITEM: `hideItem`. HIDE_CATEGORY:"
    " `hideCategory`. PAUSE: `pausePersonalization`.",
)
_SAID = {StopAction.HIDE_ITEM: "STOP_ITEM", StopAction.HIDE_CATEGORY: "STOP_CATEGORY", StopAction.PAUSE: "STOP_PAUSE"}


@strawberry.type(description="Something that a person can do so that they do not see an item.")
class WayToStop:
    """An action, and what it is about."""

    action: StopAction = strawberry.field(description="What to do.")
    category: str | None = strawberry.field(description="The category to hide; null for another action.")
    shown: strawberry.Private[stored.Item]
    texts: strawberry.Private[ReasonTexts]

    @strawberry.field(description="The action as a short text, such as that of a button. It is plain text.")
    def text(self, language: Language = None) -> str:
        """The action in words."""
        about = self.category if self.category is not None else self.shown.title or self.shown.id
        return self.texts.text(_SAID[self.action], language, about, "")


@strawberry.type(description="Why a person sees an item, for the person.")
class WhyShown:
    """The reason, what the shop did, and how to stop it."""

    item: Item = strawberry.field(description="The item.")
    placement: str = strawberry.field(description="The place of the list.")
    rank: int | None = strawberry.field(
        description="The position of the item in the list as it is now, from 1; null when it is not among the first"
        f" {MAX_FIRST}."
    )
    reason: Reason | None = strawberry.field(
        description="Why it is there, with the person's own events behind it; null without a position."
    )
    hidden: bool = strawberry.field(description="Whether the person hid the item, or a category of it.")
    placed_by_shop: bool = strawberry.field(
        description="Whether a decision of the shop put it there or raised it, beside what is known of the person."
    )
    ways_to_stop: list[WayToStop] = strawberry.field(
        description="What the person can do so that they do not see it; empty when it is hidden."
    )
    texts: strawberry.Private[ReasonTexts]

    @strawberry.field(description="All of it as one or two short sentences to show to the person. It is plain text.")
    def text(self, language: Language = None) -> str:
        """The answer in words."""
        if self.reason is None:
            return self.texts.text("HIDDEN" if self.hidden else "NOT_LISTED", language, "", "")
        said = self.reason.words(language)
        return f"{said} {self.texts.text('BY_SHOP', language, '', '')}" if self.placed_by_shop else said


async def why_do_i_see_this(
    root: Any,
    info: Info,
    item_id: Annotated[strawberry.ID, strawberry.argument(description="The id of the item.")],
    placement: Annotated[
        str | None, strawberry.argument(description="The place of the list; null: that of `impressionId`, else `home`.")
    ] = None,
    impression_id: Annotated[
        strawberry.ID | None, strawberry.argument(description="The `impressionId` of the list that the person saw.")
    ] = None,
    market: Market = None,
) -> WhyShown | None:
    """Why the person sees an item in a list."""
    context, person = info.context, root.person
    gateway = context.gateway
    name = placement_of(gateway.signer, impression_id, placement)
    placed = gateway.placements.find(name)
    request = list_request(name, MAX_FIRST, None, market, None, None, placed=placed)
    request = await with_rules(context, person, name, request)
    state = (await context.people.state(person)).state
    listed = await context.recommender.for_person(person, request)
    number = gateway.catalogue.number_of(check_id(item_id, "itemId"))
    item = None if number is None else gateway.catalogue.item(number)
    if item is None:
        return None
    connection = RecommendationConnection.of(context, listed, name, person, market, placed=placed, preview=True)
    edge = next((one for one in connection.edges if one.node.id == item.id), None)
    hidden, texts = is_hidden(state, item), (placed and placed.texts) or gateway.reason_texts
    stops = [] if hidden else stops_of(item, personal=state.choices.paused_since is None)
    return WhyShown(
        item=Item.of(item, market),
        placement=name,
        rank=None if edge is None else edge.rank,
        reason=None if edge is None else edge.reason,
        hidden=hidden,
        placed_by_shop=edge is not None and is_placed(request.rules, listed.page, edge.position),
        ways_to_stop=[_way(one, item, texts) for one in stops],
        texts=texts,
    )


def _way(stop: Stop, item: stored.Item, texts: ReasonTexts) -> WayToStop:
    return WayToStop(action=stop.action, category=stop.category, shown=item, texts=texts)


WHY: Any = strawberry.field(
    resolver=why_do_i_see_this,
    permission_classes=[PRIVATE],
    description="Why this person sees an item, in words for them: the reason with their own events behind it, whether"
    " the shop placed it, and how they can stop it. It is about the list as it is now, without the context of a page;"
    " null when the catalogue does not have the item. For operators there is `explain`.",
)
