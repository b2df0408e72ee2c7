"""Reads the arguments of a field as its resolver gets them: once for all requests, or once per request."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLSchema,
    ListValueNode,
    ObjectValueNode,
    ValueNode,
    VariableNode,
    get_argument_values,
    get_nullable_type,
    is_leaf_type,
)
from graphql.execution.values import VariableValues
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField

from api.graphql.context import Context

_SCALARS = frozenset({str, int, float, bool, type(None)})
_LONGEST = 64  # characters of an argument that is part of a key
_NO_VARIABLES = VariableValues({}, {})


@dataclass(frozen=True, slots=True)
class ContextOnly:
    """What pure resolvers, and inputs that read themselves, get as `info`."""

    context: Context


class Arguments:
    """The keyword arguments of the resolver of one field node, without `info`.

    `constant` are the same in all requests; None when they depend on variables, or are wrong. `info` is the name of the
    parameter that gets the info; None when the resolver has none.
    """

    def __init__(self, schema: GraphQLSchema, field: GraphQLField, declared: StrawberryField, node: FieldNode) -> None:
        self._field, self._declared, self._node = field, declared, node
        self._schema: Any = cast(Any, schema)._strawberry_schema
        resolver = declared.base_resolver
        self.info = resolver.info_parameter.name if resolver and resolver.info_parameter else None
        self.variables = self._leaf_variables()  # by argument
        self.fixed = self._other_arguments()
        self.constant = None if self.variables else self.fixed

    def read(self, variables: VariableValues, context: Context) -> dict[str, Any]:
        """The arguments in this request, as a new dict. Raises GraphQLError when they are wrong."""
        if self.fixed is None:
            return self._read(self._field, self._node, variables, context)
        found = dict(self.fixed)
        for argument, variable in self.variables.items():
            value = variables.coerced.get(variable)
            if value is None:  # absent or null: graphql-core knows whether this is allowed, and what the default is
                return self._read(self._field, self._node, variables, context)
            found[argument] = value
        return found

    def read_for_rows(self, variables: VariableValues, context: Context) -> dict[str, Any]:
        """The arguments for a pure resolver that is called for many rows, with `info`."""
        found = self.read(variables, context)
        if self.info is not None:
            found[self.info] = ContextOnly(context)
        return found

    def _read(
        self, field: GraphQLField, node: FieldNode, variables: VariableValues, context: Context | None
    ) -> dict[str, Any]:
        values = get_argument_values(field, node, variables, None, True)
        registry, config = self._schema.schema_converter.scalar_registry, self._schema.config
        info = cast(Any, None if context is None else ContextOnly(context))
        return convert_arguments(values, self._declared.arguments, registry, config, info)

    def _leaf_variables(self) -> dict[str, str]:
        name_of = self._schema.config.name_converter.from_argument
        python_names = {name_of(argument): argument.python_name for argument in self._declared.arguments}
        return {
            python_names[sent.name.value]: cast(VariableNode, sent.value).name.value
            for sent in self._node.arguments or ()
            if self._is_leaf_variable(sent.value, sent.name.value)
        }

    def _other_arguments(self) -> dict[str, Any] | None:
        """The arguments that no variable of a leaf type gives; None when they differ from request to request."""
        sent = [one for one in self._node.arguments or () if not self._is_leaf_variable(one.value, one.name.value)]
        if any(_has_variable(one.value) for one in sent):
            return None
        given = {one.name.value for one in self._node.arguments or ()} - {one.name.value for one in sent}
        others = {name: argument for name, argument in self._field.args.items() if name not in given}
        node = FieldNode(name=self._node.name, arguments=tuple(sent))
        try:
            found = self._read(GraphQLField(self._field.type, others), node, _NO_VARIABLES, None)
        except Exception:  # graphql-core reports it, in each request
            return None
        return found if all(value.__class__ in _SCALARS for value in found.values()) else None

    def _is_leaf_variable(self, value: ValueNode, argument: str) -> bool:
        return isinstance(value, VariableNode) and is_leaf_type(get_nullable_type(self._type(argument)))

    def _type(self, argument: str) -> Any:
        return self._field.args[argument].type


def key_of(arguments: Mapping[str, Any]) -> Hashable | None:
    """The arguments as part of a key; None when they are not short scalars."""
    if all(value.__class__ in _SCALARS and len(str(value)) <= _LONGEST for value in arguments.values()):
        return tuple((name, value.__class__, value) for name, value in sorted(arguments.items()))
    return None


def _has_variable(value: ValueNode) -> bool:
    if isinstance(value, ListValueNode):
        return any(map(_has_variable, value.values))
    if isinstance(value, ObjectValueNode):
        return any(_has_variable(field.value) for field in value.fields)
    return isinstance(value, VariableNode)
