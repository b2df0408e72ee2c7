"""Bounded lists and their cursors: `first` is 1 to 100, and a cursor is signed, so it says only what we said."""

from collections.abc import Sequence
from typing import Any, Self

import orjson
import strawberry

from core.errors import InvalidInput
from engine.signing import Signer

MOST = 100


@strawberry.type(description="Where a page of a list ends and whether more follows.")
class PageInfo:
    """Relay's PageInfo, forwards."""

    has_next_page: bool = strawberry.field(description="Whether there is more after this page.")
    has_previous_page: bool = strawberry.field(description="Whether the page was asked for with a cursor.")
    start_cursor: str | None = strawberry.field(description="Cursor of the first element; null when there is none.")
    end_cursor: str | None = strawberry.field(description="Give this as `after` to get the next page.")

    @classmethod
    def around(cls, cursors: Sequence[str], after: str | None, *, more: bool) -> Self:
        """Of a page with these cursors that was asked for with `after`."""
        return cls(
            has_next_page=more,
            has_previous_page=after is not None,
            start_cursor=cursors[0] if cursors else None,
            end_cursor=cursors[-1] if cursors else None,
        )


def check_first(first: int) -> int:
    """`first` itself; raises InvalidInput outside 1 to 100."""
    if not 1 <= first <= MOST:
        raise InvalidInput(f"first must be between 1 and {MOST}, not {first}.", field="first")
    return first


def write_cursor(signer: Signer, purpose: str, position: Any) -> str:
    """A cursor for a JSON-able `position` in the list named `purpose`."""
    return signer.sign(f"cursor {purpose}", orjson.dumps(position))


def read_cursor(signer: Signer, purpose: str, cursor: str) -> Any:
    """The position a cursor stands for; raises InvalidInput when it is not a cursor of the list named `purpose`."""
    try:
        return orjson.loads(signer.open(f"cursor {purpose}", cursor))
    except InvalidInput:
        raise InvalidInput("after is not a cursor of this list.", field="after") from None
