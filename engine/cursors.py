"""Cursors of lists: a position that a client cannot forge. A cursor is valid for one list only."""

from typing import Any, Final

import orjson

from core.errors import InvalidInput
from engine.signing import Signer

_SEALED: Final = frozenset({"history"})  # lists whose positions hold what their readers must not see


def write_cursor(signer: Signer, purpose: str, position: Any) -> str:
    """The cursor for a JSON-able `position` in the list named `purpose`."""
    write = signer.seal if purpose in _SEALED else signer.sign
    return write(f"cursor {purpose}", orjson.dumps(position))


def read_cursor(signer: Signer, purpose: str, cursor: str) -> Any:
    """The position in a cursor; raises InvalidInput when it is not a cursor of the list named `purpose`."""
    read = signer.unseal if purpose in _SEALED else signer.open
    try:
        return orjson.loads(read(f"cursor {purpose}", cursor))
    except InvalidInput:
        raise InvalidInput("after is not a cursor of this list.", field="after") from None
