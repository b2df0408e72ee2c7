"""Every failure a caller may see: error type -> public code. Surprises are logged and masked with the request's id."""

from collections.abc import Sequence
from typing import Any

import structlog
from graphql import GraphQLError
from strawberry.exceptions import StrawberryInputCoercionError

from core.errors import (
    Forbidden,
    InvalidInput,
    InvalidToken,
    NotFound,
    Overloaded,
    PenchantError,
    StoreUnavailable,
    TooManyElements,
    Unanswerable,
)
from core.stores import log_unavailable

log = structlog.get_logger()

MOST_ERRORS = 5
MASKED = "Something went wrong on our side."
STORE_AWAY = "A store did not answer."


class RequestRefused(PenchantError):
    """A request that is refused as a whole: `code` says why, `status` is the HTTP status that goes with it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


_CODES: tuple[tuple[type[BaseException], str], ...] = (
    (InvalidInput, "BAD_USER_INPUT"),
    (Forbidden, "FORBIDDEN"),
    (NotFound, "NOT_FOUND"),
    (InvalidToken, "UNAUTHENTICATED"),
    (StoreUnavailable, "SERVICE_UNAVAILABLE"),
    (StrawberryInputCoercionError, "BAD_USER_INPUT"),
)

_REFUSALS: dict[type[PenchantError], tuple[str, int]] = {
    TooManyElements: ("PAYLOAD_TOO_LARGE", 413),
    Overloaded: ("SERVICE_UNAVAILABLE", 503),
}
REFUSALS = (RequestRefused, TooManyElements, Overloaded)  # errors that refuse a request as a whole


def code_of(error: BaseException) -> str | None:
    """The public code of a domain error; None for a surprise."""
    if isinstance(error, REFUSALS):
        return refusal_of(error).code
    return next((code for kind, code in _CODES if isinstance(error, kind)), None)


def refusal_of(error: RequestRefused | TooManyElements | Overloaded) -> RequestRefused:
    """The refusal of a whole request, with its public code and HTTP status, for one of `REFUSALS`."""
    if isinstance(error, RequestRefused):
        return error
    code, status = _REFUSALS[type(error)]
    return RequestRefused(code, str(error), status)


def public_errors(errors: Sequence[GraphQLError], request_id: str, default: str | None = None) -> list[dict[str, Any]]:
    """What the caller is told about `errors`: the first five, surprises masked and logged.

    `default` is the code of errors that GraphQL itself found in the request, such as `GRAPHQL_VALIDATION_FAILED`.
    """
    return [_public(error, request_id, default) for error in errors[:MOST_ERRORS]]


def _public(error: GraphQLError, request_id: str, default: str | None) -> dict[str, Any]:
    cause = error.original_error
    if default is None and isinstance(cause, StoreUnavailable):
        log_unavailable(cause, doing="answer a field", request_id=request_id, path=error.path)
        message = error.message if isinstance(cause, Unanswerable) else STORE_AWAY
        return _answer(error, message, {"code": "SERVICE_UNAVAILABLE"})
    code = default or _code_of_field_error(error)
    if code is None:
        log.error("request_failed", request_id=request_id, path=error.path, exc_info=cause or error)
        return _answer(error, MASKED, {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id})
    extensions: dict[str, Any] = {"code": code}
    if isinstance(cause, InvalidInput) and cause.field:
        extensions["field"] = cause.field
    return _answer(error, error.message, extensions)


def _code_of_field_error(error: GraphQLError) -> str | None:
    """A literal argument that does not fit has its own nodes; a resolver's answer that does not fit has none."""
    cause = error.original_error
    if cause is None:
        return "BAD_USER_INPUT"
    if type(cause) is GraphQLError:
        return "BAD_USER_INPUT" if cause.nodes else None
    return code_of(cause)


def _answer(error: GraphQLError, message: str, extensions: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"message": message}
    if error.locations:
        answer["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path is not None:
        answer["path"] = error.path
    answer["extensions"] = extensions
    return answer
