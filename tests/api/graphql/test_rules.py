"""Who may read what: every field has a rule, and the schema prints it."""

from collections.abc import Iterator

import pytest
from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLUnionType,
    build_schema,
    get_named_type,
    is_introspection_type,
    value_from_ast_untyped,
)

from api.graphql.entities.federation import ENTITY_SCOPES
from api.graphql.entities.nodes import NODE_SCOPES, NodePermission
from api.graphql.schema import SCHEMA
from api.graphql.types.permissions import OneselfPermission, permissions_of

ONESELF = "oneself"  # in place of a scope: the token of the person the field is about
Rule = frozenset[frozenset[str]]  # a token needs all scopes of one of them

AS_REACHED = {
    "CancelJobPayload": "job userErrors",
    "Affinity": "key share score probability basis",
    "ChangeClientPayload": "client userErrors",
    "ChoicePayload": "user userErrors",
    "ChurnDriver": "side contribution text",
    "ChurnForecast": "probability band drivers asOf modelVersion degraded",
    "Client": (
        "id name enabled public firstParty grants scopes redirectUris postLogoutRedirectUris origins tokenLifetime "
        "createdAt disabledAt oldSecretValidUntil"
    ),
    "ClientAuditEntry": "at action by scopesBefore scopes reason day count",
    "ClientAuditEntryConnection": "edges nodes pageInfo",
    "ClientAuditEntryEdge": "cursor node",
    "ClientConnection": "edges nodes pageInfo",
    "ClientEdge": "cursor node",
    "CreateClientPayload": "client clientSecret userErrors",
    "DeadEvent": "id diedAt reason message attempts state decidedAt decision task source eventId occurredAt type",
    "DeadEventConnection": "edges nodes pageInfo",
    "DeadEventEdge": "cursor node",
    "Decision": "nodeId id decidedAt action modelId previousModelId reason evidence decidedBy",
    "DecisionConnection": "edges nodes pageInfo totalCount",
    "DecisionEdge": "cursor node",
    "DeleteSegmentPayload": "deleted userErrors",
    "Placement": (
        "id version removed list first filter price repeat fallback texts diversity repeatShare explore changedAt"
        " changedBy reason"
    ),
    "PlacementConnection": "edges nodes pageInfo",
    "PlacementEdge": "cursor node",
    "PlacementPreview": "userId before after",
    "Rule": (
        "id version removed kind filter ranges addedWithin itemId position factor count of per attribute when priority"
        " changedAt changedBy reason"
    ),
    "RuleCondition": "placements markets itemIds categories queries segments from to weekdays hours timeZone",
    "RuleHours": "from to",
    "RuleRange": "attribute min max",
    "RuleConnection": "edges nodes pageInfo",
    "RuleEdge": "cursor node",
    "RuleWarning": "kind message ruleId",
    "UpsertRulePayload": "rule warnings userErrors",
    "RemoveRulePayload": "rule userErrors",
    "PriceBand": "market from to currency",
    "RemovePlacementPayload": "placement userErrors",
    "UpsertPlacementPayload": "placement userErrors",
    "DiscardDeadEventsPayload": "accepted rejected duplicate conflict retry results",
    "ElementResult": "index id outcome code field message",
    "EraseUserPayload": "erasure userErrors",
    "ErasedStore": "store status at note",
    "Erasure": "id erasedAt requestedBy completedAt stores",
    "Event": (
        "id source type occurredAt receivedAt userId anonymousId itemId itemIds orderId quantity unitPrice "
        "currency value query impressionId sessionId properties item"
    ),
    "EventConnection": "edges nodes pageInfo",
    "EventEdge": "cursor node",
    "Explanation": (
        "outcome summary item rank rule until ruleId rules rankWithoutRules variant sources score probability parts"
        " edge reason modelVersion asOf degraded"
    ),
    "ExplanationRule": "ruleId version kind factor position",
    "ExplanationSource": "source names evidence place takes because",
    "ExportUserPayload": "export complete missingMonths userErrors",
    "FeatureContribution": "group value",
    "ForecastRange": "within min max",
    "ForgetPayload": "confirmation expiresAt erasedAt receiptId userErrors",
    "Gate": "verdict summary checks",
    "GateCheck": "name passed value limit words",
    "HiddenChoices": "itemIds categories items",
    "IdentifyPayload": "user userErrors",
    "Image": "url",
    "Interest": "key share text",
    "Item": (
        "nodeId id groupId title description categories brand image url appUrl attributes price listPrice "
        "available attribute"
    ),
    "ItemConnection": "edges nodes pageInfo totalCount",
    "ItemEdge": "cursor node",
    "Job": (
        "nodeId id kind state reason requestedBy requestedAt startedAt finishedAt attempts modelId error listFile"
        " progress"
    ),
    "JobConnection": "edges nodes pageInfo totalCount",
    "JobEdge": "cursor node",
    "JobProgress": "stage done of percent",
    "ListEdge": "rank item score",
    "ListFile": "placement first market format lists degraded modelId url",
    "MergeUsersPayload": "user userErrors",
    "Model": (
        "nodeId id kind createdAt evaluation serving horizon baseline training deletedAt refreshedFrom decision gate"
    ),
    "ModelReadiness": "subject status summary requirements fallback modelVersion",
    "MadeDifference": "part name first second same",
    "MetricDifference": "method metric first second difference overlap",
    "MetricScore": "value low high",
    "ModelDiff": "first second made metrics note",
    "ModelConnection": "edges nodes pageInfo totalCount",
    "ModelEdge": "cursor node",
    "Money": "amount currency",
    "Node": "nodeId",
    "NumberRange": "min max",
    "PageInfo": "hasNextPage hasPreviousPage startCursor endCursor",
    "PageSlot": "key placement recommendations",
    "PromoteModelPayload": "model userErrors",
    "Readiness": "countedAt purchases complete models",
    "PurchaseForecast": "probability expectedDate asOf modelVersion degraded",
    "Reason": "code text item",
    "RecommendationConnection": (
        "impressionId placement placementVersion modelVersion asOf degraded edges nodes pageInfo"
    ),
    "RecommendationEdge": "impressionId rank score probability reason node cursor",
    "RemoveItemsPayload": "accepted rejected duplicate conflict retry results",
    "ReplayDeadEventsPayload": "accepted rejected duplicate conflict retry results",
    "RequestListsPayload": "job",
    "RequestTrainingPayload": "job",
    "Requirement": "have need met words",
    "SaveSegmentPayload": "segment userErrors",
    "CreateSegmentPayload": "segment size userErrors",
    "UpdateSegmentPayload": "segment size userErrors",
    "SegmentPreview": "size userErrors",
    "SegmentSize": "members asOf note",
    "TraitCondition": "key values min max exists",
    "AffinityCondition": "by key min max",
    "EventCondition": "type within min max categories brands",
    "Segment": "id name where members asOf version changedAt changedBy reason",
    "SegmentVersion": "version removed name where changedAt changedBy reason",
    "SegmentVersionConnection": "edges nodes pageInfo",
    "SegmentVersionEdge": "cursor node",
    "SegmentConditions": "rfm recency orders spent churn nextPurchase traits affinities events anyOf not",
    "ScoreParts": "method logit medianLogit contributions lift lowering",
    "Rfm": "recency frequency monetary recencyScore frequencyScore monetaryScore segment",
    "RollBackModelPayload": "model userErrors",
    "RotateClientSecretPayload": "clientSecret oldSecretValidUntil userErrors",
    "TrackEventsPayload": "accepted rejected duplicate conflict retry results",
    "UpsertItemsPayload": "accepted rejected duplicate conflict retry results",
    "UpsertUsersPayload": "accepted rejected duplicate conflict retry results",
    "User": "nodeId id anonymous known",
    "UserError": "code field message",
    "UserExport": "id asOf profile",
    "WayToStop": "action category text",
    "WhyShown": "item placement rank reason hidden placedByShop waysToStop text",
    "_Service": "sdl",
}
"""Fields without scopes of their own: whoever may read the field that returns the object may read them too."""

