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
_ID_PATTERN: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+\Z")  # half characters cannot be stored
_NOT_PLAIN: Final = "must be plain JSON: no NaN, no half characters, integers of 64 bits"
_AS_GIVEN: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS

Id = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=LONGEST_ID, pattern=_NO_CONTROLS)]
LongId = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=LONGEST_TEXT, pattern=_NO_CONTROLS)]
Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=LONGEST_TEXT, pattern=r"^[^\x00]+$")]


def check_id(text: object, field: str) -> str:
    """`text` when it can be an id: 1 to 128 characters, no control characters. Raises InvalidInput naming `field`."""
    if not isinstance(text, str):
        raise InvalidInput(f"{field} must be a string", field)
    if not 0 < len(text) <= LONGEST_ID:
        raise InvalidInput(f"{field} must have 1 to {LONGEST_ID} characters", field)
    if not _ID_PATTERN.match(text):
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
    packed = _packed(value)
    if len(packed) > largest:
        raise ValueError(f"must be at most {largest} bytes of JSON")
    if b"null" in packed:
        _check_finite(value)
    if b"\\u0000" in packed and has_nul(value):
        raise ValueError("must not contain the NUL character")
    if _is_too_deep(value):
        raise ValueError(f"must have at most {DEEPEST_JSON} levels")
    return value


def _packed(value: dict[str, Any]) -> bytes:
    """The value as JSON; half characters and integers over 64 bits are refused."""
    try:
        return orjson.dumps(value, option=_AS_GIVEN)
    except orjson.JSONEncodeError:
        raise ValueError(_NOT_PLAIN) from None


def _check_finite(value: dict[str, Any]) -> None:
    """Refuse NaN and the infinities, which orjson writes as null."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError(_NOT_PLAIN) from None


def has_nul(value: object) -> bool:
    """Whether a text in a JSON value has the NUL character, which Postgres cannot store."""
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(map(has_nul, value)) or any(map(has_nul, value.values()))
    return isinstance(value, list) and any(map(has_nul, value))


def _is_too_deep(value: object) -> bool:
    """Whether there are too many levels. A value inside an object or a list is a level of its own."""
    level = [value]
    for _ in range(DEEPEST_JSON):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True
