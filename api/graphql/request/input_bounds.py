"""Compares inputs with the bounds in the schema before they are coerced; works on JSON values and on literals alike."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from graphql import (
    GraphQLArgument,
    GraphQLError,
    GraphQLInputField,
    GraphQLInputObjectType,
    ListValueNode,
    Node,
    ObjectValueNode,
    VariableNode,
    is_input_object_type,
    is_list_type,
    is_non_null_type,
)

from api.graphql.types.bounds import AtMost, bound_of
from engine.outcomes import MAX_ELEMENTS, check_count

_CONTAINERS: Final = frozenset({dict, list, ListValueNode, ObjectValueNode, VariableNode})


class ListBound(NamedTuple):
    """How many elements a list may have. A `batch` is a list that a mutation takes, one element after the other."""

    elements: int = MAX_ELEMENTS
    batch: bool = False


@dataclass(slots=True)
class _Budget:
    """All lists in one object of an input type, objects of the same type inside it included."""

    kind: GraphQLInputObjectType
    bound: AtMost
    used: int = 1


class _Place(NamedTuple):
    """A value to look at: where it is, its type, the bound it has if it is a list, and the budget it is part of."""

    value: Any
    type_: Any
    bound: ListBound
    path: tuple[Any, ...]  # (path of what it is in, its name or index)
    budget: _Budget | None = None
    level: int = 0


@dataclass(slots=True)
class InputBounds:
    """One pass over inputs; `visits` counts the values looked at.

    `use` receives the variables that it finds in literals, each with the bound of the list it is sent as.
    """

    use: Callable[[str, ListBound], None] = lambda name, bound: None
    visits: int = field(default=0, init=False)

    def check(self, value: Any, type_: Any, bound: ListBound, name: str, node: Node) -> None:
        """Look at a value with all values inside; raise at the first bound it passes.

        GraphQLError, about `node`, when a list or an object is too large; TooManyElements when a batch is.
        Values of wrong types are left to coercion.
        """
        waiting = [_Place(value, type_, bound, (None, name))]
        while waiting:
            place = waiting.pop()
            self.visits += 1
            value = place.value
            if isinstance(value, VariableNode):
                self.use(value.name.value, place.bound)
            elif isinstance(value, list | ListValueNode):
                waiting += self._list(place, node)
            elif isinstance(value, dict | ObjectValueNode):
                waiting += self._object(place, node)

    def _list(self, place: _Place, node: Node) -> Iterable[_Place]:
        values = place.value if isinstance(place.value, list) else place.value.values
        type_ = _nullable(place.type_)
        if is_list_type(type_):
            _check_length(len(values), place, node)
            if place.budget is not None:
                _spend(place.budget, len(values), place.path, node)
        elif isinstance(place.value, list):
            return ()
        inner = type_.of_type if is_list_type(type_) else None
        return [
            place._replace(value=value, type_=inner, path=(place.path, index))
            for index, value in enumerate(values)
            if value.__class__ in _CONTAINERS
        ]

    def _object(self, place: _Place, node: Node) -> Iterable[_Place]:
        type_ = _nullable(place.type_)
        while is_list_type(type_):  # a value in place of a list is a list of one
            type_ = _nullable(type_.of_type)
        if not is_input_object_type(type_):
            fields = None
            if isinstance(place.value, dict):
                return ()
        else:
            fields = type_.fields
            place = _in_budget(place, type_, node)
        return [
            place._replace(
                value=value, type_=declared and declared.type, bound=list_bound(declared), path=(place.path, name)
            )
            for name, value in _members(place.value)
            if value.__class__ in _CONTAINERS
            for declared in (fields.get(name) if fields else None,)
        ]


def list_bound(declared: GraphQLArgument | GraphQLInputField | None, *, batch: bool = False) -> ListBound:
    """The bound of the list that an argument or input field takes; of no matter for one that takes no list."""
    bound = bound_of(declared) if declared is not None else None
    return ListBound(bound.elements if bound else MAX_ELEMENTS, batch)


def _in_budget(place: _Place, type_: GraphQLInputObjectType, node: Node) -> _Place:
    bound = bound_of(type_)
    if bound is None:
        return place
    if place.budget is None or place.budget.kind is not type_:
        return place._replace(budget=_Budget(type_, bound), level=1)
    if bound.levels and place.level >= bound.levels:
        raise GraphQLError(
            f"{_text(place.path)} is nested too deeply: {type_.name} may have at most {bound.levels} levels.", node
        )
    if not isinstance(place.path[1], int):  # an element of a list has been counted with the list
        _spend(place.budget, 1, place.path, node)
    return place._replace(level=place.level + 1)


def _spend(budget: _Budget, count: int, path: tuple[Any, ...], node: Node) -> None:
    budget.used += count
    if budget.used > budget.bound.elements:
        raise GraphQLError(
            f"{_text(path)} is too large: {budget.kind.name} may have at most {budget.bound.elements} values in all.",
            node,
        )


def _check_length(length: int, place: _Place, node: Node) -> None:
    if length <= place.bound.elements:
        return
    if place.bound.batch:
        check_count(length)
    raise GraphQLError(f"{_text(place.path)} has {length} elements: at most {place.bound.elements} are allowed.", node)


def _members(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        return value.items()
    return ((member.name.value, member.value) for member in value.fields)


def _nullable(type_: Any) -> Any:
    return type_.of_type if is_non_null_type(type_) else type_


def _text(path: tuple[Any, ...]) -> str:
    """A path as text, such as `filter.anyOf[3].ids`."""
    outer, step = path
    if outer is None:
        return str(step)
    return f"{_text(outer)}[{step}]" if isinstance(step, int) else f"{_text(outer)}.{step}"
