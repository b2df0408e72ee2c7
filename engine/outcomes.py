"""One outcome for each element of a call, so that a bad element does not affect the good ones."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from core.contract import check_id
from core.errors import InvalidInput, TooManyElements

MAX_ELEMENTS: Final = 500  # of one call


class Outcome(StrEnum):
    """The outcome of one element of a call."""

    ACCEPTED = "ACCEPTED"
    DUPLICATE = "DUPLICATE"
    CONFLICT = "CONFLICT"
    REJECTED = "REJECTED"
    RETRY = "RETRY"


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of the element at `index`, for an answer to the sender.

    `id` is the sender's id or the one the server made; `code` and `message` say why it was not accepted; `field` is
    the path of the wrong input.
    """

    index: int
    outcome: Outcome
    id: str | None = None
    code: str | None = None
    field: list[str] | None = None
    message: str | None = None


def check_count(count: int) -> None:
    """Raise TooManyElements for more elements than a call may have."""
    if count > MAX_ELEMENTS:
        raise TooManyElements(f"A call may have at most {MAX_ELEMENTS} elements, not {count}.")


def valid_id(id: object) -> str | None:
    """The sender's id if it is valid, else None, so that no answer repeats a huge text."""
    try:
        return check_id(id, "id")
    except InvalidInput:
        return None