_OF_A_PERSON = [
    "events:write oneself",
    "events:write profiles:read",
    "oneself recommendations:read",
    "profiles:read recommendations:read",
]
PERSONAL = {
    "Affinity": _OF_A_PERSON,
    "Client": ["clients:admin"],
    "ClientAuditEntry": ["clients:admin"],
    "DeadEvent": ["metrics:read"],
    "Erasure": ["profiles:erase"],
    "Event": [
        "events:write oneself",
        "events:write profiles:read",
        "models:read oneself",
        "models:read profiles:read",
        "oneself recommendations:read",
        "profiles:erase",
        "profiles:read recommendations:read",
    ],
    "PageSlot": ["recommendations:read"],
    "Explanation": ["models:read"],
    "HiddenChoices": _OF_A_PERSON,
    "Interest": _OF_A_PERSON,
    "Reason": ["events:write oneself", "events:write profiles:read", "models:read", "recommendations:read"],
    "RecommendationConnection": ["recommendations:read"],
    "Rfm": _OF_A_PERSON,
    "ChurnForecast": _OF_A_PERSON,
    "PurchaseForecast": _OF_A_PERSON,
    "User": ["events:write", "recommendations:read"],
    "UserExport": ["profiles:erase"],
    "WhyShown": _OF_A_PERSON,
}
"""The types with data of people, and what a token needs to reach one."""


