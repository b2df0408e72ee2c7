"""An ItemFilter given as a JSON text, outside a GraphQL operation: the same type, bounds and errors."""

from collections.abc import Sequence
from typing import NoReturn, cast

from graphql import GraphQLError, GraphQLInputType
from graphql.utilities import coerce_input_value, validate_input_value

from api.errors import RequestRefused, public_text
from api.graphql.schema import SCHEMA
from api.http.json_body import parse_json
from core.errors import InvalidInput
from engine.catalogue.filter_documents import filter_of
from engine.catalogue.filters import Filter


def read_filter_text(text: str) -> Filter:
    """The filter in a JSON text such as `{"categories": ["tea"]}`. Raises InvalidInput."""
    try:
        value = parse_json(text, "filter").value
    except RequestRefused as error:
        raise InvalidInput(str(error), "filter") from None
    if not isinstance(value, dict):
        raise InvalidInput("filter is not a JSON object.", "filter")
    kind = cast(GraphQLInputType, SCHEMA._schema.get_type("ItemFilter"))
    validate_input_value(value, kind, _refuse, hide_suggestions=True)
    return filter_of(coerce_input_value(value, kind))


def _refuse(error: GraphQLError, path: Sequence[str | int]) -> NoReturn:
    raise InvalidInput(public_text(error.message), ".".join(["filter", *map(str, path)]))
