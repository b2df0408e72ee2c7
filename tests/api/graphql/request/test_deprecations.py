"""Deprecated parts have a reason and a date, and are found in operations: fields, arguments, inputs, enum values."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    OperationDefinitionNode,
    build_schema,
    parse,
)
from graphql.language import FragmentDefinitionNode

from api.gateway import Gateway
from api.graphql.request.deprecations import MAX_VALUES, Deprecations
from api.graphql.schema import SCHEMA
from db.deprecated_uses import list_deprecated_uses
from tests.fixtures.gateway import Ask

SMALL = build_schema("""
    enum Kind { NEW OLD @deprecated(reason: "old") }
    input Inner { gone: String @deprecated(reason: "old") kind: Kind inner: Inner }
    input Plain { name: String }
    interface Named { name: String @deprecated(reason: "old") }
    type Thing implements Named { name: String @deprecated(reason: "old") id: ID thing: Thing }
    type Query {
        thing(kind: Kind, of: Inner, all: [Inner!], plain: Plain, was: Int @deprecated(reason: "old")): Thing
        named: Named
    }
""")


def deprecations(text: str) -> Deprecations:
    definitions = parse(text).definitions
    fragments = {each.name.value: each for each in definitions if isinstance(each, FragmentDefinitionNode)}
    (operation,) = (each for each in definitions if isinstance(each, OperationDefinitionNode))
    return Deprecations(SMALL, fragments, operation)


@pytest.mark.parametrize(
    ("text", "variables", "found"),
    [
        ("{ __typename thing(kind: NEW, of: {kind: NEW}) { id __typename } }", {}, set()),
        ("{ thing { thing { name } } }", {}, {"Thing.name"}),
        ("{ ...a } fragment a on Query { thing { ...b } } fragment b on Thing { name }", {}, {"Thing.name"}),
        ("{ named { name ... on Thing { name } } }", {}, {"Named.name", "Thing.name"}),
        ("{ thing(was: 1, kind: OLD) { id } }", {}, {"Query.thing(was:)", "Kind.OLD"}),
        ('{ thing(all: [{inner: {gone: "x"}}, {kind: OLD}]) { id } }', {}, {"Inner.gone", "Kind.OLD"}),
        ("query ($i: Inner = {kind: OLD}) { thing(of: $i) { id } }", {}, {"Kind.OLD"}),
        ("query ($i: Inner) { thing(of: $i) { id } }", {"i": {"gone": "x"}}, {"Inner.gone"}),
        ("query ($i: Inner) { thing(of: $i) { id } }", {"i": {"gone": None}}, set()),
        ("query ($i: [Inner!]) { thing(all: $i) { id } }", {"i": [{"inner": {"kind": "OLD"}}]}, {"Kind.OLD"}),
        ("query ($i: Inner) { thing(of: $i) { id } }", {"i": [[7], "x", {"kind": 3}]}, set()),
        ("query ($i: Plain) { thing(plain: $i) { id } }", {"i": {"name": "x"}}, set()),
    ],
)
def test_each_deprecated_part_is_found_once(text: str, variables: dict[str, Any], found: set[str]) -> None:
    assert deprecations(text).used(variables) == found


def test_a_variable_is_looked_at_only_so_far() -> None:
    found = deprecations("query ($i: [Inner!]) { thing(all: $i) { id } }")
    assert found.used({"i": [{}] * 10_000 + [{"gone": "x"}]}) == set()
    assert found.used({"i": [{"gone": "x"}] + [{}] * (MAX_VALUES - 2)}) == {"Inner.gone"}
    assert deprecations("query ($i: Plain) { thing(plain: $i) { id } }").variables == []


def reasons() -> Iterator[tuple[str, str]]:
    """The coordinate and the reason of everything deprecated in our schema."""
    for name, kind in SCHEMA._schema.type_map.items():
        if isinstance(kind, GraphQLEnumType):
            parts: Any = kind.values.items()
        elif isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            parts = list(kind.fields.items())
            for key, field in kind.fields.items():
                parts += [(f"{key}({argument}:)", each) for argument, each in getattr(field, "args", {}).items()]
        else:
            continue
        yield from ((f"{name}.{key}", each.deprecation_reason) for key, each in parts if each.deprecation_reason)


def test_everything_deprecated_has_a_date_and_says_what_to_do() -> None:
    marked = dict(reasons())
    assert "RecommendationEdge.score" in marked and "ReasonCode.AFFINITY" in marked
    for part, reason in marked.items():
        assert re.search(r"\b20\d\d-\d\d-\d\d\b", reason), f"{part}: the reason has no date"
        assert len(reason) > 30, f"{part}: the reason says nothing"


async def test_a_request_counts_for_its_client_once_with_its_variables(ask: Ask, gateway: Gateway) -> None:
    query = """query ($context: RecommendationContext) {
        visitor(anonymousId: "g") { a: recommendations(context: $context) { edges { score } }
                                    b: recommendations { edges { score } } } }"""
    for _ in range(3):
        assert not (await ask(query, {"context": {"market": "de"}})).codes
    assert not (await ask('{ visitor(anonymousId: "g") { id } }')).codes
    await gateway.deprecated_uses.write()
    stored = await list_deprecated_uses(gateway.pool, 1)
    assert {(each.client_id, each.part): each.operations for each in stored} == {
        ("tests", "RecommendationContext.market"): 3,
        ("tests", "RecommendationEdge.score"): 3,
    }
