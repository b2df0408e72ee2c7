"""Random operations over every kind of type of a schema: most are valid, some are odd, some are wrong.

Everything comes from the schema: a new type, field, argument or directive is used without a change here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_abstract_type,
    is_composite_type,
    is_required_argument,
)

from benchmarks.operation_values import TEXTS, ValueMaker, Variable, is_writable, literal, plain

MOST_FIELDS = 40  # of one operation
DEEPEST = 6  # levels of selections
VARIABLES = 0.4  # share of arguments that are variables
MUTATIONS = 0.3  # share of operations
SUBSCRIPTIONS = 0.03  # of those that are no mutations; over plain HTTP the gateway refuses them after their checks


@dataclass(frozen=True, slots=True)
class Call:
    """One request: its JSON body is `body`."""

    query: str
    variables: Any = None
    operation_name: str | None = None

    @property
    def body(self) -> str:
        """The JSON to send; NaN and half characters are written as Python does."""
        parts = {"query": self.query, "variables": self.variables, "operationName": self.operation_name}
        return json.dumps({name: value for name, value in parts.items() if value is not None})


@dataclass
class _Operation:
    """What one operation declares, besides its selections."""

    fields_left: int
    aliases: int = 0
    variables: dict[str, str] = field(default_factory=dict)  # name: type and default, as written
    values: dict[str, Any] = field(default_factory=dict)
    fragments: list[str] = field(default_factory=list)


class OperationGrammar:
    """Makes calls. The same seed and the same learned answers make the same calls.

    `pools` has values that exist, by the name of the argument, such as `id`.
    """

    def __init__(self, schema: GraphQLSchema, seed: int, pools: Mapping[str, list[str]]) -> None:
        self._schema = schema
        self._random = Random(seed)  # noqa: S311 - no secret
        self.values = ValueMaker(self._random, pools)
        self._odd = 0.0
        self._made = _Operation(0)

    def call(self) -> Call:
        """The next call. Its share of wrong parts is drawn first, so that most calls are valid as a whole."""
        self._odd = self._random.choice([0, 0, 0, 0, 0, 0.02, 0.15])
        self.values.odd = self._random.choice([0, 0, 0, 0, 0.02, 0.3])
        if not self._chance(self._odd / 5):
            return self._call()
        return Call(self._garbled(self._call().query), plain(self.values.anything()))

    def _call(self) -> Call:
        operations, fragments, names, values = list[str](), list[str](), list[str](), dict[str, Any]()
        for number in range(1 if self._chance(0.95) else 3):
            self._made = _Operation(self._random.randint(3, MOST_FIELDS))
            name = self._random.choice(["", "A", "é"]) if self._chance(self._odd) else f"Q{number}"
            operations.append(self._operation(name))
            names.append(name)
            values |= self._made.values
            fragments += self._made.fragments
        if self._chance(self._odd):
            values[self._random.choice([*values, "extra"])] = self.values.anything()
        named = self._random.choice([*names, "None", ""]) if len(names) > 1 or self._chance(self._odd) else None
        return Call(" ".join([*operations, *fragments]), plain(values), named)

    def _operation(self, name: str) -> str:
        kind, root = self._root()
        selections = self._selections(root, DEEPEST)
        directives = self._misplaced()
        declared = ", ".join(f"${variable}: {type}" for variable, type in self._made.variables.items())
        kind = "subscription" if self._chance(self._odd / 5) else kind
        return f"{kind} {name}{f'({declared})' if declared else ''}{directives} {selections}"

    def _root(self) -> tuple[str, GraphQLObjectType]:
        schema, query = self._schema, self._schema.query_type
        assert query is not None
        if self._chance(MUTATIONS) and schema.mutation_type is not None:
            return "mutation", schema.mutation_type
        if self._chance(SUBSCRIPTIONS) and schema.subscription_type is not None:
            return "subscription", schema.subscription_type
        return "query", query

    def _selections(self, type: GraphQLNamedType, depth: int) -> str:
        count = self._random.choice([1, 1, 2, 3]) if depth == DEEPEST else self._random.randint(1, 5)
        return "{ " + " ".join(self._selection(type, depth) for _ in range(count)) + " }"

    def _selection(self, type: GraphQLNamedType, depth: int) -> str:
        self._made.fields_left -= 1
        fields = getattr(type, "fields", {})
        if depth and self._made.fields_left > 0 and self._chance(0.12):
            return self._fragment(type, depth)
        if self._chance(0.05) or not fields or (depth < DEEPEST and self._made.fields_left <= 0):
            return self._typename()
        usable = [
            name for name, found in fields.items() if depth > 1 or not is_composite_type(get_named_type(found.type))
        ]
        if not usable or self._chance(self._odd):
            return self._random.choice(
                ["__typename", "noSuchField", "id", "nodes { id }", "__schema { queryType { name } }"]
            )
        if type is self._schema.query_type and self._chance(0.03):
            return f"{self._alias(1)}__schema {self._selections(self._schema.type_map['__Schema'], 3)}"
        name = self._random.choice(usable)
        return self._field(name, fields[name], depth)

    def _typename(self) -> str:
        return f"{self._alias(0.1)}__typename{self._directives()}"

    def _field(self, name: str, found: GraphQLField | GraphQLInputField, depth: int) -> str:
        inner = get_named_type(found.type)
        composite = is_composite_type(inner) != self._chance(self._odd / 2)
        below = f" {self._selections(inner, depth - 1)}" if composite else ""
        arguments = self._arguments(getattr(found, "args", {}))
        alias = self._alias(0.9 if arguments or composite else 0.1)
        return f"{alias}{name}{arguments}{self._directives()}{below}"

    def _alias(self, share: float) -> str:
        """An alias; two fields with one name and different arguments would be in conflict."""
        if not self._chance(share):
            return ""
        self._made.aliases += 1
        return f"a{self._made.aliases}: " if not self._chance(self._odd) else f"a{self._random.randint(0, 30)}: "

    def _arguments(self, args: Mapping[str, GraphQLArgument]) -> str:
        sent = []
        for name, argument in args.items():
            wanted = (
                not self._chance(self._odd)
                if is_required_argument(argument)
                else self._chance(0.8 if name == "first" else 0.35)
            )
            if wanted:
                sent.append(f"{name}: {self._argument(name, argument.type)}")
        if self._chance(self._odd / 2):
            sent.append(f"noSuch: {literal(self.values.anything())}")
        return f"({', '.join(sent)})" if sent else ""

    def _argument(self, name: str, type: GraphQLInputType) -> str:
        value = self.values.value(type, name)
        if self._chance(VARIABLES) or (not self._odd and not is_writable(value)):
            return f"${self._variable(type, name, value)}"
        return literal(self._with_variables(value))

    def _variable(self, type: GraphQLInputType, name: str, value: Any) -> str:
        """A new variable of this type, or now and then of another one, with a value, a default, both or neither."""
        variable = f"v{len(self._made.variables)}_{self._random.randint(0, 9)}"
        written = str(type) if not self._chance(self._odd) else self._random.choice([*self._schema.type_map, "[ID!]!"])
        other = self.values.value(type, name)
        default = f" = {literal(other)}" if self._chance(0.1) and is_writable(other) else ""
        self._made.variables[variable] = f"{written}{default}"
        if not self._chance(0.1 if default else self._odd):
            self._made.values[variable] = value
        return variable

    def _with_variables(self, value: Any) -> Any:
        """The value, with now and then a variable in place of a part of an input object."""
        if isinstance(value, dict) and value and self._chance(self._odd):
            return {
                **value,
                self._random.choice([*value]): Variable(self._random.choice([*self._made.variables, "none"])),
            }
        return value

    def _fragment(self, type: GraphQLNamedType, depth: int) -> str:
        condition = self._condition(type)
        inside = self._schema.type_map.get(condition, type)
        if self._chance(0.5):
            on = f" on {condition}" if self._chance(0.9) else ""
            return f"...{on}{self._directives()} {self._selections(inside if on else type, depth - 1)}"
        name = f"F{len(self._made.fragments)}_{self._random.randint(0, 999)}"
        if not self._chance(self._odd):
            selections = self._selections(inside, depth - 1)
            if self._chance(self._odd):
                selections = selections.replace("{", f"{{ ...{name}", 1)
            self._made.fragments.append(f"fragment {name} on {condition}{self._misplaced()} {selections}")
        return f"...{name}{self._directives()}"

    def _condition(self, type: GraphQLNamedType) -> str:
        """A type that fits; now and then any type: objects, interfaces, inputs, scalars, enums, none."""
        if self._chance(max(self._odd, 0.01)):
            return self._random.choice([*self._schema.type_map, "NoSuchType"])
        if is_abstract_type(type):
            return self._random.choice([type, *self._schema.get_possible_types(type)]).name
        interfaces: list[GraphQLInterfaceType] = list(type.interfaces) if isinstance(type, GraphQLObjectType) else []
        return self._random.choice([type.name, *(interface.name for interface in interfaces)])

    def _directives(self) -> str:
        if not self._chance(max(0.03, self._odd / 2)):
            return ""
        if self._chance(self._odd):
            return self._misplaced(1)
        kind, condition = self._random.choice(["include", "skip"]), literal(self._random.choice([True, False]))
        if self._chance(0.3):
            name = f"yes{self._random.randint(0, 1)}"
            self._made.variables[name], self._made.values[name] = "Boolean!", self._random.choice([True, False])
            condition = f"${name}"
        return f" @{kind}(if: {condition})"

    def _misplaced(self, share: float | None = None) -> str:
        """Now and then any directive of the schema, where it is not allowed."""
        if not self._chance(self._odd if share is None else share):
            return ""
        directive = self._random.choice(self._schema.directives)
        return f" @{directive.name}{self._arguments(directive.args)}"

    def _garbled(self, text: str) -> str:
        """The text with a part lost, doubled or replaced."""
        at, end = sorted(self._random.randrange(len(text) + 1) for _ in range(2))
        more = self._random.choice(["", text[at:end] * 2, self._random.choice(TEXTS), "#", '"""', "{" * 50, "..."])
        return text[:at] + more + text[min(end, at + 20) :]

    def _chance(self, share: float) -> bool:
        return self._random.random() < share
