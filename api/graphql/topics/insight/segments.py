"""Segments: groups of users that the shop defines, and the mutations that define them."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

import strawberry

from api.graphql.context import Info
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from api.graphql.types.viewers import recorded_name
from core.errors import InvalidInput
from db import segments as stored
from engine.segments.defining import WITHIN, check_segment_id, define_segment
from ml.rfm import SEGMENTS
from ml.segments import Chance, Conditions, Span

_LARGEST_COUNT = 2**31 - 1


@strawberry.enum(description="The segments of `Rfm.segment`.")
class RfmSegment(StrEnum):
    """The same as `ml.rfm.SEGMENTS`."""

    CHAMPION = "CHAMPION"
    LOYAL = "LOYAL"
    PROMISING = "PROMISING"
    NEW = "NEW"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"
    AT_RISK = "AT_RISK"
    CANNOT_LOSE = "CANNOT_LOSE"
    HIBERNATING = "HIBERNATING"


assert tuple(RfmSegment) == SEGMENTS


@strawberry.input(description="From `min` to `max`, both included.")
class NumberRangeInput:
    """A range."""

    min: float | None = strawberry.field(default=None, description="The lowest value; null for no lower bound.")
    max: float | None = strawberry.field(default=None, description="The highest value; null for no upper bound.")

    def read(self) -> Span:
        """The engine's range."""
        return Span(self.min, self.max)


@strawberry.input(
    description="A forecast within some time, and the probabilities for which it holds. It needs a bound."
)
class ForecastRangeInput:
    """A forecast with bounds."""

    within: timedelta | None = strawberry.field(
        default=None, description="How far to look ahead, in whole days: P1D to P365D; null for that of `User`'s field."
    )
    min: float | None = strawberry.field(default=None, description="The lowest probability; null for no lower bound.")
    max: float | None = strawberry.field(default=None, description="The highest probability; null for no upper bound.")

    def read(self, name: str) -> Chance:
        """The engine's condition. Raises InvalidInput for a time that is not of whole days."""
        within = timedelta(days=WITHIN[name]) if self.within is None else self.within
        if within % timedelta(days=1):
            raise InvalidInput("within takes whole days.", f"where.{name}.within")
        return Chance(within.days, Span(self.min, self.max))


@strawberry.input(description="Who belongs to a segment: users for whom every condition that is given holds.")
class SegmentConditionsInput:
    """The conditions of a segment."""

    rfm: list[RfmSegment] | None = strawberry.field(default=None, description="`Rfm.segment` is one of these.")
    recency: NumberRangeInput | None = strawberry.field(default=None, description="Days since the last order.")
    orders: NumberRangeInput | None = strawberry.field(default=None, description="How many orders they placed ever.")
    spent: NumberRangeInput | None = strawberry.field(
        default=None, description="The money spent ever on what was not returned, in the shop's own currency."
    )

    churn: ForecastRangeInput | None = strawberry.field(
        default=None, description="How probable it is that they do not order, as `User.churn` says."
    )
    next_purchase: ForecastRangeInput | None = strawberry.field(
        default=None, description="How probable it is that they order, as `User.nextPurchase` says."
    )

    def read(self) -> Conditions:
        """The engine's conditions."""
        chances = {name: chance.read(name) for name in WITHIN if (chance := getattr(self, name)) is not None}
        spans = {name: getattr(self, name) for name in ("recency", "orders", "spent")}
        given = {name: span.read() for name, span in spans.items() if span is not None}
        return Conditions(tuple(each.value for each in self.rfm or ()), **given, **chances)


@strawberry.input(description="A segment.")
class SegmentInput:
    """A segment to save."""

    id: strawberry.ID = strawberry.field(
        description="The shop's own id: 1 to 64 letters, digits, dots, dashes, underscores. A segment that has it is"
        " replaced."
    )
    name: str = strawberry.field(description="A name for people, 1 to 100 characters.")
    where: SegmentConditionsInput = strawberry.field(description="Who belongs to it. It needs a condition.")


@strawberry.type(description="From `min` to `max`, both included.")
class NumberRange:
    """A range."""

    min: float | None = strawberry.field(description="The lowest value; null for no lower bound.")
    max: float | None = strawberry.field(description="The highest value; null for no upper bound.")

    @classmethod
    def of(cls, span: Span) -> Self | None:
        """The public shape; None for a range without bounds."""
        return None if span == Span() else cls(min=span.min, max=span.max)


@strawberry.type(description="A forecast within some time, and the probabilities for which it holds.")
class ForecastRange:
    """A forecast with bounds."""

    within: timedelta = strawberry.field(description="How far it looks ahead.")
    min: float | None = strawberry.field(description="The lowest probability; null for no lower bound.")
    max: float | None = strawberry.field(description="The highest probability; null for no upper bound.")

    @classmethod
    def of(cls, chance: Chance | None) -> Self | None:
        """The public shape."""
        return None if chance is None else cls(within=timedelta(days=chance.within), **chance.span._asdict())