def types() -> Iterator[GraphQLObjectType | GraphQLInterfaceType]:
    for type_ in SCHEMA._schema.type_map.values():
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not is_introspection_type(type_):
            yield type_


def roots() -> set[str]:
    schema = SCHEMA._schema
    found = (schema.query_type, schema.mutation_type, schema.subscription_type)
    return {root.name for root in found if root is not None}


def rule(field: GraphQLField) -> Rule:
    """What a token needs for the field, besides what it needs for the object."""
    found: Rule = frozenset({frozenset()})
    for permission in permissions_of(field):
        lists = {frozenset(together) for together in permission.alternatives()}
        lists |= {frozenset({ONESELF})} if issubclass(permission, OneselfPermission) else set()
        found = both(found, frozenset(lists))
    return found


def both(one: Rule, other: Rule) -> Rule:
    return least(frozenset(left | right for left in one for right in other))


def least(rule: Rule) -> Rule:
    """Without the lists that ask for more than another one."""
    return frozenset(each for each in rule if not any(other < each for other in rule))


def rules_of_types() -> dict[str, Rule]:
    """What a token needs to reach an object of each type, over all paths from the roots."""
    reached: dict[str, Rule] = dict.fromkeys(roots(), frozenset({frozenset()}))
    known: dict[str, Rule] = {}
    while reached != known:
        known = dict(reached)
        for type_ in types():
            for field in type_.fields.values() if type_.name in known else ():
                for name, own in results(field):
                    needed = both(known[type_.name], own)
                    reached[name] = least(reached.get(name, frozenset()) | needed)
    return reached


def results(field: GraphQLField) -> Iterator[tuple[str, Rule]]:
    """The types of the objects that a field returns, and what the field needs to return each."""
    named = get_named_type(field.type)
    if isinstance(named, GraphQLUnionType):
        yield from ((type_.name, frozenset({frozenset({ENTITY_SCOPES[type_.name]})})) for type_ in named.types)
        return
    yield named.name, rule(field)
    for type_ in types():
        if any(one.name == named.name for one in type_.interfaces):
            by_type = NodePermission in permissions_of(field)
            yield type_.name, frozenset({frozenset({NODE_SCOPES[type_.name]})}) if by_type else rule(field)


def without_scopes() -> dict[str, set[str]]:
    found = {t.name: {name for name, field in t.fields.items() if not permissions_of(field)} for t in types()}
    return {name: fields for name, fields in found.items() if fields}


def test_every_field_has_scopes_or_is_known_to_need_none_of_its_own() -> None:
    assert without_scopes() == {name: set(fields.split()) for name, fields in AS_REACHED.items()}


def test_every_field_of_a_root_has_scopes() -> None:
    assert "Query" in roots()
    assert not roots() & AS_REACHED.keys()


def test_nothing_is_reached_without_a_scope() -> None:
    reached = rules_of_types()
    assert {type_.name for type_ in types()} <= reached.keys()
    assert [name for name, rule in reached.items() if frozenset() in rule and name not in roots()] == []


@pytest.mark.parametrize("name", PERSONAL)
def test_data_of_people_is_reached_with_these_scopes_only(name: str) -> None:
    shown = sorted(" ".join(sorted(together)) for together in rules_of_types()[name])
    assert shown == sorted(PERSONAL[name])


def test_the_schema_prints_the_rule_of_every_field() -> None:
    printed = build_schema(SCHEMA.as_str())
    for type_ in types():
        shown = printed.type_map[type_.name]
        assert isinstance(shown, GraphQLObjectType | GraphQLInterfaceType)
        assert shown.fields.keys() == type_.fields.keys()
        for name, field in type_.fields.items():
            assert printed_rule(shown.fields[name]) == rule(field), f"{type_.name}.{name}"


def printed_rule(field: GraphQLField) -> Rule:
    found: set[frozenset[str]] = set()
    for directive in field.ast_node.directives or () if field.ast_node else ():
        if directive.name.value == "requiresScopes":
            found |= set(map(frozenset, value_from_ast_untyped(next(iter(directive.arguments or ())).value)))
        elif directive.name.value == "orOneself":
            found.add(frozenset({ONESELF}))
    return frozenset(found or {frozenset()})


def test_the_directive_is_declared_as_in_apollo_federation() -> None:
    declared = "directive @requiresScopes(scopes: [[federation__Scope!]!]!)"
    assert f"{declared} on FIELD_DEFINITION | OBJECT | INTERFACE | SCALAR | ENUM\n" in SCHEMA.as_str()
