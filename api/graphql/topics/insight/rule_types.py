"""The types of rules, as clients write and read them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

import strawberry
from strawberry.scalars import JSON

from api.graphql.context import Info
from api.graphql.types.as_read import as_read
from api.graphql.types.bounds import AtMost
from api.graphql.types.connections import After, Connection, First
from api.graphql.types.filters import ItemFilter
from api.graphql.types.permissions import requires
from api.graphql.versioned_settings import page_of_versions
from db.rules import RULES
from db.versioned_settings import StoredSettings
from engine.explaining.rule_effects import RuleEffect
from engine.rules import conflicts as engine
from engine.rules.hours import Weekday
from engine.rules.settings import MOST_NAMES, MOST_PAGES, MOST_RANGES, Per, RuleKind, read_rule

_PLAIN = (
    "kind", "added_within", "position", "factor", "count", "of", "per", "attribute", "priority"
)  # fmt: skip  # as they are stored

strawberry.enum(
    RuleKind,
    description="What a rule does. PIN: its item has its position. BOOST, BURY: the odds of the items that match are"
    " multiplied, or divided, by the factor. EXCLUDE: items that match are not listed. INCLUDE_ONLY: only they are."
    " SLOTS: of each `of` places, `count` have items that match. AT_MOST: a list has `count` items of one brand,"
    " category, variant group or value of an attribute.",
)
strawberry.enum(
    Per,
    name="CountedPer",
    description="What items have in common: the brand, the last of their categories, the variant group, or the first"
    " value of an attribute.",
)
strawberry.enum(
    engine.ConflictKind,
    name="RuleConflict",
    description="What is wrong. PIN_EXCLUDED: one of two rules pins an item that the other keeps out of lists."
    " SAME_POSITION: two rules pin items to one position. MATCHES_NOTHING: no item matches today. LEAVES_NOTHING: the"
    " rule excludes all items that can be bought today.",
)


strawberry.enum(Weekday, description="A day of the week.")


@strawberry.type(description="Hours of a day. If `to` is the earlier one, they go over midnight.")
class RuleHours:
    """Hours of a day."""

    from_: int = strawberry.field(name="from", description="The first hour, 0 to 23.")
    to: int = strawberry.field(description="The hour before whose beginning it ends, 1 to 24.")


@as_read
@strawberry.input(description="Hours of a day. If `to` is the earlier one, they go over midnight.")
class RuleHoursInput:
    """Hours of a day."""

    from_: int = strawberry.field(name="from", description="The first hour, 0 to 23.")
    to: int = strawberry.field(description="The hour before whose beginning it ends, 1 to 24.")


@strawberry.type(description="Numbers of an attribute, both ends included.")
class RuleRange:
    """A range of numbers."""

    attribute: str = strawberry.field(description="The name of the attribute.")
    min: float | None = strawberry.field(description="The lowest number; null for no lower bound.")
    max: float | None = strawberry.field(description="The highest number; null for no upper bound.")


@as_read
@strawberry.input(description="Numbers of an attribute, both ends included. It needs a bound.")
class RuleRangeInput:
    """A range of numbers."""

    attribute: str = strawberry.field(description="The name of the attribute.")
    min: float | None = strawberry.field(
        default=strawberry.UNSET, description="The lowest number; left out for no lower bound."
    )
    max: float | None = strawberry.field(
        default=strawberry.UNSET, description="The highest number; left out for no upper bound."
    )


@strawberry.type(description="When a rule holds: in lists that meet every condition that is not empty.")
class RuleCondition:
    """The conditions of a rule."""

    placements: list[str] = strawberry.field(description="The placements; empty for all.")
    markets: list[strawberry.ID] = strawberry.field(description="The markets; empty for all, and for none.")
    item_ids: list[strawberry.ID] = strawberry.field(
        description="Items of which the page or the cart shows one; empty for any page."
    )
    categories: list[str] = strawberry.field(
        description="Categories of which the page is, or an item that it shows; empty for any page."
    )
    segments: list[strawberry.ID] = strawberry.field(
        description="Segments of which the person belongs to one; empty for everybody."
    )
    queries: list[str] = strawberry.field(
        description="Searches: the person searches for all words of one; empty for any search, and for none."
    )
    from_: datetime | None = strawberry.field(name="from", description="From when; null for as long as it is there.")
    to: datetime | None = strawberry.field(description="Until before when; null for ever.")
    weekdays: list[Weekday] = strawberry.field(description="The days of the week; empty for all.")
    hours: RuleHours | None = strawberry.field(description="The hours of the day; null for all.")
    time_zone: str | None = strawberry.field(
        description="The IANA name of the time zone whose clocks tell days and hours; null without these."
    )


@as_read
@strawberry.input(description="When a rule holds: in lists that meet every condition.")
class RuleConditionInput:
    """The conditions of a rule."""

    placements: list[str] | None = strawberry.field(
        default=strawberry.UNSET,
        description="The placements; left out for all.",
        directives=[AtMost(elements=MOST_NAMES)],
    )
    markets: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET,
        description="The markets; left out for all, and for none.",
        directives=[AtMost(elements=MOST_NAMES)],
    )
    item_ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Items of which the page or the cart shows one; left out for any page.",
        directives=[AtMost(elements=MOST_PAGES)],
    )
    categories: list[str] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Categories of which the page is, or an item that it shows; left out for any page.",
        directives=[AtMost(elements=MOST_PAGES)],
    )
    segments: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Segments of which the person belongs to one; left out for everybody.",
        directives=[AtMost(elements=MOST_NAMES)],
    )
    queries: list[str] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Searches: the `query` of the context has all words of one, whatever their case and accents; left"
        " out for any search, and for none.",
        directives=[AtMost(elements=MOST_NAMES)],
    )
    from_: datetime | None = strawberry.field(
        name="from", default=strawberry.UNSET, description="From when; left out for at once."
    )
    to: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="Until before when; left out for ever."
    )
    weekdays: list[Weekday] | None = strawberry.field(
        default=strawberry.UNSET,
        description="The days of the week; left out for all.",
        directives=[AtMost(elements=len(Weekday))],
    )
    hours: RuleHoursInput | None = strawberry.field(
        default=strawberry.UNSET, description="The hours of the day; left out for all."
    )
    time_zone: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="The IANA name of the time zone whose clocks tell days and hours, such as Europe/Berlin. Days and"
        " hours need it.",
    )


@as_read
@strawberry.input(description="A whole rule: it takes the place of the one with this id.")
class RuleInput:
    """A rule to add or change."""

    id: strawberry.ID = strawberry.field(description="The name of the rule: 1 to 64 printable characters.")
    kind: RuleKind = strawberry.field(description="What it does.")
    filter: ItemFilter | None = strawberry.field(
        default=strawberry.UNSET, description="The items that it is about. Not for PIN."
    )
    ranges: list[RuleRangeInput] | None = strawberry.field(
        default=strawberry.UNSET,
        description="Only items whose attributes have numbers in all these ranges, such as few in stock. Not for PIN.",
        directives=[AtMost(elements=MOST_RANGES)],
    )
    added_within: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="Only items that were added in the last so many days, 1 to 365: new arrivals. Not for PIN.",
    )
    item_id: strawberry.ID | None = strawberry.field(default=strawberry.UNSET, description="Of PIN: the item.")
    position: int | None = strawberry.field(
        default=strawberry.UNSET, description="Of PIN: the position in the list, 1 to 100."
    )
    factor: float | None = strawberry.field(
        default=strawberry.UNSET, description="Of BOOST and BURY: the factor for the odds, 1 to 1,000."
    )
    count: int | None = strawberry.field(
        default=strawberry.UNSET, description="Of SLOTS and AT_MOST: how many items, 1 to 100."
    )
    of: int | None = strawberry.field(default=strawberry.UNSET, description="Of SLOTS: of how many places, up to 100.")
    per: Per | None = strawberry.field(
        default=strawberry.UNSET, description="Of AT_MOST: of which items there are so many at most."
    )
    attribute: str | None = strawberry.field(
        default=strawberry.UNSET,
        description="Of BOOST and BURY: an attribute with numbers, such as a margin. Items with the greatest number"
        " have the whole factor, those with the least none of it. Of AT_MOST per ATTRIBUTE: the attribute.",
    )
    when: RuleConditionInput | None = strawberry.field(
        default=strawberry.UNSET, description="When it holds; left out for always."
    )
    priority: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="Of rules of one kind the highest priority comes first: -1,000 to 1,000, 0 if left out.",
    )
    version: int | None = strawberry.field(
        default=strawberry.UNSET,
        description="The version that you have read, 0 for none: if there is a newer one, nothing changes and the error"
        " is CONFLICT. Null or left out: whatever it is.",
    )
    reason: str | None = strawberry.field(
        default=strawberry.UNSET, description="Why, for the record: at most 500 characters."
    )


@strawberry.type(description="A version of a rule: lists follow the newest one.")
class Rule:
    """One version of a rule."""

    id: strawberry.ID = strawberry.field(description="The name of the rule.")
    version: int = strawberry.field(description="The number of the version, from 1.")
    removed: bool = strawberry.field(description="Whether the rule was removed; its other fields are null then.")
    kind: RuleKind | None = strawberry.field(description="What it does.")
    filter: JSON | None = strawberry.field(description="The items that it is about, as an ItemFilter; null for all.")
    ranges: list[RuleRange] | None = strawberry.field(
        description="Only items whose attributes have numbers in all these ranges; empty for all."
    )
    added_within: int | None = strawberry.field(
        description="Only items that were added in the last so many days; null for all."
    )
    item_id: strawberry.ID | None = strawberry.field(description="The item that it pins.")
    position: int | None = strawberry.field(description="The position that it pins the item to.")
    factor: float | None = strawberry.field(description="The factor for the odds of items.")
    count: int | None = strawberry.field(description="How many items.")
    of: int | None = strawberry.field(description="Of how many places.")
    per: Per | None = strawberry.field(description="Of which items there are so many at most.")
    attribute: str | None = strawberry.field(description="The attribute that the factor or the number is about.")
    when: RuleCondition | None = strawberry.field(description="When it holds.")
    priority: int | None = strawberry.field(description="Of rules of one kind the highest priority comes first.")
    changed_at: datetime = strawberry.field(description="When this version was made.")
    changed_by: str = strawberry.field(description="Who made it.")
    reason: str | None = strawberry.field(description="Why; null when nobody said it.")

    @classmethod
    def of_record(cls, record: StoredSettings) -> Self:
        """The public shape."""
        return cls(
            id=strawberry.ID(record.id),
            version=record.version,
            removed=record.settings is None,
            **_settings(record.settings),
            changed_at=record.changed_at,
            changed_by=record.changed_by,
            reason=record.reason,
        )

    @strawberry.field(
        permission_classes=[requires("placements:read")], description="All versions of the rule, newest first."
    )
    async def history(self, info: Info, first: First = 20, after: After = None) -> Connection["Rule"] | None:
        """A page of versions."""
        return await page_of_versions(info, RULES, "rule", self.id, first, after, Rule.of_record)


@strawberry.type(description="What a saved rule gets in the way of, or is stopped by, as far as it is known now.")
class RuleWarning:
    """A warning: the rule is saved all the same."""

    kind: engine.ConflictKind = strawberry.field(description="What is wrong.")
    message: str = strawberry.field(description="What is wrong, in words.")
    rule_id: strawberry.ID | None = strawberry.field(description="The other rule; null where there is none.")


@strawberry.type(description="What a rule of the shop does to the item.")
class ExplanationRule:
    """A rule about the item."""

    rule_id: strawberry.ID = strawberry.field(description="The rule.")
    version: int | None = strawberry.field(description="Its version.")
    kind: RuleKind = strawberry.field(description="What it does.")
    factor: float | None = strawberry.field(
        description="What it multiplies the odds of the item by, at most 1 for BURY; null for other kinds."
    )
    position: int | None = strawberry.field(description="The position that it pins the item to; null for other kinds.")

    @classmethod
    def of(cls, effect: RuleEffect) -> Self:
        """The public shape."""
        return cls(
            rule_id=strawberry.ID(effect.rule_id),
            version=effect.version,
            kind=effect.kind,
            factor=effect.factor,
            position=effect.position,
        )


def _settings(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """The public shape of the settings by field; None for all of a rule that was removed."""
    if settings is None:
        return dict.fromkeys((*_PLAIN, "filter", "ranges", "item_id", "when"))
    says = read_rule(settings)
    when = RuleCondition(
        placements=list(says.when.placements),
        markets=[strawberry.ID(market) for market in says.when.markets],
        item_ids=[strawberry.ID(id) for id in says.when.item_ids],
        categories=list(says.when.categories),
        segments=[strawberry.ID(id) for id in says.when.segments],
        queries=list(says.when.queries),
        from_=says.when.from_,
        to=says.when.to,
        weekdays=list(says.when.weekdays),
        hours=None if says.when.hours is None else RuleHours(from_=says.when.hours.from_, to=says.when.hours.to),
        time_zone=says.when.time_zone,
    )
    return {
        **{name: getattr(says, name) for name in _PLAIN},
        "filter": JSON(settings["filter"]) if "filter" in settings else None,
        "ranges": [RuleRange(attribute=one.attribute, min=one.min, max=one.max) for one in says.ranges],
        "item_id": None if says.item_id is None else strawberry.ID(says.item_id),
        "when": when,
    }
