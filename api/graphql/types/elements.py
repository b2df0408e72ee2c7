"""Inputs that reach the contracts in `core` as graphql-core read them: a null is not a field that was left out."""

from collections.abc import Mapping
from typing import Any

from strawberry.types import get_object_definition
from strawberry.types.arguments import InputContext


def pass_as_read(input: type) -> None:
    """Give resolvers each element of this input as a mapping, by the names that senders write.

    Building an object of each costs ten times as much as checking it.
    """
    get_object_definition(input, strict=True).from_input = _as_read


def _as_read(_: type, element: Mapping[str, Any], __: InputContext) -> Mapping[str, Any]:
    return element
