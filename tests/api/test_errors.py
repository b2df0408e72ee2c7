"""Each domain error has one public code and HTTP status."""

import pytest

from api.errors import RequestRefused, code_of, refusal_of
from core.errors import (
    Forbidden,
    InvalidInput,
    InvalidToken,
    NotFound,
    Overloaded,
    PenchantError,
    StoreUnavailable,
    TooManyElements,
)


class TooManyItems(TooManyElements):
    """A kind of TooManyElements."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("first is too large"), "BAD_USER_INPUT"),
        (Forbidden(), "FORBIDDEN"),
        (NotFound(), "NOT_FOUND"),
        (InvalidToken(), "UNAUTHENTICATED"),
        (StoreUnavailable("postgres"), "SERVICE_UNAVAILABLE"),
        (TooManyElements(), "PAYLOAD_TOO_LARGE"),
        (Overloaded(), "SERVICE_UNAVAILABLE"),
        (RequestRefused("TIMEOUT", "Too slow.", 504), "TIMEOUT"),
        (PenchantError("a bug"), None),
        (ValueError("a bug"), None),
    ],
)
def test_each_domain_error_has_its_public_code(error: Exception, code: str | None) -> None:
    assert code_of(error) == code


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (TooManyElements("501 events"), "PAYLOAD_TOO_LARGE", 413),
        (TooManyItems("501 items"), "PAYLOAD_TOO_LARGE", 413),
        (Overloaded("wait"), "SERVICE_UNAVAILABLE", 503),
        (RequestRefused("BAD_REQUEST", "no JSON"), "BAD_REQUEST", 400),
    ],
)
def test_an_error_that_refuses_the_whole_request_has_its_status(
    error: RequestRefused | TooManyElements | Overloaded, code: str, status: int
) -> None:
    refusal = refusal_of(error)
    assert (refusal.code, refusal.status, str(refusal)) == (code, status, str(error))
