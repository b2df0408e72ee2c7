"""Our executor: graphql-core's, with permissions before arguments, and a fast path for plain attributes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import graphql
from graphql import (
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLOutputType,
    Undefined,
    get_argument_values,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
)
from graphql.execution.collect_fields import FieldDetails, FieldDetailsList, GroupedFieldSet
from graphql.pyutils import Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from api.graphql.execution.owning import Owning
from api.graphql.execution.plain import (
    Completer,
    PlainFields,
    attribute_of,
    leaf_of,
    list_of,
    nullable,
    object_of,
    typename_of,
)


@dataclass(slots=True)
class Selections:
    """What is collected about an operation. Requests share it when the operation has no directives."""

    root: GroupedFieldSet | None = None
    fields: dict[Any, Any] = field(default_factory=dict)  # graphql-core's `_relevant_sub_fields`
    splits: dict[int, "Split"] = field(
        default_factory=dict
    )  # by id of a field set, which `fields` or `root` keeps alive
    completers: dict[tuple[int, int], Completer | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Split:
    """A field set in two parts: plain attributes, and fields for graphql-core. `names` has all names in their order."""

    names: dict[str, None]
    plain: PlainFields
    others: GroupedFieldSet


class Executor(graphql.Executor[Any]):
    """Executes one operation. `check` raises for a field and a source that the viewer may not read.

    `@defer` and `@stream`, which our schema does not have, are ignored.
    """

    operation_extensions = None  # Strawberry's resolve info reads it
    build_resolve_info: Any = StrawberryGraphQLCoreExecutionContext.build_resolve_info

    def __init__(
        self,
        *args: Any,
        selections: Selections | None = None,
        check: Callable[[GraphQLField, Any], None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._check = check
        self._selections = selections or Selections()
        self._relevant_sub_fields = self._selections.fields
        self._arguments: dict[int, dict[str, Any] | GraphQLError] = {}  # by id of a field node

    def execute_collected_root_fields(
        self, root_type: GraphQLObjectType, root_value: Any, grouped_field_set: GroupedFieldSet, *args: Any
    ) -> Any:
        """Use the same field set for each request: `Selections` is looked up by the identity of field sets."""
        if self._selections.root is None:
            self._selections.root = grouped_field_set
        return super().execute_collected_root_fields(root_type, root_value, self._selections.root, *args)

    def execute_fields(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Path | None,
        grouped_field_set: GroupedFieldSet,
        position_context: Any,
    ) -> Any:
        """Read plain attributes directly; execute the other fields, and those that raise, with graphql-core."""
        split = self._split(parent_type, grouped_field_set)
        if not split.plain:
            return super().execute_fields(parent_type, source_value, path, grouped_field_set, position_context)
        results: dict[str, Any] = dict(split.names)
        others = split.others
        for name, attribute, complete in split.plain:
            try:
                results[name] = complete(getattr(source_value, attribute))
            except Exception:  # graphql-core completes the same value again and reports its error
                others = {key: grouped_field_set[key] for key in split.names if key == name or key in others}
        if not others:
            return results
        rest = super().execute_fields(parent_type, source_value, path, others, position_context)
        if self.is_awaitable(rest):
            return _merged(results, cast(Awaitable[dict[str, Any]], rest))
        results.update(cast(dict[str, Any], rest))
        return results

    def execute_field(
        self,
        parent_type: GraphQLObjectType,
        source: Any,
        field_details_list: FieldDetailsList,
        path: Path,
        position_context: Any,
    ) -> Any:
        """Resolve a field as graphql-core does, but check its permissions first, and read its arguments once.

        A field in a list is resolved for each element, with the same arguments: a request cannot multiply the work of
        reading them.
        """
        field = self.schema.get_field(parent_type, field_details_list[0].node.name.value)
        if field is None:
            return Undefined
        info = self.build_resolve_info(field, [details.node for details in field_details_list], parent_type, path)
        try:
            if self._check is not None:
                self._check(field, source)
            resolve = field.resolve or self.field_resolver
            result = resolve(source, info, **self._arguments_of(field, field_details_list[0]))
            if self.is_awaitable(result):
                return Owning(
                    self.complete_awaitable_value(field.type, field_details_list, info, path, result, position_context)
                )
            completed = self.complete_value(field.type, field_details_list, info, path, result, position_context)
        except Exception as error:
            self.handle_field_error(error, field.type, field_details_list, path)
            return None
        if self.is_awaitable(completed):
            return self._await_completed(completed, field.type, field_details_list, path)
        return completed

    async def _await_completed(
        self, completed: Awaitable[Any], type_: GraphQLOutputType, details: FieldDetailsList, path: Path
    ) -> Any:
        try:
            return await completed
        except Exception as error:
            self.handle_field_error(error, type_, details, path)
            return None

    def _arguments_of(self, field: GraphQLField, details: FieldDetails) -> dict[str, Any]:
        if not field.args:
            return {}
        found = self._arguments.get(id(details.node))
        if found is None:
            try:
                found = get_argument_values(field, details.node, self.variable_values, None, self.hide_suggestions)
            except GraphQLError as refusal:
                found = refusal
            self._arguments[id(details.node)] = found
        if isinstance(found, GraphQLError):
            raise GraphQLError(
                found.message, found.nodes, original_error=found.original_error, extensions=found.extensions
            )
        return found

    def complete_value(
        self,
        return_type: GraphQLOutputType,
        field_details_list: FieldDetailsList,
        info: Any,
        path: Path,
        result: Any,
        position_context: Any,
    ) -> Any:
        """Complete a subtree of plain attributes at once; anything else with graphql-core."""
        key = (id(return_type), id(field_details_list))
        completers = self._selections.completers
        if key not in completers:
            completers[key] = self._completer(return_type, field_details_list)
        complete = completers[key]
        if complete is not None:
            try:
                return complete(result)
            except Exception:  # as in `execute_fields`
                complete = None
        return super().complete_value(return_type, field_details_list, info, path, result, position_context)

    def _split(self, parent_type: GraphQLObjectType, grouped_field_set: GroupedFieldSet) -> Split:
        split = self._selections.splits.get(id(grouped_field_set))
        if split is None:
            found = {name: self._plain(parent_type, details) for name, details in grouped_field_set.items()}
            plain = tuple((name, *reading) for name, reading in found.items() if reading is not None)
            others = {name: details for name, details in grouped_field_set.items() if found[name] is None}
            split = self._selections.splits[id(grouped_field_set)] = Split(dict.fromkeys(found), plain, others)
        return split

    def _plain(self, parent_type: GraphQLObjectType, details: FieldDetailsList) -> tuple[str, Completer] | None:
        """The attribute and the completer of its value; None unless the field and all fields below it are plain."""
        name = details[0].node.name.value
        if name == "__typename":
            return "__class__", typename_of(parent_type)
        definition = parent_type.fields.get(name)
        attribute = attribute_of(definition) if definition else None
        complete = self._completer(definition.type, details) if definition and attribute else None
        return (attribute, complete) if attribute and complete else None

    def _completer(self, type_: GraphQLOutputType, details: FieldDetailsList) -> Completer | None:
        """The completer of a type; None when a field below has a resolver, or when the type is abstract."""
        if is_non_null_type(type_):
            return self._required(type_.of_type, details)
        complete = self._required(type_, details)
        return complete and nullable(complete)

    def _required(self, type_: GraphQLOutputType, details: FieldDetailsList) -> Completer | None:
        if is_leaf_type(type_):
            return leaf_of(type_)
        if is_list_type(type_):
            complete = self._completer(type_.of_type, details)
            return complete and list_of(complete)
        if not is_object_type(type_):
            return None
        split = self._split(type_, self.collect_subfields(type_, details).grouped_field_set)
        return None if split.others else object_of(type_, split.plain)


async def _merged(results: dict[str, Any], rest: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    results.update(await rest)
    return results
