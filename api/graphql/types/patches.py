"""A GraphQL input as a patch: a null clears the stored value, a field left out keeps it."""

from typing import Any

import strawberry
from pydantic.alias_generators import to_camel
from strawberry.types.base import has_object_definition


def patch_of(input: object) -> dict[str, Any]:
    """The fields that the caller sent, nulls included, by their camelCase names; nested inputs become dicts too."""
    return {to_camel(name): _plain(value) for name, value in vars(input).items() if value is not strawberry.UNSET}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return patch_of(value) if has_object_definition(value) else value
