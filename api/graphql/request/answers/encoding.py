"""What an operation's result, or a refusal, looks like to its caller: status, JSON and headers."""

from typing import Any

import orjson
import structlog
from graphql import ExecutionResult, GraphQLError

from api.errors import MASKED, REFUSALS, RequestRefused, public_errors, refusal_extensions, refusal_of
from api.graphql.request.parsing import DocumentInvalid
from api.graphql.request.reading import RESPONSE_JSON
from api.http.endpoint import Header, refusal_headers

log = structlog.get_logger()

_FIXED_STATUSES = {401, 405, 406, 413, 415, 429, 503, 504}  # sent also when the answer is application/json


def answer_to_result(result: ExecutionResult, request_id: str) -> tuple[int, dict[str, Any], list[Header]]:
    """The status, the body and more headers. Raises what refuses the whole request."""
    if not result.errors:
        return 200, {"data": result.data}, []
    if result.data is None and all(error.path is None for error in result.errors):
        raise DocumentInvalid("BAD_USER_INPUT", result.errors)  # a directive is wrong; no resolver has run
    errors = public_errors(result.errors, request_id)
    answer = {"data": result.data, "errors": errors}
    if any(value is not None for value in (result.data or {}).values()):
        return 200, answer, []
    for error in result.errors:
        if isinstance(error.original_error, REFUSALS):
            raise refusal_of(error.original_error)  # the whole request, for example for too many events
    if any(error["extensions"]["code"] == "SERVICE_UNAVAILABLE" for error in errors):
        return 503, answer, [(b"retry-after", b"1")]
    return 200, answer, []


def answer_to_refusal(
    refusal: RequestRefused, kind: str | None, request_id: str
) -> tuple[int, dict[str, Any], list[Header]]:
    """The status, the body and more headers for a caller who reads `kind`."""
    errors = refusal.errors if isinstance(refusal, DocumentInvalid) else [GraphQLError(str(refusal))]
    answer = {"errors": public_errors(errors, request_id, default=refusal.code)}
    answer["errors"][0]["extensions"].update(refusal_extensions(refusal))
    fixed = refusal.status in _FIXED_STATUSES or refusal.code == "BAD_REQUEST"
    status = refusal.status if fixed or kind == RESPONSE_JSON else 200
    return status, answer, refusal_headers(refusal)


def encode(answer: dict[str, Any], request_id: str) -> bytes:
    """The answer as JSON."""
    try:
        return orjson.dumps(answer)
    except TypeError:  # a field of type JSON has a value that JSON cannot express
        log.exception("answer_not_encoded", request_id=request_id)
        extensions = {"code": "INTERNAL_SERVER_ERROR", "requestId": request_id}
        return orjson.dumps({"errors": [{"message": MASKED, "extensions": extensions}]})
