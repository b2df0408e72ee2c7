"""Every failure a caller may see: error type -> public code and HTTP status. Unexpected ones are logged and masked."""

from collections.abc import Sequence
from typing import Any

import structlog
from graphql import GraphQLError
from strawberry.exceptions import StrawberryInputCoercionError

from core.errors import (
    Forbidden,
    InvalidInput,
    InvalidToken,
    KeysUnavailable,
    NotFound,
    Overloaded,
    PenchantError,
    RateLimited,
    StoreUnavailable,
    TookTooLong,
    TooManyElements,
    Unanswerable,
)
from core.stores import log_unavailable

log = structlog.get_logger()

MAX_ERRORS = 5
MAX_MESSAGE = 200  # characters
MASKED = "Something went wrong on our side."
STORE_AWAY = "A store did not answer."


class RequestRefused(PenchantError):
    """The whole request is refused, with a public `code` and an HTTP `status`.

    `retry_after`: the seconds after which sending it again may help. Only answers with the status 429 or 503 say so.
    """

    def __init__(self, code: str, message: str, status: int = 400, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after = retry_after


class WrongLiteral(GraphQLError):
    """A value in the document that its type refuses. Its code is that of a variable with this value."""


_CODES: tuple[tuple[type[BaseException], str], ...] = (
    (InvalidInput, "BAD_USER_INPUT"),
    (Forbidden, "FORBIDDEN"),
    (NotFound, "NOT_FOUND"),
    (InvalidToken, "UNAUTHENTICATED"),
    (StoreUnavailable, "SERVICE_UNAVAILABLE"),
    (KeysUnavailable, "SERVICE_UNAVAILABLE"),
    (StrawberryInputCoercionError, "BAD_USER_INPUT"),
    (TookTooLong, "TIMEOUT"),
)

_REFUSALS: tuple[tuple[type[PenchantError], str, int], ...] = (
    (TooManyElements, "PAYLOAD_TOO_LARGE", 413),
    (Overloaded, "SERVICE_UNAVAILABLE", 503),
    (RateLimited, "RATE_LIMITED", 429),
)
REFUSALS = (RequestRefused, TooManyElements, Overloaded, RateLimited)  # errors that refuse a request as a whole


def code_of(error: BaseException) -> str | None:
    """The public code of a domain error; None for an unexpected error."""
    if isinstance(error, REFUSALS):
        return refusal_of(error).code
    return next((code for kind, code in _CODES if isinstance(error, kind)), None)


def refusal_of(error: RequestRefused | TooManyElements | Overloaded | RateLimited) -> RequestRefused:
    """One of `REFUSALS` as a RequestRefused, with its public code and HTTP status."""
    if isinstance(error, RequestRefused):
        return error
    code, status = next((code, status) for kind, code, status in _REFUSALS if isinstance(error, kind))
    return RequestRefused(code, str(error), status)


def error_answer(code: str, message: str, **extensions: Any) -> dict[str, Any]:
    """The JSON body of an answer that is one error and nothing else."""
    return {"errors": [{"message": public_text(message), "extensions": {"code": code, **extensions}}]}


def refusal_answer(refusal: RequestRefused) -> dict[str, Any]:
    """The JSON body of an answer that refuses a request."""
    return error_answer(refusal.code, str(refusal), **refusal_extensions(refusal))


def refusal_extensions(refusal: RequestRefused) -> dict[str, Any]:
    """What the error of a refusal says besides its code: `retryAfter`, in seconds, for too many requests."""
    return {"retryAfter": refusal.retry_after} if refusal.status == 429 else {}


def public_text(message: str) -> str:
    """An error message as a caller may see it: at most 200 characters, and with `null` in place of GraphQL's None."""
    message = message.replace(" not to be None.", " not to be null.")
    return message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 3]}..."


def masked_answer(request_id: str) -> dict[str, Any]:
    """The JSON body of an answer to a request that failed unexpectedly."""
    return error_answer("INTERNAL_SERVER_ERROR", MASKED, requestId=request_id)


def public_errors(errors: Sequence[GraphQLError], request_id: str, default: str | None = None) -> list[dict[str, Any]]:
    """The first five errors as the caller may see them. Unexpected errors are logged, and masked with the request's id.

    `default` is the code of errors that GraphQL itself finds in the request, such as `GRAPHQL_VALIDATION_FAILED`.
    """
    return [_public(error, request_id, default) for error in errors[:MAX_ERRORS]]


def _public(error: GraphQLError, request_id: str, default: str | None) -> dict[str, Any]:
    cause = error.original_error
    if default is None and isinstance(cause, StoreUnavailable):
        log_unavailable(cause, doing="answer a field", request_id=request_id, path=error.path)
        message = error.message if isinstance(cause, Unanswerable) else STORE_AWAY
        return _error(error, message, {"code": "SERVICE_UNAVAILABLE"})
    code = "BAD_USER_INPUT" if isinstance(error, WrongLiteral) else default or _code_of_field_error(error)
    if code is None:
        log.error("request_failed", request_id=request_id, path=error.path, exc_info=cause or error)
        return _error(error, MASKED, {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id})
    extensions: dict[str, Any] = {"code": code}
    if isinstance(cause, InvalidInput) and cause.field:
        extensions["field"] = [public_text(name) for name in cause.field.split(".")]
    return _error(error, error.message, extensions)


def _code_of_field_error(error: GraphQLError) -> str | None:
    """The public code; None for an unexpected error.

    A GraphQLError without a cause, or with nodes of its own, is about an argument of the wrong type. One without nodes
    is about a resolver that returned the wrong type.
    """
    cause = error.original_error
    if cause is None:
        return "BAD_USER_INPUT"
    if type(cause) is GraphQLError:
        return "BAD_USER_INPUT" if cause.nodes else None
    return code_of(cause)


def _error(error: GraphQLError, message: str, extensions: dict[str, Any]) -> dict[str, Any]:
    public: dict[str, Any] = {"message": public_text(message)}
    if error.locations:
        public["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path is not None:
        public["path"] = [public_text(step) if isinstance(step, str) else step for step in error.path]
    public["extensions"] = extensions
    return public
