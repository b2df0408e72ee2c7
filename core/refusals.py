"""Why a field of a sender's element is refused: plain words, without the value."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_LONGEST_NAME: Final = 128  # characters of a field's name that an answer repeats
_LONGEST_MESSAGE: Final = 200  # characters
_OBJECT: Final = "must be an object"
_WHOLE: Final = "must be a whole number"
_DIGITS: Final = "must have at most 10 digits before and 4 after the point"
_NUMBER: Final = "must be a number in plain digits, such as 12.50"

_WORDS: Final[Mapping[str, str]] = {
    "missing": "is required",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
    "string_too_long": "must have at most {max_length} characters",
    "tuple_type": "must be a list",
    "too_long": "must have at most {max_length} elements",
    "bool_type": "must be true or false",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "decimal_type": _NUMBER,
    "decimal_parsing": _NUMBER,
    "decimal_max_digits": _DIGITS,
    "decimal_whole_digits": _DIGITS,
    "decimal_max_places": _DIGITS,
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
_PATTERNS: Final = (
    ("://", "must be a link with its scheme"),
    (r"[^\x00]", "must not contain the NUL character"),
    ("", "must not contain control characters"),
)  # what a pattern contains -> what it asks for


def first_error(error: ValidationError) -> ErrorDetails:
    """The first error, in the order of the contract's fields."""
    return error.errors(include_url=False, include_input=False)[0]


def path_of(steps: Sequence[int | str]) -> str:
    """The path of a field as the sender writes it, such as `offers.0.price`."""
    return ".".join(str(step)[:_LONGEST_NAME] for step in steps)


def words_of(error: ErrorDetails) -> str:
    """What is wrong with the value, as the end of a sentence that begins with the field."""
    context: Mapping[str, Any] = error.get("ctx", {})
    reason = context.get("error")
    if reason is not None:
        return str(reason)
    if error["type"] == "string_pattern_mismatch":
        return next(words for part, words in _PATTERNS if part in context["pattern"])
    return _WORDS.get(error["type"], "is not valid").format(**context)


def unknown_field(where: str) -> str:
    """The message about a field that the contract does not have; its name may be empty."""
    return bounded(f"{where or '(the empty name)'} is not a field")


def bounded(message: str) -> str:
    """The message, at most 200 characters of it."""
    return message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 3] + "..."
