"""Rules: what a merchandiser decides about items, with all versions; they are changed and tried out here."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import strawberry

from api.graphql.context import Context, Info
from api.graphql.topics.insight.placements import MOST_PEOPLE, PlacementPreview
from api.graphql.topics.insight.rule_types import Rule, RuleInput, RuleWarning
from api.graphql.topics.recommendations import RecommendationConnection, list_request, with_rules
from api.graphql.types.bounds import AtMost
from api.graphql.types.connections import After, Connection, Edge, First, check_first
from api.graphql.types.permissions import requires
from api.graphql.types.user_errors import UserError
from api.graphql.types.viewers import recorded_name
from core import clock
from core.contract import Person, check_user_id
from core.errors import InvalidInput
from db.rules import RULES, list_rules
from db.versioned_settings import SettingsChanged
from engine.cursors import read_cursor, write_cursor
from engine.placements.changing import check_placement_id
from engine.placements.settings import WrongSettings
from engine.rules import conflicts as engine
from engine.rules.changing import check_rule_id, checked, replace_rule
from engine.rules.rule import Rule as ServedRule
from engine.rules.rule_book import RuleBook
from engine.rules.settings import read_rule

MOST_TRIED = 10  # rules of a preview


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
        if placement is not None:
            check_placement_id(placement, "placement")
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
        await gateway.rules.refresh_after_change()
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
        await gateway.rules.refresh_after_change()
        return RemoveRulePayload(rule=Rule.of_record(record) if record else None, user_errors=[])


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
    placed = context.gateway.placements.find(check_placement_id(placement, "placement"))
    request = list_request(placement, first, None, market, None, None, placed=placed)
    request = await with_rules(context, person, placement, request, book)
    listed = await context.recommender.for_person(person, request)
    return RecommendationConnection.of(context, listed, placement, person, market, placed=placed, preview=True)
