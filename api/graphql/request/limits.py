"""Limits of one operation, checked before it runs: one linear pass over the document, each fragment measured once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    get_named_type,
)

from api.errors import RequestRefused
from api.graphql.request.multipliers import Multipliers

MAX_DIRECTIVES = 20
MAX_ROOT_FIELDS = 20
MAX_ALIASES = 30
MAX_DEPTH = 12
MAX_COST = 5000
MAX_LEVELS = 64  # selection sets inside each other, those of fragments included
OBJECT_COST = 2
SCALAR_COST = 1
COST_OF_UNIT: Final = 10  # so much takes one unit of the caller's limits
DEAR_QUERY: Final = 100  # units; of the operations that take more, each caller has few at a time
DEAR_MUTATION: Final = 150  # units; a batch of 100 events takes fewer: it mostly waits, for others and for the broker
MANY_LISTS: Final = 8  # root fields or aliases: a query with more is dear, because each may be a list of few units
_TOO_DEEP = f"The operation is nested too deeply: at most {MAX_LEVELS} levels are allowed, those of fragments included."
_INTROSPECTION = ("__schema", "__type")  # the standard introspection query is 15 deep
_META = (*_INTROSPECTION, "__typename")


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a selection set with its fragments expanded. `meta`: how many of its fields are about the schema."""

    fields: int = 0
    meta: int = 0
    aliases: int = 0
    depth: int = 0
    cost: int = 0

    def __add__(self, other: "Size") -> "Size":
        """The size of two parts of the same selection set together."""
        return Size(
            self.fields + other.fields,
            self.meta + other.meta,
            self.aliases + other.aliases,
            max(self.depth, other.depth),
            self.cost + other.cost,
        )


@dataclass(slots=True)
class Measurement:
    """One measured operation. Its cost depends on `first_variables`; `visits` counts the selections looked at.

    `first_variables` hold a `first` or the slots of a page.
    `introspection_aliases`: the aliases of introspection fields and inside them.
    """

    size: Size = field(default_factory=Size)
    directives: int = 0
    introspects: bool = False
    introspection_aliases: int = 0
    first_variables: set[str] = field(default_factory=set)
    visits: int = 0


def units_of(cost: int) -> int:
    """How many units of the caller's limits an operation of this cost takes."""
    return ceil(cost / COST_OF_UNIT)


def is_dear(is_query: bool, size: Size, units: int) -> bool:
    """Whether an operation may delay others: then its caller has few such at a time."""
    if not is_query:
        return units > DEAR_MUTATION
    return units > DEAR_QUERY or size.fields > MANY_LISTS or size.aliases > MANY_LISTS


def measure(
    schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> Measurement:
    """Measure an operation with these raw variable values. It is not validated yet: its names may not exist.

    What the schema does not know costs as if it had no `first`. Raises nothing but RequestRefused, for too many levels.

    A selection with selections of its own costs 2, any other costs 1; a `first` multiplies all costs below it, as do
    the `first` of all slots of a page together.
    """
    measuring = _Measuring(schema, document, operation, variables)
    measuring.result.directives += len(operation.directives or ())
    measuring.result.size = measuring.selections(operation.selection_set, schema.get_root_type(operation.operation))
    return measuring.result


def check_limits(measured: Measurement) -> None:
    """Raise RequestRefused (`QUERY_TOO_COMPLEX`) for the first limit that is passed."""
    size = measured.size
    if measured.introspects and (measured.introspection_aliases or size.meta < size.fields):
        raise RequestRefused("QUERY_TOO_COMPLEX", "Introspection must be sent alone, and without aliases.")
    for name, found, limit in (
        ("depth", size.depth, MAX_DEPTH),
        ("aliases", size.aliases, MAX_ALIASES),
        ("root fields", size.fields, MAX_ROOT_FIELDS),
        ("directives", measured.directives, MAX_DIRECTIVES),
        ("cost", size.cost, MAX_COST),
    ):
        if found > limit:
            found = min(found, 10**9)
            raise RequestRefused("QUERY_TOO_COMPLEX", f"The operation's {name} is {found}; at most {limit} is allowed.")


class _Measuring:
    """The state of one pass over an operation."""

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: Mapping[str, Any],
    ) -> None:
        self.schema = schema
        self.result = Measurement()
        self.fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self.fragment_sizes: dict[str, Size] = {}
        raw: dict[str, Any] = {}
        self.multipliers = Multipliers(raw, self.result.first_variables.add)
        self.level = 0
        for definition in operation.variable_definitions or ():
            self.result.directives += len(definition.directives or ())
            name, default = definition.variable.name.value, definition.default_value
            raw[name] = variables.get(name, default)

    def selections(self, node: SelectionSetNode, parent: GraphQLNamedType | None) -> Size:
        self.level += 1
        if self.level > MAX_LEVELS:
            raise RequestRefused("QUERY_TOO_COMPLEX", _TOO_DEEP)
        size = sum((self._selection(selection, parent) for selection in node.selections), Size())
        self.level -= 1
        return size

    def _selection(self, node: SelectionNode, parent: GraphQLNamedType | None) -> Size:
        self.result.visits += 1
        self.result.directives += len(node.directives or ())
        if isinstance(node, FieldNode):
            return self._field(node, parent)
        if isinstance(node, FragmentSpreadNode):
            return self._spread(node.name.value)
        assert isinstance(node, InlineFragmentNode)
        condition = node.type_condition
        return self.selections(node.selection_set, self._type(condition.name.value) if condition else parent)

    def _spread(self, name: str) -> Size:
        if name not in self.fragment_sizes:
            self.fragment_sizes[name] = Size()  # for a fragment that uses itself, which validation refuses
            fragment = self.fragments.get(name)
            if fragment is not None:
                self.result.directives += len(fragment.directives or ())
                condition = self._type(fragment.type_condition.name.value)
                self.fragment_sizes[name] = self.selections(fragment.selection_set, condition)
        return self.fragment_sizes[name]

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None) -> Size:
        aliases, meta = int(node.alias is not None), int(node.name.value in _META)
        if node.selection_set is None:
            return Size(1, meta, aliases, 1, SCALAR_COST)
        fields = parent.fields if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType) else {}
        definition = fields.get(node.name.value)
        inner = self.selections(node.selection_set, get_named_type(definition.type) if definition else None)
        introspects = node.name.value in _INTROSPECTION
        if introspects:
            self.result.introspects = True
            self.result.introspection_aliases += aliases + inner.aliases
        arguments = {argument.name.value: argument.value for argument in node.arguments or ()}
        times = self.multipliers.of(definition, arguments) if definition else 1
        cost = OBJECT_COST + times * inner.cost
        return Size(1, meta, aliases + inner.aliases, 1 + (0 if introspects else inner.depth), cost)

    def _type(self, name: str) -> GraphQLNamedType | None:
        return self.schema.type_map.get(name)
