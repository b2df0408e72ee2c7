"""Rules: what a merchandiser decides about items, with all versions; they are changed and tried out here."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self

import strawberry
from strawberry.scalars import JSON

from api.graphql.context import Context, Info
from api.graphql.topics.insight.placements import MOST_PEOPLE, PlacementPreview
from api.graphql.topics.recommendations import RecommendationConnection, list_request, with_rules
from api.graphql.types.as_read import as_read
from api.graphql.types.bounds import AtMost
from api.graphql.types.connections import After, Connection, Edge, First, check_first
from api.graphql.types.filters import ItemFilter
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from api.graphql.types.viewers import recorded_name
from core import clock
from core.contract import Person, check_user_id
from core.errors import InvalidInput
from db.rules import RULES, list_rules
from db.versioned_settings import SettingsChanged, StoredSettings
from engine.cursors import read_cursor, write_cursor
from engine.placements.changing import check_placement_id
from engine.placements.settings import WrongSettings
from engine.rules import conflicts as engine
from engine.rules.changing import check_rule_id, checked, replace_rule
from engine.rules.rule import Rule as ServedRule
from engine.rules.rule_book import RuleBook
from engine.rules.settings import MOST_NAMES, MOST_PAGES, Per, RuleKind, read_rule

MOST_TRIED = 10  # rules of a preview
_PLAIN = ("kind", "added_within", "position", "factor", "count", "of", "per", "priority")  # as they are stored

strawberry.enum(
    RuleKind,
    description="What a rule does. PIN: its item has its position. BOOST, BURY: the odds of the items that match are"
    " multiplied, or divided, by the factor. EXCLUDE: items that match are not listed. INCLUDE_ONLY: only they are."
    " SLOTS: of each `of` places, `count` have items that match. AT_MOST: a list has `count` items of one brand or"
    " category.",
)
strawberry.enum(
    Per,
    name="CountedPer",
    description="What items have in common: the brand, or the last of their categories.",
)
strawberry.enum(
    engine.ConflictKind,
    name="RuleConflict",
    description="What is wrong. PIN_EXCLUDED: one of two rules pins an item that the other keeps out of lists."
    " SAME_POSITION: two rules pin items to one position. MATCHES_NOTHING: no item matches today.",
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
    from_: datetime | None = strawberry.field(name="from", description="From when; null for as long as it is there.")
    to: datetime | None = strawberry.field(description="Until before when; null for ever.")


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
    from_: datetime | None = strawberry.field(
        name="from", default=strawberry.UNSET, description="From when; left out for at once."
    )
    to: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="Until before when; left out for ever."
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
    added_within: int | None = strawberry.field(
        description="Only items that were added in the last so many days; null for all."
    )
    item_id: strawberry.ID | None = strawberry.field(description="The item that it pins.")
    position: int | None = strawberry.field(description="The position that it pins the item to.")
    factor: float | None = strawberry.field(description="The factor for the odds of items.")
    count: int | None = strawberry.field(description="How many items.")
    of: int | None = strawberry.field(description="Of how many places.")
    per: Per | None = strawberry.field(description="Of which items there are so many at most.")
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
        signer, first, purpose = info.context.gateway.signer, check_first(first), f"rule {self.id}"
        before = None if after is None else int(read_cursor(signer, purpose, after))
        records = await RULES.versions(info.context.reads, self.id, first + 1, before)
        edges = [
            Edge(cursor=write_cursor(signer, purpose, record.version), node=Rule.of_record(record))
            for record in records[:first]
        ]
        return Connection.of(edges, after, more=len(records) > first)


@strawberry.type(description="What a saved rule gets in the way of, or is stopped by, as far as it is known now.")
class RuleWarning:
    """A warning: the rule is saved all the same."""

    kind: engine.ConflictKind = strawberry.field(description="What is wrong.")
    message: str = strawberry.field(description="What is wrong, in words.")
    rule_id: strawberry.ID | None = strawberry.field(description="The other rule; null where there is none.")


@strawberry.type(description="The outcome of a change of a rule.")
class UpsertRulePayload:
    """The rule, or why nothing changed."""

    rule: Rule | None = strawberry.field(description="The newest version; null when the change was refused.")
    warnings: list[RuleWarning] = strawberry.field(description="Conflicts of the saved rule, at most 20.")
    user_errors: list[UserError] = strawberry.field(description="Why it was refused, an error for each wrong field.")


@strawberry.type(description="The outcome of `removeRule`.")
class RemoveRulePayload:
    """The rule, or why nothing changed."""

    rule: Rule | None = strawberry.field(
        description="The newest version; null when there never was such a rule, or the change was refused."
    )
    user_errors: list[UserError] = strawberry.field(description="Why it was refused.")


RuleId = Annotated[strawberry.ID, strawberry.argument(description="The name of the rule.")]


@strawberry.type
class RuleQuery:
    """Queries of rules."""

    @strawberry.field(permission_classes=[requires("placements:read")], description="All rules, by name.")
    async def rules(
        self,
        info: Info,
        first: First = 20,
        after: After = None,
        placement: Annotated[
            str | None, strawberry.argument(description="Only rules that may hold in this placement; null for all.")
        ] = None,
    ) -> Connection[Rule] | None:
        """A page of rules."""
        signer, first, purpose = info.context.gateway.signer, check_first(first), f"rules {placement}"
        begin = "" if after is None else str(read_cursor(signer, purpose, after))
        records = await list_rules(info.context.reads, first + 1, begin, placement)
        edges = [
            Edge(cursor=write_cursor(signer, purpose, record.id), node=Rule.of_record(record))
            for record in records[:first]
        ]
        return Connection.of(edges, after, more=len(records) > first)

    @strawberry.field(
        permission_classes=[requires("placements:read")],
        description="The newest version of a rule; null for one that never was there.",
    )
    async def rule(self, info: Info, id: RuleId) -> Rule | None:
        """The rule of this name."""
        record = await RULES.by_id(info.context.reads, check_rule_id(id))
        return None if record is None else Rule.of_record(record)

    @strawberry.field(
        permission_classes=[requires("placements:read", "recommendations:read")],
        description="What a change of rules would make of the lists of some users: before and after, side by side."
        " Nothing changes, and nobody sees the lists: they have no impressions. The number of users and `first`"
        " multiply the cost.",
    )
    async def preview_rules(
        self,
        info: Info,
        placement: Annotated[str, strawberry.argument(description="The placement of the lists.")],
        user_ids: Annotated[
            list[strawberry.ID],
            strawberry.argument(
                description=f"The shop's own ids of at most {MOST_PEOPLE} users.",
                directives=[AtMost(elements=MOST_PEOPLE)],
            ),
        ],
        rules: Annotated[
            list[RuleInput],
            strawberry.argument(
                description=f"Rules that would be added or changed, at most {MOST_TRIED}.",
                directives=[AtMost(elements=MOST_TRIED)],
            ),
        ],
        removed: Annotated[
            list[strawberry.ID] | None,
            strawberry.argument(
                description=f"Rules that would be removed, at most {MOST_TRIED}; null for none.",
                directives=[AtMost(elements=MOST_TRIED)],
            ),
        ] = None,
        market: Annotated[
            strawberry.ID | None, strawberry.argument(description="The market they buy in; null for all markets.")
        ] = None,
        first: First = 10,
    ) -> list[PlacementPreview] | None:
        """Two lists for each user."""
        context, people = info.context, [Person("user", check_user_id(id, "userIds")) for id in user_ids]
        before = context.gateway.rules.book
        after = await _tried(context, rules, removed or ())
        return [
            PlacementPreview(
                user_id=strawberry.ID(person.id),
                before=await _previewed(context, person, placement, before, first, market),
                after=await _previewed(context, person, placement, after, first, market),
            )
            for person in people
        ]


@strawberry.type
class RuleMutation:
    """Mutations of rules."""

    @strawberry.mutation(
        permission_classes=[requires("placements:write")],
        description="Add a rule, or put another in its place: every gateway follows within 5 seconds. A change that"
        " changes nothing makes no version. There may be 10,000 rules.",
    )
    async def upsert_rule(
        self, info: Info, input: Annotated[RuleInput, strawberry.argument(description="The whole rule.")]
    ) -> UpsertRulePayload | None:
        """Change a rule."""
        gateway, given = info.context.gateway, _document(input)
        id, version, reason = given.pop("id"), given.pop("version", None), given.pop("reason", None)
        by = recorded_name(info.context.viewer)
        try:
            record = await replace_rule(gateway.shares.bulk, id, given, by, reason, expected=version)
        except InvalidInput as error:
            return UpsertRulePayload(rule=None, warnings=[], user_errors=_errors(error))
        assert record is not None
        assert record.settings is not None
        await gateway.rules.refresh()
        saved = ServedRule.of(record.id, record.version, read_rule(record.settings))
        found = engine.conflicts_of(saved, gateway.rules.rules, gateway.catalogue)
        warnings = [
            RuleWarning(
                kind=each.kind,
                message=each.message,
                rule_id=None if each.rule_id is None else strawberry.ID(each.rule_id),
            )
            for each in found
        ]
        return UpsertRulePayload(rule=Rule.of_record(record), warnings=warnings, user_errors=[])

    @strawberry.mutation(
        permission_classes=[requires("placements:write")],
        description="Remove a rule: no list follows it after 5 seconds. Its history is kept.",
    )
    async def remove_rule(
        self,
        info: Info,
        id: RuleId,
        version: Annotated[
            int | None, strawberry.argument(description="The version that you have read; null for whatever it is.")
        ] = None,
        reason: Annotated[
            str | None, strawberry.argument(description="Why, for the record: at most 500 characters.")
        ] = None,
    ) -> RemoveRulePayload | None:
        """Remove a rule."""
        gateway, by = info.context.gateway, recorded_name(info.context.viewer)
        try:
            record = await replace_rule(gateway.shares.bulk, id, None, by, reason, expected=version)
        except InvalidInput as error:
            return RemoveRulePayload(rule=None, user_errors=_errors(error))
        await gateway.rules.refresh()
        return RemoveRulePayload(rule=Rule.of_record(record) if record else None, user_errors=[])


def _settings(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """The public shape of the settings by field; None for all of a rule that was removed."""
    if settings is None:
        return dict.fromkeys((*_PLAIN, "filter", "item_id", "when"))
    says = read_rule(settings)
    when = RuleCondition(
        placements=list(says.when.placements),
        markets=[strawberry.ID(market) for market in says.when.markets],
        item_ids=[strawberry.ID(id) for id in says.when.item_ids],
        categories=list(says.when.categories),
        from_=says.when.from_,
        to=says.when.to,
    )
    return {
        **{name: getattr(says, name) for name in _PLAIN},
        "filter": JSON(settings["filter"]) if "filter" in settings else None,
        "item_id": None if says.item_id is None else strawberry.ID(says.item_id),
        "when": when,
    }


def _document(rule: Any) -> dict[str, Any]:
    """The input by its names in the schema, as `as_read` gives it."""
    given = dict(rule)
    if given.get("when") is not None:
        given["when"] = {name: value for name, value in dict(given["when"]).items() if value is not None}
    return given


def _errors(error: InvalidInput) -> list[UserError]:
    if isinstance(error, WrongSettings):
        return [UserError.of(fault) for fault in error.faults]
    return [UserError.of(error, "CONFLICT" if isinstance(error, SettingsChanged) else "BAD_USER_INPUT")]


async def _tried(context: Context, rules: list[RuleInput], removed: list[strawberry.ID] | tuple[()]) -> RuleBook:
    """The rules after a change. Raises InvalidInput."""
    known = {rule.id: rule for rule in context.gateway.rules.rules if rule.id not in removed}
    for rule in rules:
        given: Mapping[str, Any] = _document(rule)
        settings = {name: value for name, value in given.items() if name not in ("id", "version", "reason")}
        known[check_rule_id(given["id"])] = ServedRule.of(given["id"], None, read_rule(checked(settings)))
    return await asyncio.to_thread(RuleBook, known.values(), clock.now().timestamp())


async def _previewed(
    context: Context, person: Person, placement: str, book: RuleBook, first: int, market: str | None
) -> RecommendationConnection:
    placed = context.gateway.placements.find(check_placement_id(placement))
    request = list_request(placement, first, None, market, None, None, placed=placed)
    request = with_rules(context.gateway, placement, request, book)
    listed = await context.recommender.for_person(person, request)
    return RecommendationConnection.of(context, listed, placement, person, market, placed=placed, preview=True)
