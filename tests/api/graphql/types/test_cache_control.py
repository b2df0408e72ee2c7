"""Which fields caches may keep: all that a public answer can show is marked, and nothing of it is about a person."""

from collections.abc import Iterator

from graphql import GraphQLField, GraphQLInputObjectType, GraphQLNamedType, GraphQLObjectType, get_named_type

from api.graphql.schema import SCHEMA
from api.graphql.types.cache_control import CHANGING, PRIVATE, PUBLIC, public_age

TYPES = SCHEMA._schema.type_map
OF_PEOPLE = {"User", "Event", "EventConnection", "EventEdge", "PageSlot", "PurchaseForecast", "ChurnForecast"}
PERSONAL_ARGUMENTS = {"userId", "anonymousId", "sessionId", "context", "among", "exclude", "requests", "preview"}


def fields_of(type_: GraphQLNamedType | None) -> dict[str, GraphQLField]:
    return type_.fields if isinstance(type_, GraphQLObjectType) else {}


def public_fields() -> Iterator[tuple[str, GraphQLField]]:
    for name, type_ in TYPES.items():
        for field_name, field in fields_of(type_).items():
            if public_age(field) is not None:
                yield f"{name}.{field_name}", field


def reachable() -> set[str]:
    """The object types that public fields of the query type lead to, by public fields alone."""
    found, waiting = set[str](), ["Query"]
    while waiting:
        for field in fields_of(TYPES[waiting.pop()]).values():
            inner = get_named_type(field.type)
            if public_age(field) is not None and isinstance(inner, GraphQLObjectType) and inner.name not in found:
                found.add(inner.name)
                waiting.append(inner.name)
    return found


def test_exactly_the_listed_fields_are_public() -> None:
    listed = {f"{type_}.{field}" for type_, fields in PUBLIC.items() for field in fields}
    assert {name for name, _ in public_fields()} == listed, "a list has a field that the schema has not"


def test_each_field_of_a_type_in_a_public_answer_is_marked_one_way_or_the_other() -> None:
    for name in reachable():
        decided = PUBLIC[name].keys() | PRIVATE.get(name, set())
        assert decided == fields_of(TYPES[name]).keys(), f"decide who may keep the new fields of {name}"


def test_no_public_field_returns_or_takes_a_person() -> None:
    for name, field in public_fields():
        assert get_named_type(field.type).name not in OF_PEOPLE, name
        waiting, seen = [(name, argument.type) for name, argument in field.args.items()], set[str]()
        while waiting:
            argument, type_ = waiting.pop()
            assert argument not in PERSONAL_ARGUMENTS, f"{name} takes {argument}"
            kind = get_named_type(type_)
            if isinstance(kind, GraphQLInputObjectType) and kind.name not in seen:
                seen.add(kind.name)
                waiting += [(inner, each.type) for inner, each in kind.fields.items()]


def test_only_the_query_type_and_what_it_leads_to_have_public_fields() -> None:
    assert {name.partition(".")[0] for name, _ in public_fields()} == reachable() | {"Query"}


def test_cursors_are_valid_for_longer_than_they_are_kept() -> None:
    ages = {name: public_age(field) for name, field in public_fields()}
    assert {age for name, age in ages.items() if name.endswith(("Cursor", ".cursor", ".pageInfo"))} == {CHANGING}


def test_the_schema_prints_who_may_keep_a_field() -> None:
    text = SCHEMA.as_str()
    assert "  title: String @cacheControl(maxAge: 300, scope: PUBLIC)" in text
    assert "  impressionId: ID @cacheControl(scope: PRIVATE)" in text
    assert "directive @cacheControl(maxAge: Int, scope: CacheControlScope) on FIELD_DEFINITION" in text
