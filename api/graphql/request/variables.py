"""The variables of an operation: which fields use them, checked against all bounds and coerced only where needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from graphql import (
    DirectiveNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInputType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    ListValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    VariableDefinitionNode,
    get_named_type,
    get_nullable_type,
    is_input_type,
    is_list_type,
    type_from_ast,
)
from graphql.execution.get_variable_signature import GraphQLVariableSignature

from api.errors import RequestRefused
from api.graphql.request.input_bounds import InputBounds, ListBound, list_bound
from api.graphql.types.permissions import required_scopes
from api.http.json_body import MAX_NODES, count_nodes

_CONTAINERS: Final = (dict, list)
_ANY: Final = ListBound()

_PLAIN = {"String": str, "ID": str, "Boolean": bool, "Int": int}


@dataclass(slots=True)
class Variable:
    """A variable that permitted fields use: how often, and the smallest bound of the lists that take it.

    `plain` is the class of values that need no coercion; None when all need it. `plain_elements` is that of the
    elements of a list.
    """

    definition: VariableDefinitionNode
    type_: GraphQLInputType
    uses: int = 0
    bound: ListBound = _ANY
    plain: type | None = None
    plain_elements: type | None = None
    name: str = ""  # without the `$`
    signature: GraphQLVariableSignature | None = None  # when it was needed once

    def __post_init__(self) -> None:
        self.name = self.definition.variable.name.value
        type_ = get_nullable_type(self.type_)
        if is_list_type(type_):
            self.plain_elements = _PLAIN.get(getattr(get_nullable_type(type_.of_type), "name", ""))
        else:
            self.plain = _PLAIN.get(getattr(type_, "name", ""))

    def add_use(self, bound: ListBound) -> None:
        """Count a use, in place of a list with this bound."""
        self.uses += 1
        self.bound = min(self.bound, bound) if self.uses > 1 else bound


@dataclass(frozen=True)
class Inputs:
    """The variables that some fields of an operation use; `most_uses` is that of the variable used most often.

    `scopes` are those that the fields need, of the person's own fields only what everybody needs. `elements`: those of
    the lists that a mutation takes, as far as they stand in the document.
    """

    variables: Sequence[Variable]
    most_uses: int
    scopes: frozenset[str]
    elements: int = 0

    @cached_property
    def has_lists(self) -> bool:
        """Whether a variable takes a list of values that need no coercion."""
        return any(variable.plain_elements for variable in self.variables)

    def count_elements(self, values: Mapping[str, Any]) -> int:
        """How many events, items, users or ids a mutation takes, each use of a variable counted."""
        found = self.elements
        for variable in self.variables:
            value = values.get(variable.name)
            if value.__class__ is list:
                found += variable.uses * len(value)
        return found


def read_inputs(
    schema: GraphQLSchema,
    fragments: Mapping[str, FragmentDefinitionNode],
    operation: OperationDefinitionNode,
    scopes: frozenset[str] | None = None,
) -> Inputs:
    """The inputs of the fields that a token with these scopes may read; None stands for all scopes.

    The operation must be valid. Each fragment is walked once. Raises GraphQLError for a literal that is too large,
    TooManyElements for a batch that is.
    """
    reading = _Reading(schema, fragments, operation, scopes)
    reading.read()
    used = [variable for variable in reading.variables.values() if variable.uses]
    return Inputs(
        used, max((variable.uses for variable in used), default=0), frozenset(reading.needed), reading.elements
    )


def check_variables(inputs: Inputs, values: Mapping[str, Any], nodes: int) -> int:
    """Compare variables with all bounds before anything is coerced, and return how many values this looked at.

    `nodes` is the number of JSON values in all variables together, or more. Raises GraphQLError for a variable that is
    too large, TooManyElements for a batch that is, RequestRefused when the variables with all their uses are.
    """
    bounds = InputBounds()
    for variable in inputs.variables:
        value = values.get(variable.name)
        if value.__class__ in _CONTAINERS:
            bounds.check(value, variable.type_, variable.bound, f"${variable.name}", variable.definition)
    if nodes * inputs.most_uses > MAX_NODES:
        used = sum(
            variable.uses * count_nodes(values.get(variable.name), f"${variable.name}") for variable in inputs.variables
        )
        if used > MAX_NODES:
            raise RequestRefused(
                "QUERY_TOO_COMPLEX",
                f"The variables have {used} values, each use counted; at most {MAX_NODES} are allowed.",
            )
    return bounds.visits


@dataclass(slots=True)
class _Reading:
    """The state of one walk over the fields of an operation."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    operation: OperationDefinitionNode
    scopes: frozenset[str] | None
    variables: dict[str, Variable] = field(default_factory=dict)
    needed: set[str] = field(default_factory=set)
    elements: int = 0
    waiting: list[tuple[SelectionSetNode, GraphQLNamedType | None]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def read(self) -> None:
        for definition in self.operation.variable_definitions or ():
            type_ = type_from_ast(self.schema, definition.type)
            if is_input_type(type_):
                self.variables[definition.variable.name.value] = Variable(definition, type_)
            self._directives(definition.directives)
        self._directives(self.operation.directives)
        self.waiting.append((self.operation.selection_set, self.schema.get_root_type(self.operation.operation)))
        while self.waiting:
            selections, parent = self.waiting.pop()
            for selection in selections.selections:
                self._selection(selection, parent)
        for variable in self.variables.values():
            self._default(variable)

    def _selection(self, node: SelectionNode, parent: GraphQLNamedType | None) -> None:
        self._directives(node.directives)
        if isinstance(node, FieldNode):
            self._field(node, parent)
        elif isinstance(node, FragmentSpreadNode):
            self._spread(node.name.value)
        elif isinstance(node, InlineFragmentNode):
            condition = node.type_condition
            type_ = self.schema.get_type(condition.name.value) if condition else parent
            self.waiting.append((node.selection_set, type_))

    def _spread(self, name: str) -> None:
        fragment = self.fragments.get(name)
        if fragment is not None and name not in self.seen:
            self.seen.add(name)
            self._directives(fragment.directives)
            type_ = self.schema.get_type(fragment.type_condition.name.value)
            self.waiting.append((fragment.selection_set, type_))

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None) -> None:
        definition = parent.fields.get(node.name.value) if isinstance(parent, GraphQLObjectType) else None
        needed = required_scopes(definition) if definition else frozenset[str]()
        self.needed |= needed
        if self.scopes is not None and not needed <= self.scopes:
            return
        batch = parent is self.schema.mutation_type and self.operation.operation is OperationType.MUTATION
        bounds = InputBounds(self._use)
        for argument in node.arguments or ():
            declared = definition.args.get(argument.name.value) if definition else None
            bound = list_bound(declared, batch=batch)
            bounds.check(argument.value, declared and declared.type, bound, argument.name.value, argument)
            if batch and isinstance(argument.value, ListValueNode):
                self.elements += len(argument.value.values)
        if node.selection_set:
            self.waiting.append((node.selection_set, get_named_type(definition.type) if definition else None))

    def _directives(self, nodes: Sequence[DirectiveNode] | None) -> None:
        for directive in nodes or ():
            for argument in directive.arguments or ():
                InputBounds(self._use).check(argument.value, None, _ANY, argument.name.value, argument)

    def _default(self, variable: Variable) -> None:
        default = variable.definition.default_value
        if default is not None:
            InputBounds().check(default, variable.type_, variable.bound, f"${variable.name}", variable.definition)

    def _use(self, name: str, bound: ListBound) -> None:
        if name in self.variables:
            self.variables[name].add_use(bound)
