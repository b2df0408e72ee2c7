"""The random operations reach the whole schema, are mostly valid, and can be made smaller."""

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    InlineFragmentNode,
    Node,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    is_introspection_type,
    parse,
    validate,
    visit,
)

from api.graphql.schema import SCHEMA
from benchmarks.operation_grammar import Call, OperationGrammar
from benchmarks.operation_shrinking import shrunk

SCHEMA_OF_CORE = SCHEMA._schema
CALLS = 3_000


def calls(count: int, seed: int = 1) -> list[Call]:
    grammar = OperationGrammar(SCHEMA_OF_CORE, seed, {"id": ["milk"]})
    return [grammar.call() for _ in range(count)]


class Used(Visitor):
    """Which fields, arguments and type conditions a document has."""

    def __init__(self, types: TypeInfo) -> None:
        super().__init__()
        self._types = types
        self.names: set[str] = set()

    def enter(self, node: Node, *_: object) -> None:
        if isinstance(node, FieldNode) and (parent := self._types.get_parent_type()):
            field = f"{parent.name}.{node.name.value}"
            self.names |= {field, *(f"{field}({sent.name.value})" for sent in node.arguments or ())}
        if isinstance(node, InlineFragmentNode | FragmentDefinitionNode) and node.type_condition:
            self.names.add(f"... on {node.type_condition.name.value}")


def test_every_field_argument_and_kind_of_type_is_used() -> None:
    used: set[str] = set()
    for call in calls(CALLS):
        types = TypeInfo(SCHEMA_OF_CORE)
        found = Used(types)
        try:
            visit(parse(call.query), TypeInfoVisitor(types, found))
        except GraphQLError:
            continue
        used |= found.names
    named = {name: kind for name, kind in SCHEMA_OF_CORE.type_map.items() if not is_introspection_type(kind)}
    wanted = set[str]()
    for name, kind in named.items():
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            wanted |= {f"{name}.{field}" for field in kind.fields}
            wanted |= {f"{name}.{field}({arg})" for field, found in kind.fields.items() for arg in found.args}
    assert wanted - used == set()
    kinds = {type(SCHEMA_OF_CORE.type_map.get(name.removeprefix("... on "))) for name in used if "... on" in name}
    assert kinds >= {type(kind) for kind in named.values()}


def test_most_operations_are_valid_and_some_are_not() -> None:
    valid = 0
    for call in calls(300):
        try:
            valid += not validate(SCHEMA_OF_CORE, parse(call.query))
        except GraphQLError:
            continue
    assert 180 < valid < 290


def test_the_same_seed_makes_the_same_operations() -> None:
    assert calls(50) == calls(50)
    assert calls(50) != calls(50, seed=2)


async def test_a_failing_operation_is_made_smaller() -> None:
    async def fails(call: Call) -> bool:
        return "title" in call.query and "($b: Int)" in call.query

    query = """query Q($a: ID, $b: Int) { item(id: $a) { id b: title @skip(if: true) }
               items(first: $b) { nodes { ...F } } } fragment F on Item { id }"""
    smaller = await shrunk(Call(query, {"a": "1", "b": 2}), fails)
    assert " ".join(smaller.query.split()) == "query Q($b: Int) { item { b: title } }"
    assert smaller.variables == {}
