"""The rules of the schema: root and private fields need scopes, and a field with a scope or store is nullable."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    get_named_type,
    is_introspection_type,
    is_list_type,
    is_specified_scalar_type,
)
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.field import StrawberryField

from api.graphql.entities.nodes import NODE_SCOPES
from api.graphql.schema import SCHEMA, build_schema
from api.graphql.types.bounds import bound_of
from api.graphql.types.permissions import ScopePermission
from api.routes.bulk import BulkEndpoint
from api.routes.bulk import routes as bulk_routes
from engine.scopes import RETIRED, SCOPES

ROOT = Path(__file__).parents[3]
ELSEWHERE = {  # scopes that neither a field nor a route needs as a whole
    "orders:write": "engine/intake/judging.py",
}
ROOTS = ("Query", "Mutation", "Subscription")
OF_FEDERATION = {"Query._entities"}  # its type is fixed: a list that is there, with null in place of what is not
PRIVATE = {
    "User": (
        "traits", "history", "rfm", "churn", "nextPurchase", "hidden", "paused", "interests", "whyDoISeeThis",
    ),
    "Reason": ("events",),
}  # fmt: skip
OWN_STORE = {("Item", "similar"), ("Item", "boughtTogether"), ("User", "recommendations"), ("Query", "trending")}
TYPES = SCHEMA._schema.type_map


def types() -> Iterator[GraphQLObjectType | GraphQLInterfaceType]:
    for type_ in TYPES.values():
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType) and not is_introspection_type(type_):
            yield type_


def fields() -> Iterator[tuple[str, str, GraphQLField]]:
    for type_ in types():
        for name, field in type_.fields.items():
            yield type_.name, name, field


def scopes(field: GraphQLField) -> set[str]:
    known = field.extensions[GraphQLCoreConverter.DEFINITION_BACKREF]
    assert isinstance(known, StrawberryField)
    permissions = [one for one in known.permission_classes if issubclass(one, ScopePermission)]
    assert len(permissions) == len(known.permission_classes)
    return {scope for permission in permissions for scope in permission.scopes}


def test_every_custom_scalar_names_its_specification() -> None:
    custom = [one for one in TYPES.values() if isinstance(one, GraphQLScalarType) and not is_specified_scalar_type(one)]
    assert len(custom) >= 4
    published = ("https://www.rfc-editor.org/rfc/rfc", "https://www.iso.org/iso-", "https://www.w3.org/TR/")
    own = [one for one in custom if not one.name.startswith(("_", "federation__"))]  # federation specifies its scalars
    assert [one.name for one in own if not (one.specified_by_url or "").startswith(published)] == []


@pytest.mark.parametrize("root", ROOTS)
def test_every_root_field_needs_a_scope(root: str) -> None:
    without = [name for type_, name, field in fields() if type_ == root and not scopes(field)]
    assert without == []


def test_every_private_field_needs_a_scope() -> None:
    found = {(type_, name): scopes(field) for type_, name, field in fields()}
    for type_, names in PRIVATE.items():
        for name in names:
            assert "profiles:read" in found[type_, name], f"{type_}.{name}"


def test_every_scope_is_needed_somewhere_and_every_needed_scope_exists() -> None:
    needed = {scope for _, _, field in fields() for scope in scopes(field)} | set(NODE_SCOPES.values())
    routes = bulk_routes(max_body=1, timeout=1)
    needed |= {route.app.scope for route in routes if isinstance(route.app, BulkEndpoint)}
    for scope, file in ELSEWHERE.items():
        assert f'"{scope}"' in (ROOT / file).read_text(encoding="utf-8")
    assert needed | ELSEWHERE.keys() == SCOPES.keys()
    assert not RETIRED & SCOPES.keys()


def test_a_field_with_its_own_scope_or_store_is_nullable() -> None:
    required = [
        f"{type_}.{name}"
        for type_, name, field in fields()
        if isinstance(field.type, GraphQLNonNull) and (scopes(field) or (type_, name) in OWN_STORE)
    ]
    assert set(required) == OF_FEDERATION


def test_elements_of_lists_are_not_null() -> None:
    for type_, name, field in fields():
        inner = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
        if is_list_type(inner) and f"{type_}.{name}" not in OF_FEDERATION:
            assert isinstance(inner.of_type, GraphQLNonNull), f"{type_}.{name}"


def test_the_printed_schema_shows_the_scopes_of_a_field() -> None:
    text = SCHEMA.as_str()
    assert '@requiresScopes(scopes: [["recommendations:read"]])' in text
    assert '@requiresScopes(scopes: [["profiles:read"]]) @orOneself' in text


def test_everything_has_a_description() -> None:
    missing = [type_.name for type_ in TYPES.values() if not type_.description]
    missing += [f"{type_}.{name}" for type_, name, field in fields() if not field.description]
    missing += [f"{t}.{n}({a})" for t, n, field in fields() for a, arg in field.args.items() if not arg.description]
    for type_ in TYPES.values():
        if isinstance(type_, GraphQLInputObjectType):
            missing += [f"{type_.name}.{name}" for name, field in type_.fields.items() if not field.description]
    assert missing == []


ASKED_ELSEWHERE = {
    ("PageSlot", "recommendations"),
    ("PlacementPreview", "before"),
    ("PlacementPreview", "after"),
    ("User", "recommendations"),
}
"""The request for the slot, the preview or the placement says how many."""


def test_every_connection_has_a_first_of_20_and_an_after() -> None:
    for type_, name, field in fields():
        if get_named_type(field.type).name.endswith("Connection") and (type_, name) not in ASKED_ELSEWHERE:
            assert field.args["first"].default_value == 20, f"{type_}.{name}"
            assert "after" in field.args, f"{type_}.{name}"


def test_every_connection_has_relays_fields() -> None:
    connections = [type_ for type_ in types() if type_.name.endswith("Connection")]
    assert len(connections) == 12
    for type_ in connections:
        name = type_.name.removesuffix("Connection")
        edge = get_named_type(type_.fields["edges"].type)
        node = get_named_type(type_.fields["nodes"].type)
        assert isinstance(edge, GraphQLObjectType) and edge.name == f"{name}Edge"
        assert str(edge.fields["cursor"].type) == "String!"
        assert str(edge.fields["node"].type) == f"{node.name}!"
        assert str(type_.fields["pageInfo"].type) == "PageInfo!"


def test_all_objects_of_a_node_type_are_nodes() -> None:
    nodes = {type_.name for type_ in types() if any(one.name == "Node" for one in type_.interfaces)}
    assert {"User", "Item", "Model", "Decision"} <= nodes


def test_building_the_schema_twice_prints_the_same() -> None:
    assert build_schema().as_str() == SCHEMA.as_str()


def test_every_input_list_has_a_bound() -> None:
    inputs = {f"{t}.{n}({a})": arg for t, n, field in fields() for a, arg in field.args.items()}
    for type_ in TYPES.values():
        if isinstance(type_, GraphQLInputObjectType):
            inputs |= {f"{type_.name}.{name}": field for name, field in type_.fields.items()}
    lists = {
        name: bound_of(declared)
        for name, declared in inputs.items()
        if is_list_type(declared.type.of_type if isinstance(declared.type, GraphQLNonNull) else declared.type)
    }
    assert len(lists) > 20
    assert [name for name, bound in lists.items() if bound is None or bound.elements > 500] == []
    assert SCHEMA.as_str().count("@atMost(") == len(lists) + 3  # its declaration, ItemFilter and conditions of segments


def test_the_schema_shows_how_large_a_filter_may_be() -> None:
    assert "input ItemFilter @atMost(elements: 500, levels: 4) {" in SCHEMA.as_str()
