"""How large inputs may be: every input list has a bound, which the schema prints as `@atMost`."""

import strawberry
from graphql import GraphQLArgument, GraphQLInputField, GraphQLInputObjectType
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.schema_directive import Location
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.base import StrawberryList, StrawberryOptional
from strawberry.types.field import StrawberryField

from engine.outcomes import MAX_ELEMENTS


@strawberry.schema_directive(
    locations=[Location.ARGUMENT_DEFINITION, Location.INPUT_FIELD_DEFINITION, Location.INPUT_OBJECT],
    description="A list may have at most this many elements. On an input type: all lists in one object together, the"
    " objects of the same type inside it included, which may be nested at most `levels` deep.",
)
class AtMost:
    """The bound of an input list, or of all lists in an input object."""

    elements: int
    levels: int | None = strawberry.UNSET


def add_bound(declared: StrawberryField | StrawberryArgument) -> None:
    """Bound an input list that declares no bound of its own to 500 elements; leave anything else as it is."""
    type_ = declared.type.of_type if isinstance(declared.type, StrawberryOptional) else declared.type
    if isinstance(type_, StrawberryList) and _find(declared.directives) is None:
        declared.directives = [*declared.directives, AtMost(elements=MAX_ELEMENTS)]


def bound_of(declared: GraphQLArgument | GraphQLInputField | GraphQLInputObjectType) -> AtMost | None:
    """The bound of an argument or input field that is a list, or of an input type that has one; None for any other."""
    known = declared.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return _find(getattr(known, "directives", None) or ())


def _find(directives: object) -> AtMost | None:
    return next((one for one in directives if isinstance(one, AtMost)), None)  # type: ignore[attr-defined]
