"""How many elements a field's list can have, which multiplies the cost of what is selected in it.

Values are looked at before they are validated: they may be anything. They are raw variables (JSON) or literals.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    Undefined,
    VariableNode,
    get_named_type,
)

from api.graphql.types.connections import MAX_FIRST, UNNAMED, UNNAMED_IN_SLOT

_FIRST, _SLOTS, _REPRESENTATIONS, _PEOPLE = "first", "requests", "representations", "userIds"
_MOST_READ: Final = MAX_FIRST  # elements of a list that are looked at: one that is longer is refused before it is used
ABSENT: Final = object()


class Multipliers:
    """Reads the arguments of one operation with these raw variables. `use` receives the variables that decide."""

    def __init__(self, variables: Mapping[str, Any], use: Callable[[str], None]) -> None:
        self._variables, self._use = variables, use

    def of(self, definition: GraphQLField, sent: Mapping[str, Any]) -> int:
        """The most elements of a field with these argument nodes: its `first`, cut to 1 to 100; 1 without one.

        A page has as many as its slots together, `_entities` as it is sent representations. A field that has lists of
        several people has `first` of each.
        """
        if _REPRESENTATIONS in definition.args:
            return cut(len(_elements(self._value(sent.get(_REPRESENTATIONS, ABSENT)))), 1)
        slot = definition.args.get(_SLOTS)
        kind = get_named_type(slot.type) if slot else None
        if isinstance(kind, GraphQLInputObjectType) and _FIRST in kind.fields:
            slots = self._value(sent.get(_SLOTS, ABSENT))
            default = _default(kind.fields[_FIRST], UNNAMED_IN_SLOT)
            return max(1, sum(self._of_slot(one, default) for one in _elements(slots)))
        argument = definition.args.get(_FIRST)
        people = len(_elements(self._value(sent.get(_PEOPLE, ABSENT)))) if _PEOPLE in definition.args else 1
        return max(people, 1) * (self._cut(sent.get(_FIRST, ABSENT), _default(argument, UNNAMED)) if argument else 1)

    def _of_slot(self, slot: Any, default: Any) -> int:
        slot = self._value(slot)
        if isinstance(slot, ObjectValueNode):
            slot = {field.name.value: field.value for field in slot.fields}
        return self._cut(slot.get(_FIRST, ABSENT), default) if isinstance(slot, dict) else 1

    def _cut(self, value: Any, default: Any) -> int:
        return cut(self._value(value), default)

    def _value(self, value: Any) -> Any:
        """The value of a variable, a whole number or null of a literal; anything else as it is."""
        if isinstance(value, VariableNode):
            self._use(value.name.value)
            value = self._variables.get(value.name.value)
        if isinstance(value, NullValueNode):
            return None
        return _whole(value) if isinstance(value, IntValueNode) else value


def cut(value: Any, default: Any) -> int:
    """`value` as a number of elements, 1 to 100; the default when it is absent; 1 when it is no number."""
    value = default if value is ABSENT or value is None else value
    return int(max(1, min(value, MAX_FIRST))) if isinstance(value, int | float) else 1


def key_of(value: Any) -> Any:
    """What of a variable decides the cost: a number itself, of a list how many elements and what their `first` are.

    One that was not sent (`ABSENT`) has its default, so it is not the same as null.
    """
    if isinstance(value, list | dict):
        firsts = [one.get(_FIRST) if isinstance(one, dict) else 1 for one in _elements(value)]
        return len(firsts), firsts.count(None), sum(cut(first, 0) for first in firsts if first is not None)
    return value if value is ABSENT or isinstance(value, int | float) else None


def _elements(values: Any) -> Sequence[Any]:
    if isinstance(values, ListValueNode):
        return values.values[:_MOST_READ]
    if isinstance(values, list):
        return values[:_MOST_READ]
    return [values] if isinstance(values, dict | ObjectValueNode) else []


def _whole(literal: IntValueNode) -> int:
    """The number in the first four characters: it is cut to 100 anyway, and thousands of digits would cost time."""
    return int(literal.value[:4])


def _default(declared: GraphQLArgument | GraphQLInputField, unnamed: int) -> Any:
    """The default of an argument or input field: a value in Strawberry's schemas, a literal in schemas of SDL.

    `unnamed` where it is null: a placement says how many then, but no more than that.
    """
    if declared.default is None:
        return unnamed if declared.default_value in (None, Undefined) else declared.default_value
    literal = declared.default.literal
    return _whole(literal) if isinstance(literal, IntValueNode) else declared.default.value
