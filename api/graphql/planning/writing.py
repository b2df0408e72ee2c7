"""Writes the Python code that completes a value, for the selections of one operation.

For `edges { rank node { title price { amount } } }` the code is like this:

    def list_1(values, given):
        if values.__class__ is not list: raise NotPlain
        return [object_2(value, given) for value in values]

    def object_2(source, given):
        if source.__class__ is not RecommendationEdge: raise NotPlain
        v0 = source.rank
        if v0.__class__ is not int or not -2147483648 <= v0 < 2147483648: raise NotPlain
        v1 = source.node
        v1 = object_3(v1, given)
        return {"rank": v0, "node": v1}

    def object_3(source, given):
        ...
        v1 = price_4(source, **given[0])
        if v1 is not None: v1 = object_5(v1, given)

`given` are the arguments of the pure resolvers, read once per request. A list kept as Columns is completed column by
column, and versioned rows and objects as JSON fragments. Whatever is unexpected raises, and graphql-core completes the
value.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLLeafType,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLUnionType,
    get_named_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
    is_union_type,
    print_ast,
)
from graphql.execution.collect_fields import FieldDetailsList
from graphql.execution.values import VariableValues
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField

from api.graphql.context import Context
from api.graphql.execution.columns import Columns, Versioned, columns_of
from api.graphql.execution.executor import Executor
from api.graphql.execution.plain import NotPlain, leaf_of
from api.graphql.planning.arguments import Arguments
from api.graphql.planning.fragments import fragment_of, fragments_of, list_fragment_of
from api.graphql.planning.pure import is_pure

_CHECKS = {
    "String": "{v}.__class__ is not str",
    "ID": "{v}.__class__ is not str",
    "Int": "{v}.__class__ is not int or not -2147483648 <= {v} < 2147483648",
    "Float": "{v}.__class__ is not float or {v} - {v} != 0.0",
    "Boolean": "{v}.__class__ is not bool",
}

Given = Sequence[dict[str, Any]]  # the arguments of pure resolvers


class TooLarge(Exception):
    """The plan would have more fields than are compiled without a pause of the event loop."""


class Budget:
    """How many fields a plan may have: compiling takes some 20 us for each."""

    def __init__(self, fields: int) -> None:
        self._left = fields

    def take(self, fields: int) -> None:
        """Count fields. Raises TooLarge when there are too many."""
        self._left -= fields
        if self._left < 0:
            raise TooLarge


class NotCompilable(Exception):
    """A field below has a resolver that is not pure, or its type is abstract."""


@dataclass(frozen=True, slots=True)
class Completer:
    """Completes the values of one field. `constant` are its arguments when no request has others."""

    function: Callable[[Any, Given], Any]
    arguments: list[Arguments]
    constant: Given | None

    def complete(self, value: Any, variables: VariableValues, context: Context) -> Any:
        """What the answer contains for what the resolver returned. Raises for anything unexpected."""
        given = self.constant
        if given is None:
            given = [one.read_for_rows(variables, context) for one in self.arguments]
        return self.function(value, given)


def write_completer(
    executor: Executor, type_: GraphQLOutputType, details: FieldDetailsList, budget: Budget
) -> Completer | None:
    """The completer of a field's values; None when graphql-core must complete them."""
    writer = _Writer(executor, budget)
    try:
        lines = writer.completion(type_, details, "value")
    except NotCompilable:
        return None
    source = "\n".join([*writer.lines, "def complete(value, given):", *_indented(lines), " return value"])
    exec(compile(source, "<plan>", "exec"), writer.names)  # noqa: S102 - all names in it are ours, but for response keys
    constant = [one.constant for one in writer.arguments if one.constant is not None and one.info is None]
    given = constant if len(constant) == len(writer.arguments) else None
    return Completer(writer.names["complete"], writer.arguments, given)


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of an object, and how its value is read: an attribute, a call of a pure resolver, or a constant."""

    key: str  # in the answer
    type_: GraphQLOutputType | None  # None: `__typename`
    details: FieldDetailsList
    name: str = ""  # in Python
    attribute: bool = False
    function: str = ""  # the name of the pure resolver in the code
    given: int = 0  # index of its arguments

    def read_from(self, source: str) -> str:
        return f"{source}.{self.name}" if self.attribute else f"{self.function}({source}, **given[{self.given}])"

    def read_column_of(self, columns: str) -> str:
        return f"{columns}.{self.name}({'' if self.attribute else f'**given[{self.given}]'})"


@dataclass(slots=True)
class _Writer:
    """Collects the code of one completer, and the names that it uses."""

    executor: Executor
    budget: Budget
    lines: list[str] = field(default_factory=list)
    names: dict[str, Any] = field(
        default_factory=lambda: {
            "NotPlain": NotPlain,
            "fragment_of": fragment_of,
            "fragments_of": fragments_of,
            "list_fragment_of": list_fragment_of,
        }
    )
    arguments: list[Arguments] = field(default_factory=list)

    def completion(self, type_: GraphQLOutputType, details: FieldDetailsList, v: str) -> list[str]:
        """Lines that complete the variable `v`, in place."""
        if is_non_null_type(type_):
            return self._required(type_.of_type, details, v)
        return [f"if {v} is not None:", *_indented(self._required(type_, details, v))]

    def _required(self, type_: GraphQLOutputType, details: FieldDetailsList, v: str) -> list[str]:
        if is_leaf_type(type_):
            return self._leaf(type_, v)
        if is_list_type(type_):
            return [f"{v} = {self._list(type_.of_type, details)}({v}, given)"]
        if is_object_type(type_):
            return self._one(type_, details, v)
        if is_union_type(type_):
            return [f"{v} = {self._union(type_, details)}({v}, given)"]
        raise NotCompilable

    def _one(self, type_: GraphQLObjectType, details: FieldDetailsList, v: str) -> list[str]:
        """Lines that complete an object that is no row of a list."""
        first, expected = len(self.arguments), class_of(type_)
        function = self._object(type_, details)
        kept = self._kept(type_, details, first) if hasattr(expected, "alone") else None
        if kept is None:
            return [f"{v} = {function}({v}, given)"]
        selection, varying = kept
        return [f"{v} = fragment_of({v}, {self._name('class', expected)}, {selection}, {function}, given, {varying})"]

    def _union(self, type_: GraphQLUnionType, details: FieldDetailsList) -> str:
        """The name of a function that completes objects of the types of a union that can be compiled."""
        body = []
        for member in type_.types:
            before = len(self.arguments)
            try:
                lines = self._one(member, details, "source")
            except NotCompilable:
                del self.arguments[before:]
                continue
            known = self._name("class", class_of(member))
            body += [f"if source.__class__ is {known}:", *_indented([*lines, "return source"])]
        if not body:
            raise NotCompilable
        return self._function("union", "source", [*body, "raise NotPlain"])

    def _kept(self, type_: GraphQLObjectType, details: FieldDetailsList, first: int) -> tuple[str, list[int]] | None:
        """What the fragments of a type are kept by: the name of its selection, and the indices of varying arguments.

        `first` is the index of the first argument below it. None when its fields read the context.
        """
        arguments = self.arguments[first:]
        if any(one.info is not None for one in arguments):
            return None
        selection = self._name("selection", f"{type_.name} {self._selection(type_, details)}")
        return selection, [first + at for at, one in enumerate(arguments) if one.constant is None]

    def _leaf(self, type_: GraphQLLeafType, v: str) -> list[str]:
        check = _CHECKS.get(type_.name)
        if check is not None:
            return [f"if {check.format(v=v)}: raise NotPlain"]
        if isinstance(type_, GraphQLEnumType):
            members = getattr(type_, "wrapped_cls", None)
            names = {member.name: type_.coerce_output_value(member) for member in members or ()}
            known, texts = self._name("enum", members), self._name("texts", names)
            return [f"if {v}.__class__ is not {known}: raise NotPlain", f"{v} = {texts}[{v}._name_]"]
        return [f"{v} = {self._name('scalar', leaf_of(type_))}({v})"]

    def _object(self, type_: GraphQLObjectType, details: FieldDetailsList) -> str:
        """The name of a function that completes objects of exactly the class of a GraphQL type."""
        expected = class_of(type_)
        if expected is None:
            raise NotCompilable
        body = [f"if source.__class__ is not {self._name('class', expected)}: raise NotPlain"]
        pairs = []
        for at, one in enumerate(self._fields(type_, details)):
            if one.type_ is None:
                pairs.append(f"{one.key!r}: {type_.name!r}")
                continue
            body += [f"v{at} = {one.read_from('source')}", *self.completion(one.type_, one.details, f"v{at}")]
            pairs.append(f"{one.key!r}: v{at}")
        return self._function("object", "source", [*body, f"return {{{', '.join(pairs)}}}"])

    def _list(self, type_: GraphQLOutputType, details: FieldDetailsList) -> str:
        """The name of a function that completes lists of a type."""
        element = type_.of_type if is_non_null_type(type_) else type_
        body = ["if values.__class__ is not list: raise NotPlain"]
        if is_object_type(element):
            before = len(self.arguments)
            function = self._object(element, details)
            columns = columns_of(class_of(element) or object)
            if columns is not None:
                body[:0] = self._columns(columns, element, details, function, before)
            test = "" if is_non_null_type(type_) else "None if value is None else "
            body.append(f"return [{test}{function}(value, given) for value in values]")
        elif is_leaf_type(element) and element.name in _CHECKS:
            check = self.completion(type_, details, "value")
            body += ["for value in values:", *_indented(check), "return values"]
        else:
            completion = self.completion(type_, details, "value")
            body += ["found = []", "for value in values:", *_indented([*completion, "found.append(value)"])]
            body.append("return found")
        return self._function("list", "values", body)

    def _columns(
        self,
        columns: type[Columns[Any]],
        type_: GraphQLObjectType,
        details: FieldDetailsList,
        complete: str,
        first: int,
    ) -> list[str]:
        """Lines that complete a list kept as columns.

        `complete` is the name of the function for its rows; what that uses is in `given` from `first` on.
        """
        found = self._kept(type_, details, first)
        if found is not None and issubclass(columns, Versioned):
            body = [f"return fragments_of(values, {found[0]}, {complete}, given, {found[1]})"]
        else:
            fields = self._fields(type_, details)
            body = self._rows(columns, type_, fields)
            if found is not None and columns.changing.isdisjoint(one.name for one in fields):
                whole = self._function("rows", "values", body)
                body = [f"return list_fragment_of(values, {found[0]}, {whole}, given, {found[1]})"]
        return [f"if values.__class__ is {self._name('columns', columns)}:", *_indented(body)]

    def _rows(self, columns: type[Columns[Any]], type_: GraphQLObjectType, fields: list[_Field]) -> list[str]:
        """Lines that return the rows of columns."""
        body, pairs, read = list[str](), list[str](), list[str]()
        for at, one in enumerate(fields):
            if one.type_ is None:
                pairs.append(f"{one.key!r}: {type_.name!r}")
                continue
            is_column = columns.has_column(one.name)
            if not is_column and "rows = list(values)" not in body:
                body.append("rows = list(values)")
            column = one.read_column_of("values") if is_column else f"[{one.read_from('row')} for row in rows]"
            body.append(f"c{at} = {self._list(one.type_, one.details)}({column}, given)")
            pairs.append(f"{one.key!r}: v{at}")
            read.append(str(at))
        each = f"{' '.join(f'v{at},' for at in read)} in zip({', '.join(f'c{at}' for at in read)}, strict=True)"
        return [*body, f"return [{{{', '.join(pairs)}}} for {each if read else '_ in range(len(values))'}]"]

    def _selection(self, type_: GraphQLObjectType, details: FieldDetailsList) -> str:
        """The selected fields of a type as a text, the same for all documents that select them."""
        found = []
        for key, inner in self.executor.collect_subfields(type_, details).grouped_field_set.items():
            node = inner[0].node
            definition = type_.fields.get(node.name.value)
            kind = get_named_type(definition.type) if definition else None
            arguments = " ".join(sorted(map(print_ast, node.arguments or ())))
            below = self._selection(kind, inner) if is_object_type(kind) else ""
            found.append(f"{key}:{node.name.value}({arguments}){below}")
        return f"{{{' '.join(found)}}}"

    def _fields(self, type_: GraphQLObjectType, details: FieldDetailsList) -> list[_Field]:
        found = self.executor.collect_subfields(type_, details).grouped_field_set
        self.budget.take(len(found))
        return [self._field(type_, key, inner) for key, inner in found.items()]

    def _field(self, type_: GraphQLObjectType, key: str, details: FieldDetailsList) -> _Field:
        name = details[0].node.name.value
        if name == "__typename":
            return _Field(key, None, details)
        definition = type_.fields.get(name)
        declared = declaration_of(definition) if definition else None
        if definition is None or declared is None or declared.extensions:
            raise NotCompilable
        if declared.base_resolver is None:
            return _Field(key, definition.type, details, declared.python_name, attribute=True)
        resolver = declared.base_resolver
        if not is_pure(cast(Callable[..., Any], resolver.wrapped_func)) or not resolver.self_parameter:
            raise NotCompilable
        self.arguments.append(Arguments(self.executor.schema, definition, declared, details[0].node))
        function = self._name(declared.python_name, resolver.wrapped_func)
        given = len(self.arguments) - 1
        return _Field(key, definition.type, details, declared.python_name, function=function, given=given)

    def _function(self, kind: str, parameter: str, body: list[str]) -> str:
        name = self._name(kind, None)
        self.lines += [f"def {name}({parameter}, given):", *_indented(body)]
        return name

    def _name(self, kind: str, value: Any) -> str:
        name = f"{kind}_{len(self.names)}"
        self.names[name] = value
        return name


def declaration_of(definition: GraphQLField) -> StrawberryField | None:
    """How Strawberry declares a field."""
    declared = definition.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return declared if isinstance(declared, StrawberryField) else None


def class_of(type_: GraphQLObjectType) -> type | None:
    """The class of the objects of a GraphQL type; None when objects of several classes may be of the type.

    `Connection[Item]` is a GraphQL type of its own, but its objects are of the class `Connection`.
    """
    definition = type_.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    if not isinstance(definition, StrawberryObjectDefinition) or definition.is_type_of is not None:
        return None
    return definition.concrete_of.origin if definition.concrete_of else definition.origin


def _indented(lines: list[str]) -> list[str]:
    return [f" {line}" for line in lines]
