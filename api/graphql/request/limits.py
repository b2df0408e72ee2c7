"""How much one operation may ask for: one linear pass over the document, each fragment weighed once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLArgument,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
)

from api.errors import RequestRefused
from api.graphql.types.connections import MAX_FIRST

TOKENS = 2000
DIRECTIVES = 20
ROOT_FIELDS = 20
ALIASES = 30
DEPTH = 12
COST = 5000
OBJECT_COST = 2
SCALAR_COST = 1
_INTROSPECTION = ("__schema", "__type")  # the standard introspection query is 15 deep


@dataclass(frozen=True, slots=True)
class Weight:
    """What a selection set asks for, its fragments unfolded."""

    fields: int = 0
    aliases: int = 0
    depth: int = 0
    cost: int = 0

    def __add__(self, other: "Weight") -> "Weight":
        """Two parts of the same selection set."""
        return Weight(
            self.fields + other.fields,
            self.aliases + other.aliases,
            max(self.depth, other.depth),
            self.cost + other.cost,
        )


@dataclass(slots=True)
class Measure:
    """One operation weighed. `firsts` are the variables its cost depends on, `visits` the selections looked at."""

    weight: Weight = field(default_factory=Weight)
    directives: int = 0
    introspects: bool = False
    firsts: set[str] = field(default_factory=set)
    visits: int = 0


def measure(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> Measure:
    """Weigh `operation` for these raw variable values, before it is validated: what it names may not exist.

    A selection costs 2 when it has fields of its own and 1 when not; below a `first`, all costs are multiplied by it.
    """
    scales = _Scales(schema, document, operation, variables)
    scales.result.directives += len(operation.directives or ())
    scales.result.weight = scales.selections(operation.selection_set, schema.get_root_type(operation.operation))
    return scales.result


def check(measured: Measure) -> None:
    """Raise RequestRefused (`QUERY_TOO_COMPLEX`) when any limit is passed, saying which."""
    weight = measured.weight
    for name, found, most in (
        ("depth", weight.depth, DEPTH),
        ("aliases", weight.aliases, ALIASES),
        ("root fields", weight.fields, ROOT_FIELDS),
        ("directives", measured.directives, DIRECTIVES),
        ("cost", weight.cost, COST),
    ):
        if found > most:
            raise RequestRefused("QUERY_TOO_COMPLEX", f"The operation's {name} is {min(found, 10**9)}; at most {most}.")


class _Scales:
    """The state of one pass."""

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: Mapping[str, Any],
    ) -> None:
        self.schema = schema
        self.result = Measure()
        self.fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self.weighed: dict[str, Weight] = {}
        self.variables: dict[str, Any] = {}
        for definition in operation.variable_definitions or ():
            self.result.directives += len(definition.directives or ())
            name, default = definition.variable.name.value, definition.default_value
            self.variables[name] = variables.get(name, _whole(default) if isinstance(default, IntValueNode) else None)

    def selections(self, node: SelectionSetNode, parent: GraphQLNamedType | None) -> Weight:
        return sum((self._selection(selection, parent) for selection in node.selections), Weight())

    def _selection(self, node: SelectionNode, parent: GraphQLNamedType | None) -> Weight:
        self.result.visits += 1
        self.result.directives += len(node.directives or ())
        if isinstance(node, FieldNode):
            return self._field(node, parent)
        if isinstance(node, FragmentSpreadNode):
            return self._spread(node.name.value)
        assert isinstance(node, InlineFragmentNode)
        condition = node.type_condition
        return self.selections(node.selection_set, self._type(condition.name.value) if condition else parent)

    def _spread(self, name: str) -> Weight:
        if name not in self.weighed:
            self.weighed[name] = Weight()  # for a fragment that reaches itself, which validation refuses
            fragment = self.fragments.get(name)
            if fragment is not None:
                self.result.directives += len(fragment.directives or ())
                condition = self._type(fragment.type_condition.name.value)
                self.weighed[name] = self.selections(fragment.selection_set, condition)
        return self.weighed[name]

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None) -> Weight:
        aliases = 1 if node.alias else 0
        if node.selection_set is None:
            return Weight(1, aliases, 1, SCALAR_COST)
        definition: GraphQLField | None = getattr(parent, "fields", {}).get(node.name.value)
        inner = self.selections(node.selection_set, get_named_type(definition.type) if definition else None)
        introspects = node.name.value in _INTROSPECTION
        self.result.introspects |= introspects
        cost = OBJECT_COST + self._first(node, definition) * inner.cost
        return Weight(1, aliases + inner.aliases, 1 + (0 if introspects else inner.depth), cost)

    def _first(self, node: FieldNode, definition: GraphQLField | None) -> int:
        """How many elements the field's list may have; what the resolver will refuse anyway is cut to 1 to 100."""
        known = definition.args.get("first") if definition else None
        value: Any = _default(known) if known else 1
        for argument in node.arguments or ():
            if argument.name.value != "first":
                continue
            if isinstance(argument.value, IntValueNode):
                value = _whole(argument.value)
            elif isinstance(argument.value, VariableNode):
                self.result.firsts.add(argument.value.name.value)
                given = self.variables.get(argument.value.name.value)
                value = value if given is None else given
        return int(max(1, min(value, MAX_FIRST))) if isinstance(value, int | float) else 1

    def _type(self, name: str) -> GraphQLNamedType | None:
        return self.schema.type_map.get(name)


def _whole(literal: IntValueNode) -> int:
    """The number; four characters decide, for it is cut to 100 anyway and thousands of digits would cost time."""
    return int(literal.value[:4])


def _default(argument: GraphQLArgument) -> Any:
    """The argument's default: Strawberry gives a value, a schema read from SDL a literal."""
    if argument.default is None:
        return argument.default_value
    literal = argument.default.literal
    return _whole(literal) if isinstance(literal, IntValueNode) else argument.default.value
