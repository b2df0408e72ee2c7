"""Inputs that resolvers get as graphql-core read them, without an object of our own for each."""

from collections.abc import Mapping
from typing import Any, TypeVar

from strawberry.types import get_object_definition
from strawberry.types.arguments import InputContext

KindT = TypeVar("KindT")


def as_read(kind: type[KindT]) -> type[KindT]:
    """Give resolvers inputs of this type as mappings by their names in the schema; a field left out has no key.

    Strawberry would build an object of each, which takes ten times as long as checking it.
    """
    get_object_definition(kind, strict=True).from_input = _itself
    return kind


def _itself(_: type, value: Mapping[str, Any], __: InputContext) -> Mapping[str, Any]:
    return value
