"""Our executor: graphql-core's, with a fast path for plain attributes, and selections collected once per document."""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, cast

import graphql
from graphql import (
    GraphQLObjectType,
    GraphQLOutputType,
    get_named_type,
    is_input_object_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
)
from graphql.execution.collect_fields import FieldDetailsList, GroupedFieldSet
from graphql.pyutils import Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

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
from core.turns import OneAtATime


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
    """Executes one operation. `@defer` and `@stream`, which our schema does not have, are ignored."""

    operation_extensions = None  # Strawberry's resolve info reads it
    build_resolve_info = StrawberryGraphQLCoreExecutionContext.build_resolve_info

    def __init__(self, *args: Any, selections: Selections | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._selections = selections or Selections()
        self._relevant_sub_fields = self._selections.fields

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
        """Execute a field with an input object in its arguments in a turn: Strawberry converts them first, for long."""
        field = parent_type, source, field_details_list, path, position_context
        if field_details_list[0].node.arguments and self._takes_objects(parent_type, field_details_list):
            turns = getattr(self.context_value, "turns", None)
            if turns is not None:
                return self._execute_in_turn(turns, *field)
        return super().execute_field(*field)

    async def _execute_in_turn(self, turns: OneAtATime, *field: Any) -> Any:
        async with turns:
            result = super().execute_field(*field)
        return await result if self.is_awaitable(result) else result

    def _takes_objects(self, parent_type: GraphQLObjectType, details: FieldDetailsList) -> bool:
        node = details[0].node
        definition = parent_type.fields.get(node.name.value)
        known = definition.args if definition else {}
        types = (
            get_named_type(known[sent.name.value].type) for sent in node.arguments or () if sent.name.value in known
        )
        return any(map(is_input_object_type, types))

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
