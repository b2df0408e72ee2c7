"""The root of the error tree. An error's docstring is its default message."""

from typing import Literal


class PenchantError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class InvalidInput(PenchantError):
    """The input is not valid."""

    def __init__(self, message: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


StoreName = Literal["postgres", "redis", "broker", "lake"]


class StoreUnavailable(PenchantError):
    """A store did not answer."""

    def __init__(self, store: StoreName, message: str | None = None) -> None:
        super().__init__(message)
        self.store = store


class PlaceRefused(StoreUnavailable):
    """A place takes no files: its disk is full, it is missing, or it may not be written."""


class StoreFull(StoreUnavailable):
    """A store takes no new data: its disk or its memory is full. What it holds can still be read."""


class DiskFull(PenchantError):
    """A file cannot be written."""


class Unanswerable(StoreUnavailable):
    """The requested data cannot be read now. Unlike the message of its parent, this one is sent to callers."""


class Forbidden(PenchantError):
    """The token does not allow this."""


class NotFound(PenchantError):
    """There is nothing here by that name."""


class TookTooLong(PenchantError):
    """This part was not ready in time."""


class InvalidToken(PenchantError):
    """The access token is not valid."""


class KeysUnavailable(PenchantError):
    """The keys of the token's issuer cannot be read now: send this again."""


class TooManyElements(PenchantError):
    """The call has more elements than one call may have."""


class Overloaded(PenchantError):
    """Too much work is waiting: try again in a moment."""


class RateLimited(PenchantError):
    """Too many requests of this caller wait for an answer: try again in a moment."""
