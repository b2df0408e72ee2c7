"""The conditions of segments, as clients write and read them."""

from datetime import timedelta
from typing import Optional, Self

import strawberry

from api.graphql.types.as_read import as_read
from api.graphql.types.bounds import AtMost
from api.graphql.types.event_types import EventType
from engine.explaining.affinities import Dimension
from engine.segments.settings import (
    MOST_CONDITIONS,
    MOST_COUNTS,
    MOST_LEVELS,
    MOST_VALUES,
    Churn,
    Range,
    RfmSegment,
    Where,
)

strawberry.enum(RfmSegment, description="The segments of `Rfm.segment`.")


@as_read
@strawberry.input(description="From `min` to `max`, both included.")
class NumberRangeInput:
    """A range."""

    min: float | None = strawberry.field(
        default=strawberry.UNSET, description="The lowest value; null for no lower bound."
    )
    max: float | None = strawberry.field(
        default=strawberry.UNSET, description="The highest value; null for no upper bound."
    )


@as_read
@strawberry.input(
    description="A forecast within some time, and the probabilities for which it holds. It needs a bound."
)
class ForecastRangeInput:
    """A forecast with bounds."""

    within: timedelta | None = strawberry.field(
        default=strawberry.UNSET,
        description="How far to look ahead, in whole days: P1D to P365D; null for that of `User`'s field.",
    )
    min: float | None = strawberry.field(
        default=strawberry.UNSET, description="The lowest probability; null for no lower bound."
    )
    max: float | None = strawberry.field(
        default=strawberry.UNSET, description="The highest probability; null for no upper bound."
    )


@as_read
@strawberry.input(
    description="A trait of the user. It needs `values`, or `min` or `max`, or `exists`: one of the three."
)
class TraitConditionInput:
    """A condition on a trait."""

    key: str = strawberry.field(description="The key of the trait.")
    values: list[str] | None = strawberry.field(
        default=strawberry.UNSET,
        description="It is one of these, or a list with one of them. Numbers and booleans are compared as text: 5,"
        " true.",
        directives=[AtMost(elements=MOST_VALUES)],
    )
    min: float | None = strawberry.field(default=strawberry.UNSET, description="It is a number of at least this.")
    max: float | None = strawberry.field(default=strawberry.UNSET, description="It is a number of at most this.")
    exists: bool | None = strawberry.field(
        default=strawberry.UNSET, description="True: the user has the trait. False: they have not."
    )


@as_read
@strawberry.input(
    description="The share of the user's orders that have an item of a category or brand, 0 to 1. It needs a bound."
)
class AffinityConditionInput:
    """A condition on what was ordered."""

    by: Dimension = strawberry.field(description="CATEGORY: any of the item's categories. BRAND: its brand.")
    key: str = strawberry.field(description="The category or brand.")
    min: float | None = strawberry.field(default=strawberry.UNSET, description="The lowest share; null for none.")
    max: float | None = strawberry.field(default=strawberry.UNSET, description="The highest share; null for none.")


@as_read
@strawberry.input(description="How many events of a type the user has within some time. It needs a bound.")
class EventConditionInput:
    """A condition on events."""

    type: EventType = strawberry.field(description="The type of the events.")
    within: timedelta = strawberry.field(description="How far to look back, in whole days: P1D to P365D.")
    min: int | None = strawberry.field(default=strawberry.UNSET, description="At least so many; null for no bound.")
    max: int | None = strawberry.field(
        default=strawberry.UNSET, description="At most so many, 0 for none; null for no bound."
    )
    categories: list[str] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Only events of items in one of these categories; null for all.",
        directives=[AtMost(elements=MOST_VALUES)],
    )
    brands: list[str] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Only events of items of one of these brands; null for all.",
        directives=[AtMost(elements=MOST_VALUES)],
    )


@as_read
@strawberry.input(
    description="Who belongs to a segment: users for whom every condition that is given holds. Conditions in conditions"
    " may have 3 levels, the outermost counted, and 50 conditions, of which 10 on events and affinities.",
    directives=[AtMost(elements=500, levels=MOST_LEVELS)],
)
class SegmentConditionsInput:
    """The conditions of a segment."""

    rfm: list[RfmSegment] | None = strawberry.field(
        default=strawberry.UNSET, description="`Rfm.segment` is one of these."
    )
    recency: NumberRangeInput | None = strawberry.field(
        default=strawberry.UNSET, description="Days since the last order."
    )
    orders: NumberRangeInput | None = strawberry.field(
        default=strawberry.UNSET, description="How many orders they placed ever."
    )
    spent: NumberRangeInput | None = strawberry.field(
        default=strawberry.UNSET,
        description="The money spent ever on what was not returned, in the shop's own currency.",
    )
    churn: ForecastRangeInput | None = strawberry.field(
        default=strawberry.UNSET, description="How probable it is that they do not order, as `User.churn` says."
    )
    next_purchase: ForecastRangeInput | None = strawberry.field(
        default=strawberry.UNSET, description="How probable it is that they order, as `User.nextPurchase` says."
    )
    traits: list[TraitConditionInput] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Traits of the user: all of these hold.",
        directives=[AtMost(elements=MOST_CONDITIONS)],
    )
    affinities: list[AffinityConditionInput] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Shares of their orders: all of these hold.",
        directives=[AtMost(elements=MOST_COUNTS)],
    )
    events: list[EventConditionInput] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Numbers of events: all of these hold.",
        directives=[AtMost(elements=MOST_COUNTS)],
    )
    any_of: list["SegmentConditionsInput"] | None = strawberry.field(
        default=strawberry.UNSET,
        description="At least one of these holds.",
        directives=[AtMost(elements=MOST_CONDITIONS)],
    )
    not_: Optional["SegmentConditionsInput"] = strawberry.field(
        default=strawberry.UNSET, name="not", description="These do not hold, all together."
    )


