"""Placements: what the shop wants of the lists of each, with all versions; they are changed and tried out here."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Self

import strawberry
from strawberry.scalars import JSON

from api.graphql.context import Context, Info
from api.graphql.topics.recommendations import RecommendationConnection, list_request, with_rules
from api.graphql.types.as_read import as_read
from api.graphql.types.bounds import AtMost
from api.graphql.types.connections import After, Connection, Edge, First, PlacedFirst, check_first
from api.graphql.types.filters import ItemFilter
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from api.graphql.types.viewers import recorded_name
from core.contract import Person, check_user_id
from core.errors import InvalidInput
from db import placements as stored
from engine.cursors import read_cursor, write_cursor
from engine.placements.changing import change_placement, check_placement_id, patched, replace_placement
from engine.placements.placement import Placement as ServedPlacement
from engine.placements.settings import MOST_UNNAMED, FallbackSource, ListKind, Repeat, WrongSettings, read_settings

MOST_PEOPLE = 10  # of a preview

strawberry.enum(
    Repeat,
    name="RepeatPurchases",
    description="What becomes of the items that a person bought. ALLOWED: they come back as soon as people buy them"
    " again. DUE_ONLY: only when they are due, as the reason DUE_AGAIN says. HIDDEN: neither they nor their variants"
    " are listed. Of a person with very many items the 512 that matter most are known.",
)
strawberry.enum(
    FallbackSource,
    description="Items that nothing of the person speaks for. POPULAR: bought lately, most people first."
    " TRENDING: the same over 7 days. BOUGHT_BY_OTHERS: bought at all. NEW: added in the last 30 days.",
)


@strawberry.type(description="The prices that are listed in a market, both ends included.")
class PriceBand:
    """A price band."""

    market: strawberry.ID | None = strawberry.field(
        description="The market; null for every market without a band of its own."
    )
    from_: Decimal | None = strawberry.field(name="from", description="The lowest price; null for no lower bound.")
    to: Decimal | None = strawberry.field(description="The highest price; null for no upper bound.")
    currency: str | None = strawberry.field(
        description="The ISO 4217 code of the prices: an item with a price in another one is left out; null for any."
    )


@as_read
@strawberry.input(description="The prices that are listed in a market, both ends included. It needs a bound.")
class PriceBandInput:
    """A price band."""

    market: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET,
        description="The market; null or left out for every market without a band of its own.",
    )
    from_: Decimal | None = strawberry.field(
        name="from", default=strawberry.UNSET, description="The lowest price; null for no lower bound."
    )
    to: Decimal | None = strawberry.field(
        default=strawberry.UNSET, description="The highest price; null for no upper bound."
    )
    currency: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="The ISO 4217 code of the prices: an item with a price in another one is left out; null for any.",
    )


@as_read
@strawberry.input(description="A change of a placement: a field left out keeps its value, null sets the default.")
class PlacementChanges:
    """A change of settings."""

    kind: ListKind | None = strawberry.field(name="list", default=strawberry.UNSET, description="What it lists.")
    first: int | None = strawberry.field(
        default=strawberry.UNSET,
        description=f"How many items a list has where the request does not say it: 1 to {MOST_UNNAMED}.",
    )
    filter: ItemFilter | None = strawberry.field(
        default=strawberry.UNSET,
        description="Only items that match; a request's own filter applies as well. It is replaced as a whole.",
    )
    price: list[PriceBandInput] | None = strawberry.field(
        default=strawberry.UNSET,
        description="The prices that are listed, by market; replaced as a whole. At most 50, each of another market.",
        directives=[AtMost(elements=50)],
    )
    repeat: Repeat | None = strawberry.field(
        default=strawberry.UNSET, description="What becomes of the items that the person bought."
    )
    fallback: list[FallbackSource] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Where items come from, best source first, for people without any history, and when a list has"
        " too few; after these, all others as by default.",
        directives=[AtMost(elements=len(FallbackSource))],
    )
    texts: JSON | None = strawberry.field(
        default=strawberry.UNSET,
        description='Texts of reasons by language and code, as {"en": {"POPULAR": "Our best: {item}"}}; replaced as a'
        " whole. A text may use {item}, of some codes {cause} or {days}. Others are as in all lists.",
    )
    diversity: float | None = strawberry.field(
        default=strawberry.UNSET,
        description="How much the items of a list differ from each other, from 0 to 1. 0, the default: the best come"
        " first, however alike they are. 1: an item just like one before it comes after all others.",
    )
    repeat_share: JSON | None = strawberry.field(
        default=strawberry.UNSET,
        description="The share of a list that is for items which the person bought before: a number from 0 to 1, or"
        ' "OWN" for the share that such items have in what the person buys. Null, the default: as their scores say.',
    )
    explore: float | None = strawberry.field(
        default=strawberry.UNSET,
        description="The share of the places of a list, from 0, the default, to 0.3, that are given by chance to items"
        " that hardly anybody bought yet.",
    )


@as_read
@strawberry.input(
    description="A placement, and what is changed of it: a field left out keeps its value, null sets the default."
)
class PlacementInput(PlacementChanges):
    """A placement to add or change."""

    id: strawberry.ID = strawberry.field(description="The name of the placement: 1 to 64 printable characters.")
    version: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="The version that you have read, 0 for none: if there is a newer one, nothing changes and the error"
        " is CONFLICT. Null or left out: whatever it is.",
    )
    reason: str | None = strawberry.field(
        default=strawberry.UNSET, description="Why, for the record: at most 500 characters."
    )


@strawberry.type(description="A version of what the shop wants of a placement: its lists follow the newest one.")
class Placement:
    """One version of a placement."""

    id: strawberry.ID = strawberry.field(description="The name of the placement.")
    version: int = strawberry.field(description="The number of the version, from 1.")
    removed: bool = strawberry.field(description="Whether the settings were removed: lists are as by default.")
    kind: ListKind = strawberry.field(name="list", description="What it lists.")
    first: int | None = strawberry.field(
        description="How many items a list has where the request does not say it; null for the default."
    )
    filter: JSON | None = strawberry.field(description="Only items that match, as an ItemFilter; null for all.")
    price: list[PriceBand] = strawberry.field(description="The prices that are listed, by market; empty for all.")
    repeat: Repeat = strawberry.field(description="What becomes of the items that the person bought.")
    fallback: list[FallbackSource] = strawberry.field(
        description="Where items come from where nothing of the person speaks for any; empty for the default."
    )
    texts: JSON = strawberry.field(description="Texts of reasons by language and code.")
    diversity: float = strawberry.field(
        description="How much the items of a list differ from each other, from 0, the default, to 1."
    )
    repeat_share: JSON | None = strawberry.field(
        description='The share of a list that is for items which the person bought before; "OWN": the share that such'
        " items have in what the person buys; null: as their scores say."
    )
    explore: float = strawberry.field(
        description="The share of the places of a list, from 0, the default, to 0.3, that are given by chance to items"
        " that hardly anybody bought yet."
    )
    changed_at: datetime = strawberry.field(description="When this version was made.")
    changed_by: str = strawberry.field(description="Who made it.")
    reason: str | None = strawberry.field(description="Why; null when nobody said it.")

    @classmethod
    def of(cls, record: stored.StoredPlacement) -> Self:
        """The public shape."""
        settings = read_settings(record.settings or {})
        return cls(
            id=strawberry.ID(record.id),
            version=record.version,
            removed=record.settings is None,
            kind=settings.list,
            first=settings.first,
            filter=JSON((record.settings or {}).get("filter")) if settings.filter else None,
            price=[
                PriceBand(
                    market=None if band.market is None else strawberry.ID(band.market),
                    from_=band.from_,
                    to=band.to,
                    currency=band.currency,
                )
                for band in settings.price
            ],
            repeat=settings.repeat,
            fallback=list(settings.fallback),
            texts=JSON((record.settings or {}).get("texts", {})),
            diversity=settings.diversity,
            repeat_share=None if settings.repeat_share is None else JSON(settings.repeat_share),
            explore=settings.explore,
            changed_at=record.changed_at,
            changed_by=record.changed_by,
            reason=record.reason,
        )

    @strawberry.field(
        permission_classes=[requires("placements:read")], description="All versions of the placement, newest first."
    )
    async def history(self, info: Info, first: First = 20, after: After = None) -> Connection["Placement"] | None:
        """A page of versions."""
        signer, first = info.context.gateway.signer, check_first(first)
        purpose = f"placement {self.id}"
        before = None if after is None else int(read_cursor(signer, purpose, after))
        records = await stored.versions_of_placement(info.context.reads, self.id, first + 1, before)
        edges = [
            Edge(cursor=write_cursor(signer, purpose, record.version), node=Placement.of(record))
            for record in records[:first]
        ]
        return Connection.of(edges, after, more=len(records) > first)


@strawberry.type(
    description="The lists of one person before and after a change of a placement or of rules. Nobody sees them."
)
class PlacementPreview:
    """Two lists, side by side."""

    user_id: strawberry.ID = strawberry.field(description="The person.")
    before: RecommendationConnection = strawberry.field(description="The list as it is now.")
    after: RecommendationConnection = strawberry.field(description="The list as it would be.")


@strawberry.type(description="The outcome of a change of a placement.")
class UpsertPlacementPayload:
    """The placement, or why nothing changed."""

    placement: Placement | None = strawberry.field(description="The newest version; null when the change was refused.")
    user_errors: list[UserError] = strawberry.field(description="Why it was refused, an error for each wrong field.")


@strawberry.type(description="The outcome of `removePlacement`.")
class RemovePlacementPayload:
    """The placement, or why nothing changed."""

    placement: Placement | None = strawberry.field(
        description="The newest version; null when there never were settings, or the change was refused."
    )
    user_errors: list[UserError] = strawberry.field(description="Why it was refused.")


PlacementId = Annotated[strawberry.ID, strawberry.argument(description="The name of the placement.")]


@strawberry.type
class PlacementQuery:
    """Queries of placements."""

    @strawberry.field(
        permission_classes=[requires("placements:read")], description="All placements with settings, by name."
    )
    async def placements(self, info: Info, first: First = 20, after: After = None) -> Connection[Placement] | None:
        """A page of placements."""
        signer, first = info.context.gateway.signer, check_first(first)
        begin = "" if after is None else str(read_cursor(signer, "placements", after))
        records = await stored.list_placements(info.context.reads, first + 1, begin)
        edges = [
            Edge(cursor=write_cursor(signer, "placements", record.id), node=Placement.of(record))
            for record in records[:first]
        ]
        return Connection.of(edges, after, more=len(records) > first)

    @strawberry.field(
        permission_classes=[requires("placements:read")],
        description="The newest version of a placement; null for one that never had settings.",
    )
    async def placement(self, info: Info, id: PlacementId) -> Placement | None:
        """The placement of this name."""
        record = await stored.placement_by_id(info.context.reads, check_placement_id(id))
        return None if record is None else Placement.of(record)

    @strawberry.field(
        permission_classes=[requires("placements:read", "recommendations:read")],
        description="What a change of a placement would make of the lists of some users: before and after, side by"
        " side. Nothing changes, and nobody sees the lists: they have no impressions. The number of users and `first`"
        " multiply the cost.",
    )
    async def preview_placement(
        self,
        info: Info,
        id: PlacementId,
        user_ids: Annotated[
            list[strawberry.ID],
            strawberry.argument(
                description=f"The shop's own ids of at most {MOST_PEOPLE} users.",
                directives=[AtMost(elements=MOST_PEOPLE)],
            ),
        ],
        changes: Annotated[PlacementChanges, strawberry.argument(description="What would change.")],
        market: Annotated[
            strawberry.ID | None, strawberry.argument(description="The market they buy in; null for all markets.")
        ] = None,
        first: PlacedFirst = None,
    ) -> list[PlacementPreview] | None:
        """Two lists for each user."""
        context, people = info.context, [Person("user", check_user_id(id, "userIds")) for id in user_ids]
        before, after = await _both(context, id, _document(changes))
        return [
            PlacementPreview(
                user_id=strawberry.ID(person.id),
                before=await _previewed(context, person, id, before, first, market),
                after=await _previewed(context, person, id, after, first, market),
            )
            for person in people
        ]


@strawberry.type
class PlacementMutation:
    """Mutations of placements."""

    @strawberry.mutation(
        permission_classes=[requires("placements:write")],
        description="Add or change the settings of a placement: every gateway follows within 5 seconds. A change that"
        " changes nothing makes no version. There may be 1,000 placements.",
    )
    async def upsert_placement(
        self, info: Info, input: Annotated[PlacementInput, strawberry.argument(description="The placement.")]
    ) -> UpsertPlacementPayload | None:
        """Change a placement."""
        gateway, given = info.context.gateway, _document(input)
        id, version, reason = given.pop("id"), given.pop("version", None), given.pop("reason", None)
        by = recorded_name(info.context.viewer)
        try:
            record = await change_placement(gateway.shares.bulk, id, given, by, reason, expected=version)
        except InvalidInput as error:
            return UpsertPlacementPayload(placement=None, user_errors=_errors(error))
        await gateway.placements.refresh_after_change()
        return UpsertPlacementPayload(placement=Placement.of(record), user_errors=[])

    @strawberry.mutation(
        permission_classes=[requires("placements:write")],
        description="Remove the settings of a placement: its lists are as by default within 5 seconds. Its history is"
        " kept.",
    )
    async def remove_placement(
        self,
        info: Info,
        id: PlacementId,
        version: Annotated[
            int | None, strawberry.argument(description="The version that you have read; null for whatever it is.")
        ] = None,
        reason: Annotated[
            str | None, strawberry.argument(description="Why, for the record: at most 500 characters.")
        ] = None,
    ) -> RemovePlacementPayload | None:
        """Remove the settings of a placement."""
        gateway, by = info.context.gateway, recorded_name(info.context.viewer)
        try:
            record = await replace_placement(gateway.shares.bulk, id, None, by, reason, expected=version)
        except InvalidInput as error:
            return RemovePlacementPayload(placement=None, user_errors=_errors(error))
        await gateway.placements.refresh_after_change()
        return RemovePlacementPayload(placement=Placement.of(record) if record else None, user_errors=[])


def _document(changes: Any) -> dict[str, Any]:
    """The input by its names in the schema, as `as_read` gives it."""
    return dict(changes)


def _errors(error: InvalidInput) -> list[UserError]:
    if isinstance(error, WrongSettings):
        return [UserError.of(fault) for fault in error.faults]
    return [UserError.of(error, "CONFLICT" if isinstance(error, stored.PlacementChanged) else "BAD_USER_INPUT")]


async def _both(
    context: Context, id: str, changes: Mapping[str, Any]
) -> tuple[ServedPlacement | None, ServedPlacement]:
    """The placement as it is, and as it would be. Raises InvalidInput."""
    record = await stored.placement_by_id(context.reads, check_placement_id(id))
    settings, texts = record.settings if record else None, context.gateway.placements.texts
    before = None
    if record is not None and settings is not None:
        before = ServedPlacement.of(id, record.version, read_settings(settings), texts)
    return before, ServedPlacement.of(id, None, read_settings(patched(settings, changes)), texts)


async def _previewed(
    context: Context, person: Person, id: str, placed: ServedPlacement | None, first: int | None, market: str | None
) -> RecommendationConnection:
    request = list_request(id, first, None, market, None, None, placed=placed)
    request = await with_rules(context, person, id, request)
    listed = await context.recommender.for_person(person, request)
    return RecommendationConnection.of(context, listed, id, person, market, placed=placed, preview=True)
