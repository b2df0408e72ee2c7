"""One error while RabbitMQ cannot be reached, whatever the client library raises."""

from typing import Final

from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from core.errors import StoreUnavailable

CONNECTION_ERRORS: Final = (*CONNECTION_EXCEPTIONS, TimeoutError)


def unavailable(what: str, error: Exception | None = None) -> StoreUnavailable:
    """The error to raise in place of one of the client library."""
    return StoreUnavailable("broker", what if error is None else f"{what}: {type(error).__name__} {error}".strip())
