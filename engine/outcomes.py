"""The outcome of each element of a call: one bad element spoils no good one."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from core.contract import check_id
from core.errors import InvalidInput, TooManyElements

MOST: Final = 500  # elements of a call


class Outcome(StrEnum):
    """The outcome of one element of a batch."""

    ACCEPTED = "ACCEPTED"
    DUPLICATE = "DUPLICATE"
    CONFLICT = "CONFLICT"
    REJECTED = "REJECTED"
    RETRY = "RETRY"


@dataclass(frozen=True, slots=True)
class Result:
    """One element's outcome; `field` is the path of the wrong input, `id` the sender's id or the one we made."""

    index: int
    outcome: Outcome
    id: str | None = None
    code: str | None = None
    field: list[str] | None = None
    message: str | None = None


def check_count(count: int) -> None:
    """Raise TooManyElements for more elements than a call may have."""
    if count > MOST:
        raise TooManyElements(f"At most {MOST} elements a call, not {count}.")


def echo(id: object) -> str | None:
    """The sender's id, when it is a valid id; None otherwise, so that no answer repeats a huge text."""
    try:
        return check_id(id, "id")
    except InvalidInput:
        return None
