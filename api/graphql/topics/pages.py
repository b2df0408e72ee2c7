"""`User.page`: all lists of one page in one answer, each with its own impression, filter and error."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import strawberry
from strawberry.types import get_object_definition
from strawberry.types.arguments import InputContext, convert_argument

from api.graphql.context import Info
from api.graphql.planning.pure import pure
from api.graphql.topics.lists.kinds import ListKind
from api.graphql.topics.recommendations import RecommendationConnection, RecommendationContext, list_request, with_rules
from api.graphql.types.bounds import AtMost
from api.graphql.types.connections import UNNAMED_IN_SLOT
from api.graphql.types.filters import ItemFilter, read_filter
from api.graphql.types.permissions import requires
from core.contract import Person
from core.errors import InvalidInput
from engine.placements.placement import Placement
from engine.recommending.page_slots import MAX_SLOTS
from engine.recommending.recommendations import ListRequest, RecommendedList

MAX_KEY = 64  # characters


@strawberry.input(description="One slot of a page: what to list, and where.")
class PlacementRequest:
    """One slot of a page."""

    key: str = strawberry.field(
        description=f"The name of the slot on the page, 1 to {MAX_KEY} characters; no other slot has it."
    )
    placement: str = strawberry.field(
        description="The place where the list is shown: any name of 1 to 64 characters. Slots may have the same."
    )
    first: int | None = strawberry.field(
        default=None,
        description="How many items to list: 1 to 100. Null: as many as the placement says, but at most"
        f" {UNNAMED_IN_SLOT}; {UNNAMED_IN_SLOT} by default.",
    )
    context: RecommendationContext | None = strawberry.field(
        default=None,
        description="What the person is looking at in this slot. What it leaves out, or is null in it, is as in the"
        " `context` of the page. With `personalize: false` in either, the slot is not personalized.",
    )
    filter: ItemFilter | None = strawberry.field(
        default=None, description="Only items that match this filter; null for all items."
    )
    exclude: list[strawberry.ID] | None = strawberry.field(
        default=None,
        description="The ids of items to leave out of this slot, at most 400.",
        directives=[AtMost(elements=400)],
    )
    kind: ListKind | None = strawberry.field(
        name="list", default=None, description="What to list; null: what the placement says, else PERSONAL."
    )


def _read(kind: type[PlacementRequest], sent: Mapping[str, Any], context: InputContext) -> PlacementRequest:
    """The slot, with the error of its filter in place of a filter that is wrong: other slots do without it."""
    where, filter = sent.get("context"), sent.get("filter")

    def convert(value: Any, type_: Any) -> Any:
        return convert_argument(value, type_, context.scalar_registry, context.config, context.info)

    try:
        read = convert(filter, ItemFilter)
    except InvalidInput as error:
        read = error
    return kind(
        key=sent["key"],
        placement=sent["placement"],
        first=sent.get("first"),
        context=convert(where, RecommendationContext),
        filter=read,
        exclude=sent.get("exclude"),
        kind=convert(sent.get("list"), ListKind),
    )


get_object_definition(PlacementRequest, strict=True).from_input = _read


@strawberry.type(description="One slot of a page, with its list.")
class PageSlot:
    """One slot of a page."""

    key: str = strawberry.field(description="The `key` of the request for this slot.")
    placement: str = strawberry.field(description="The `placement` of the request for this slot.")
    made: strawberry.Private[RecommendationConnection | Exception]

    @strawberry.field(
        description="The list of this slot. Null with an error when it cannot be made (`BAD_USER_INPUT` for a wrong"
        " filter, `TIMEOUT` when it takes too long); the other slots are there. Its cursors continue it in"
        " `recommendations`, with the arguments of this slot."
    )
    @pure
    def recommendations(self) -> RecommendationConnection | None:
        """The list, or its error."""
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


async def page(
    root: Any,
    info: Info,
    requests: Annotated[
        list[PlacementRequest],
        strawberry.argument(
            description=f"The slots of the page, at most {MAX_SLOTS}, the most important first.",
            directives=[AtMost(elements=MAX_SLOTS)],
        ),
    ],
    context: Annotated[
        RecommendationContext | None,
        strawberry.argument(description="What the person is looking at now, for all slots."),
    ] = None,
    market: Annotated[
        strawberry.ID | None,
        strawberry.argument(
            description="The market the person buys in, for all slots: only items available there are listed, with its"
            " offers; null for all markets."
        ),
    ] = None,
    distinct: Annotated[
        bool,
        strawberry.argument(
            description="True: no item is in two slots, nor are two variants of an item; the earlier slot has it, and"
            " the later one lists the next. False: each slot is as if it were asked for alone."
        ),
    ] = True,
) -> list[PageSlot] | None:
    """The slots of a page for this person, in the order of the requests."""
    person = cast(Person, root.person)
    _check_keys(requests)
    placed = [info.context.gateway.placements.find(one.placement) for one in requests]
    wanted = [await _wanted(info, person, one, context, market, own) for one, own in zip(requests, placed, strict=True)]

    def show(place: int, listed: RecommendedList) -> RecommendationConnection:
        own = cast(ListRequest, wanted[place]).market
        name = requests[place].placement
        return RecommendationConnection.of(info.context, listed, name, person, own, placed=placed[place])

    made = await info.context.pages.make(person, wanted, show, distinct=distinct)
    return [PageSlot(key=one.key, placement=one.placement, made=each) for one, each in zip(requests, made, strict=True)]


PAGE = strawberry.field(
    name="page",
    resolver=page,
    permission_classes=[requires("recommendations:read")],
    description="Many lists of one page in one go: each slot has a list and an impression of its own, in the order of"
    " the requests. The person is read once and the lists are ranked together, so a page costs little more than a"
    " list. It does not know the lists beside it in the operation, nor do they know its items.",
)
"""A field of User."""


def _check_keys(requests: Sequence[PlacementRequest]) -> None:
    """Raise InvalidInput for a key that is empty, too long, or there twice."""
    seen = set[str]()
    for one in requests:
        if not 0 < len(one.key) <= MAX_KEY:
            raise InvalidInput(f"The key of a slot must have 1 to {MAX_KEY} characters.", field="requests.key")
        if one.key in seen:
            raise InvalidInput(f"Two slots have the key {one.key}.", field="requests.key")
        seen.add(one.key)


async def _wanted(
    info: Info,
    person: Person,
    one: PlacementRequest,
    where: RecommendationContext | None,
    market: str | None,
    placed: Placement | None,
) -> ListRequest | InvalidInput:
    """The engine's request for a slot, or what is wrong with it."""
    try:
        if isinstance(one.filter, InvalidInput):
            raise one.filter
        request = list_request(
            one.placement, one.first, _merged(where, one.context), market, read_filter(one.filter), one.exclude,
            placed=placed, unnamed=UNNAMED_IN_SLOT, kind=one.kind,
        )  # fmt: skip
        return await with_rules(info.context, person, one.placement, request)
    except InvalidInput as error:
        return error


def _merged(page: RecommendationContext | None, own: RecommendationContext | None) -> RecommendationContext | None:
    """The context of a slot: its own, and what it leaves out from the page's."""
    if page is None or own is None:
        return own or page
    names = ("item_ids", "cart_item_ids", "recent_item_ids", "category", "market", "session_id", "query")
    found = {name: getattr(page if getattr(own, name) is None else own, name) for name in names}
    return RecommendationContext(**found, personalize=page.personalize is not False and own.personalize is not False)
