"""Limits of ids, reasons and free JSON, so that every store and reader can keep them."""

import json
import re
from typing import Annotated, Any, Final

import orjson
from pydantic import StringConstraints

from core.errors import InvalidInput

LONGEST_ID: Final = 128
LONGEST_TEXT: Final = 1024
LONGEST_REASON: Final = 500
RESERVED: Final = "urn:penchant:"  # no user id begins so: a guest's token names the guest by such a text
DEEPEST_JSON: Final = 32  # levels: some readers fail at a few hundred
_NO_CONTROLS: Final = r"^[^\x00-\x1f\x7f-\x9f]+$"
_ID_PATTERN: Final = re.compile(_NO_CONTROLS.replace("$", r"\Z"))
_AS_GIVEN: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS

Id = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_ID, pattern=_NO_CONTROLS)]
LongId = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TEXT, pattern=_NO_CONTROLS)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TEXT, pattern=r"^[^\x00]+$")]


def check_id(text: object, field: str) -> str:
    """`text` when it can be an id: 1 to 128 characters, no control characters. Raises InvalidInput naming `field`."""
    if not isinstance(text, str):
        raise InvalidInput(f"{field} must be a string", field)
    if not 0 < len(text) <= LONGEST_ID:
        raise InvalidInput(f"{field} must have 1 to {LONGEST_ID} characters", field)
    if not _ID_PATTERN.match(text) or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(f"{field} must not contain control characters", field)
    return text


def check_user_id(text: object, field: str) -> str:
    """`text` when it can be a user's id: an id that does not begin with `RESERVED`. Raises InvalidInput."""
    user_id = check_id(text, field)
    if user_id.startswith(RESERVED):
        raise InvalidInput(f"{field} must not begin with {RESERVED}", field)
    return user_id


def check_reason(text: str) -> str:
    """The reason of a decision, stripped. Raises InvalidInput when it is empty or cannot be stored."""
    text = text.strip()
    if not text:
        raise InvalidInput("A reason is needed: it is kept for the record.", "reason")
    if len(text) > LONGEST_REASON or "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(f"reason must be a text of at most {LONGEST_REASON} characters.", "reason")
    return text


def plain_json(value: dict[str, Any], largest: int) -> dict[str, Any]:
    """`value` when Postgres and every JSON reader can hold it, in `largest` bytes. Raises ValueError."""
    try:
        packed = orjson.dumps(value, option=_AS_GIVEN)  # rejects half characters and integers over 64 bits
        if b"null" in packed:
            json.dumps(value, allow_nan=False)  # orjson writes null for NaN as well
    except (ValueError, TypeError, RecursionError):
        raise ValueError("must be plain JSON: no NaN, no half characters, integers of 64 bits") from None
    if len(packed) > largest:
        raise ValueError(f"must be at most {largest} bytes of JSON")
    if b"\\u0000" in packed:
        raise ValueError("must not contain the NUL character")
    if _levels(value) > DEEPEST_JSON:
        raise ValueError(f"must have at most {DEEPEST_JSON} levels")
    return value


def _levels(value: object) -> int:
    """The depth of nesting, 0 for a scalar."""
    if isinstance(value, dict):
        return 1 + max(map(_levels, value.values()), default=0)
    return 1 + max(map(_levels, value), default=0) if isinstance(value, list) else 0