@strawberry.type(description="Who belongs to a segment: users for whom every condition that is given holds.")
class SegmentConditions:
    """The conditions of a segment."""

    rfm: list[RfmSegment] | None = strawberry.field(description="`Rfm.segment` is one of these; null for any.")
    recency: NumberRange | None = strawberry.field(description="Days since the last order; null for any.")
    orders: NumberRange | None = strawberry.field(description="Orders ever; null for any.")
    spent: NumberRange | None = strawberry.field(description="The money spent ever; null for any.")
    churn: ForecastRange | None = strawberry.field(description="The probability of no order; null for any.")
    next_purchase: ForecastRange | None = strawberry.field(description="The probability of an order; null for any.")

    @classmethod
    def of(cls, conditions: Conditions) -> Self:
        """The public shape."""
        return cls(
            rfm=[RfmSegment(name) for name in conditions.rfm] or None,
            recency=NumberRange.of(conditions.recency),
            orders=NumberRange.of(conditions.orders),
            spent=NumberRange.of(conditions.spent),
            churn=ForecastRange.of(conditions.churn),
            next_purchase=ForecastRange.of(conditions.next_purchase),
        )


@strawberry.type(
    description="A group of users. Its members are found within a minute after it was saved, then every hour, and are"
    " read by `GET /segments/{id}/members`."
)
class Segment:
    """A segment."""

    id: strawberry.ID = strawberry.field(description="The shop's own id.")
    name: str = strawberry.field(description="Its name for people.")
    where: SegmentConditions = strawberry.field(description="Who belongs to it.")
    members: int | None = strawberry.field(
        description="How many users belonged to it when they were found last; null before that."
    )
    as_of: datetime | None = strawberry.field(description="When they were found last; null before that.")
    changed_at: datetime = strawberry.field(description="When it was saved last.")
    changed_by: str = strawberry.field(description="Who saved it.")

    @classmethod
    def of(cls, record: stored.Segment) -> Self:
        """The public shape."""
        return cls(
            id=strawberry.ID(record.id),
            name=record.name,
            where=SegmentConditions.of(Conditions.read(record.definition)),
            members=None if record.members is None else min(record.members, _LARGEST_COUNT),
            as_of=record.made_at,
            changed_at=record.changed_at,
            changed_by=record.changed_by,
        )


@strawberry.type(description="The outcome of `saveSegment`.")
class SaveSegmentPayload:
    """The saved segment, or why nothing changed."""

    segment: Segment | None = strawberry.field(description="The segment; null when nothing changed.")
    user_errors: list[UserError] = strawberry.field(description="Why nothing changed; empty when it was saved.")


@strawberry.type(description="The outcome of `deleteSegment`.")
class DeleteSegmentPayload:
    """Whether the segment was there."""

    deleted: bool = strawberry.field(description="Whether there was such a segment.")
    user_errors: list[UserError] = strawberry.field(description="What is wrong with the id; empty when it is right.")


@strawberry.type
class SegmentQuery:
    """Queries of segments."""

    @strawberry.field(permission_classes=[requires("segments:read")], description="All segments, by id: at most 100.")
    async def segments(self, info: Info) -> list[Segment] | None:
        """All segments."""
        return [Segment.of(record) for record in await stored.list_segments(info.context.reads)]

    @strawberry.field(
        permission_classes=[requires("segments:read")], description="One segment; null when no segment has this id."
    )
    async def segment(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The id of the segment.")]
    ) -> Segment | None:
        """The segment with this id."""
        record = await stored.segment_by_id(info.context.reads, check_segment_id(id))
        return None if record is None else Segment.of(record)


def _as_named_here(error: InvalidInput) -> InvalidInput:
    """The error with the names that conditions have in GraphQL."""
    text, field = (each.replace("next_purchase", "nextPurchase") for each in (str(error), error.field or ""))
    return InvalidInput(text, field or None)


@strawberry.type
class SegmentMutation:
    """Mutations of segments."""

    @strawberry.mutation(
        permission_classes=[requires("segments:write")],
        description="Add a segment, or replace the one with this id. There may be 100.",
    )
    async def save_segment(
        self, info: Info, input: Annotated[SegmentInput, strawberry.argument(description="The segment.")]
    ) -> SaveSegmentPayload | None:
        """Save a segment."""
        pool, by = info.context.gateway.shares.bulk, recorded_name(info.context.viewer)
        try:
            record = await define_segment(pool, input.id, input.name, input.where.read(), by)
        except InvalidInput as error:
            return SaveSegmentPayload(segment=None, user_errors=[UserError.of(_as_named_here(error))])
        return SaveSegmentPayload(segment=Segment.of(record), user_errors=[])

    @strawberry.mutation(
        permission_classes=[requires("segments:write")], description="Delete a segment with its members."
    )
    async def delete_segment(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The id of the segment.")]
    ) -> DeleteSegmentPayload | None:
        """Delete a segment."""
        try:
            deleted = await stored.delete_segment(info.context.gateway.shares.bulk, check_segment_id(id))
        except InvalidInput as error:
            return DeleteSegmentPayload(deleted=False, user_errors=[UserError.of(error)])
        return DeleteSegmentPayload(deleted=deleted, user_errors=[])
