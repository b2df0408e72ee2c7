"""Cursors of lists: a signed position. A client cannot forge one. A cursor is valid for one list only."""

from typing import Any

import orjson

from core.errors import InvalidInput
from engine.signing import Signer


def write_cursor(signer: Signer, purpose: str, position: Any) -> str:
    """The cursor for a JSON-able `position` in the list named `purpose`."""
    return signer.sign(f"cursor {purpose}", orjson.dumps(position))


def read_cursor(signer: Signer, purpose: str, cursor: str) -> Any:
    """The position in a cursor; raises InvalidInput when it is not a cursor of the list named `purpose`."""
    try:
        return orjson.loads(signer.open(f"cursor {purpose}", cursor))
    except InvalidInput:
        raise InvalidInput("after is not a cursor of this list.", field="after") from None
