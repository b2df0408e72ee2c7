"""What operations may answer: by status, with the schema and the headers of each."""

from collections.abc import Iterable
from typing import Any, Final

from api.routes.openapi.schemas import ref

Schema = dict[str, Any]

JSON: Final = "application/json"
_RETRY: Final = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}, "required": True}}
_CHALLENGE: Final = {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}}
_HEADERS: Final[dict[int, Schema]] = {401: _CHALLENGE, 429: _RETRY, 503: _RETRY}
_WHY: Final[dict[int, str]] = {
    400: "BAD_REQUEST or BAD_USER_INPUT: the request is wrong.",
    401: "UNAUTHENTICATED: there is no valid access token.",
    403: "FORBIDDEN: the token lacks a scope, or is a person's.",
    404: "NOT_FOUND: there is nothing by that name.",
    405: "METHOD_NOT_ALLOWED: Allow names the methods.",
    406: "NOT_ACCEPTABLE: Accept allows no media type that is offered.",
    408: "REQUEST_TIMEOUT: the body did not arrive in time.",
    413: "PAYLOAD_TOO_LARGE: too many bytes, elements or JSON values.",
    415: "UNSUPPORTED_MEDIA_TYPE: another Content-Type or Content-Encoding.",
    429: "RATE_LIMITED: send it again after the seconds in Retry-After.",
    431: "HEADERS_TOO_LARGE: the request line and the headers have too many bytes.",
    500: "INTERNAL_SERVER_ERROR: a bug; report the request id.",
    503: "SERVICE_UNAVAILABLE: send it again.",
    504: "TIMEOUT: no answer in time.",
}
ALWAYS: Final = (400, 408, 413, 429, 431, 500, 503)
"""The statuses with which any path that is not a probe may refuse a request."""


def answer(description: str, schema: Schema | None = None, *kinds: str, **headers: str) -> Schema:
    """An answer with a body of these media types (JSON by default), or without a body when there is no schema.

    `headers` are described by name, with `_` for each `-`.
    """
    made: Schema = {"description": description}
    if schema is not None:
        made["content"] = {kind: {"schema": schema} for kind in kinds or (JSON,)}
    if headers:
        made["headers"] = {
            name.replace("_", "-"): {"description": text, "schema": {"type": "string"}, "required": True}
            for name, text in headers.items()
        }
    return made


def refusals(*statuses: int) -> dict[str, Schema]:
    """Refusals with these statuses and with those that any path has."""
    return _refused({*statuses, *ALWAYS}, ref("Refusal"))


def probe_refusals(*statuses: int) -> dict[str, Schema]:
    """Refusals of a probe, which is not limited."""
    return _refused(statuses, ref("Refusal"))


def oauth_refusals(*statuses: int) -> dict[str, Schema]:
    """Refusals of an endpoint for OAuth clients: its own, and those before the endpoint reads the request."""
    return _refused({*statuses, *ALWAYS}, {"anyOf": [ref("OAuthError"), ref("Refusal")]})


def _refused(statuses: Iterable[int], schema: Schema) -> dict[str, Schema]:
    return {
        str(status): answer(_WHY[status], schema) | ({"headers": _HEADERS[status]} if status in _HEADERS else {})
        for status in sorted(statuses)
    }