@strawberry.type(description="From `min` to `max`, both included.")
class NumberRange:
    """A range."""

    min: float | None = strawberry.field(description="The lowest value; null for no lower bound.")
    max: float | None = strawberry.field(description="The highest value; null for no upper bound.")

    @classmethod
    def of(cls, range: Range) -> Self | None:
        """The public shape; None for a range without bounds."""
        return None if range == Range() else cls(min=range.min, max=range.max)


@strawberry.type(description="A forecast within some time, and the probabilities for which it holds.")
class ForecastRange:
    """A forecast with bounds."""

    within: timedelta = strawberry.field(description="How far it looks ahead.")
    min: float | None = strawberry.field(description="The lowest probability; null for no lower bound.")
    max: float | None = strawberry.field(description="The highest probability; null for no upper bound.")

    @classmethod
    def of(cls, chance: Churn | None) -> Self | None:
        """The public shape."""
        if chance is None:
            return None
        return cls(within=timedelta(days=chance.within), min=chance.min, max=chance.max)


@strawberry.type(description="A trait of the user.")
class TraitCondition:
    """A condition on a trait."""

    key: str = strawberry.field(description="The key of the trait.")
    values: list[str] | None = strawberry.field(description="It is one of these; null for any.")
    min: float | None = strawberry.field(description="It is a number of at least this; null for no bound.")
    max: float | None = strawberry.field(description="It is a number of at most this; null for no bound.")
    exists: bool | None = strawberry.field(description="Whether the user has it; null where that is not asked.")


@strawberry.type(description="The share of the user's orders that have an item of a category or brand.")
class AffinityCondition:
    """A condition on what was ordered."""

    by: Dimension = strawberry.field(description="CATEGORY: any of the item's categories. BRAND: its brand.")
    key: str = strawberry.field(description="The category or brand.")
    min: float | None = strawberry.field(description="The lowest share; null for none.")
    max: float | None = strawberry.field(description="The highest share; null for none.")


@strawberry.type(description="How many events of a type the user has within some time.")
class EventCondition:
    """A condition on events."""

    type: EventType = strawberry.field(description="The type of the events.")
    within: timedelta = strawberry.field(description="How far it looks back.")
    min: int | None = strawberry.field(description="At least so many; null for no bound.")
    max: int | None = strawberry.field(description="At most so many; null for no bound.")
    categories: list[str] | None = strawberry.field(
        description="Only events of items in one of these categories; null for all."
    )
    brands: list[str] | None = strawberry.field(
        description="Only events of items of one of these brands; null for all."
    )


@strawberry.type(description="Who belongs to a segment: users for whom every condition that is given holds.")
class SegmentConditions:
    """The conditions of a segment."""

    rfm: list[RfmSegment] | None = strawberry.field(description="`Rfm.segment` is one of these; null for any.")
    recency: NumberRange | None = strawberry.field(description="Days since the last order; null for any.")
    orders: NumberRange | None = strawberry.field(description="Orders ever; null for any.")
    spent: NumberRange | None = strawberry.field(description="The money spent ever; null for any.")
    churn: ForecastRange | None = strawberry.field(description="The probability of no order; null for any.")
    next_purchase: ForecastRange | None = strawberry.field(description="The probability of an order; null for any.")
    traits: list[TraitCondition] | None = strawberry.field(description="Traits: all of these hold; null for any.")
    affinities: list[AffinityCondition] | None = strawberry.field(
        description="Shares of their orders: all of these hold; null for any."
    )
    events: list[EventCondition] | None = strawberry.field(
        description="Numbers of events: all of these hold; null for any."
    )
    any_of: list["SegmentConditions"] | None = strawberry.field(
        description="At least one of these holds; null for no such condition."
    )
    not_: Optional["SegmentConditions"] = strawberry.field(
        name="not", description="These do not hold, all together; null for no such condition."
    )

    @classmethod
    def of(cls, where: Where) -> Self:
        """The public shape."""
        return cls(
            rfm=list(where.rfm) or None,
            recency=NumberRange.of(where.recency),
            orders=NumberRange.of(where.orders),
            spent=NumberRange.of(where.spent),
            churn=ForecastRange.of(where.churn),
            next_purchase=ForecastRange.of(where.next_purchase),
            traits=[
                TraitCondition(
                    key=each.key, values=list(each.values) or None, min=each.min, max=each.max, exists=each.exists
                )
                for each in where.traits
            ]
            or None,
            affinities=[
                AffinityCondition(by=each.by, key=each.key, min=each.min, max=each.max) for each in where.affinities
            ]
            or None,
            events=[
                EventCondition(
                    type=each.type,
                    within=timedelta(days=each.within),
                    min=each.min,
                    max=each.max,
                    categories=list(each.categories) or None,
                    brands=list(each.brands) or None,
                )
                for each in where.events
            ]
            or None,
            any_of=[cls.of(each) for each in where.any_of] or None,
            not_=None if where.not_ is None else cls.of(where.not_),
        )
