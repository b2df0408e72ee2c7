"""What a caller said in a GraphQL input, and what was left out: a patch must tell null from silence."""

from typing import Any

import strawberry
from pydantic.alias_generators import to_camel
from strawberry.types.base import has_object_definition


def given(said: object) -> dict[str, Any]:
    """The fields of a GraphQL input that were given, null among them, by their camelCase names; inputs inside too."""
    return {to_camel(name): _plain(value) for name, value in vars(said).items() if value is not strawberry.UNSET}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return given(value) if has_object_definition(value) else value
