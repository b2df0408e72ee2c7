"""The elements of a bulk upload's body: JSON lines or a JSON array, with bounds that hold before the work is done."""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from api.errors import RequestRefused
from api.http.gzip_body import inflate
from api.http.json_body import MAX_NODES, count_containers, too_many
from core.errors import TooManyElements
from engine.outcomes import MAX_ELEMENTS, Outcome, Result, check_count

JSON: Final = "application/json"
LINES: Final = ("application/x-ndjson", "application/jsonl", "application/ndjson", "application/x-jsonlines")
_BODY: Final = "The body"
_BOM: Final = b"\xef\xbb\xbf"
_NOT_BLANK: Final = re.compile(rb"[^ \t\r\n][^\n]*")  # what follows the blanks of a line

Element = Mapping[str, Any]


def unpack(headers: Mapping[bytes, bytes], body: bytes, max_body: int) -> tuple[str, bytes]:
    """The media type of a body, and its bytes without compression.

    Raises RequestRefused: 415 for another media type or encoding, 413 for too many bytes.
    """
    kind = _media_type(headers)
    return kind, _decompress(headers, body, max_body).removeprefix(_BOM)


def read_elements(kind: str, body: bytes) -> list[Element | Result]:
    """The elements of a body. In place of an element that is not a JSON object, a REJECTED result.

    Raises RequestRefused: 413 for too many JSON values, 400 when a JSON body is not an array. Raises TooManyElements.
    """
    count_containers(body, _BODY)
    return _read_array(body) if kind == JSON else _read_lines(body)


def _media_type(headers: Mapping[bytes, bytes]) -> str:
    kind, _, rest = headers.get(b"content-type", b"").decode("latin-1").partition(";")
    charset = rest.strip().lower().removeprefix("charset=").strip('"')
    kind = kind.strip().lower()
    if kind not in (JSON, *LINES) or charset not in ("", "utf-8", "utf8"):
        wanted = f"{LINES[0]} (an object per line) or {JSON} (an array of objects), in UTF-8"
        raise RequestRefused("UNSUPPORTED_MEDIA_TYPE", f"The body must be {wanted}.", 415)
    return kind


def _decompress(headers: Mapping[bytes, bytes], body: bytes, max_body: int) -> bytes:
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding == b"identity":
        return body
    if encoding not in (b"gzip", b"x-gzip"):
        raise RequestRefused("UNSUPPORTED_MEDIA_TYPE", "The body must be gzip or not compressed.", 415)
    return inflate(body, max_body)


def _read_array(body: bytes) -> list[Element | Result]:
    try:
        elements = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestRefused("BAD_REQUEST", f"The body {_fault(error)}.", 400) from None
    if not isinstance(elements, list):
        raise RequestRefused("BAD_REQUEST", f"The body must be an array; send JSON lines as {LINES[0]}.", 400)
    check_count(len(elements))
    _count_values(elements, 0)
    return [
        element if isinstance(element, dict) else _rejected(index, "The element is not an object.")
        for index, element in enumerate(elements)
    ]


def _read_lines(body: bytes) -> list[Element | Result]:
    """One element per line that is not blank."""
    elements: list[Element | Result] = []
    number, place, values = 1, 0, 0
    for line in _NOT_BLANK.finditer(body):
        if len(elements) == MAX_ELEMENTS:
            raise TooManyElements(f"A call may have at most {MAX_ELEMENTS} elements.")
        number, place = number + body.count(b"\n", place, line.start()), line.start()
        element = _read_line(len(elements), number, line[0])
        values = _count_values(element, values)
        elements.append(element)
    return elements


def _read_line(index: int, number: int, line: bytes) -> Element | Result:
    try:
        element = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _rejected(index, f"Line {number} {_fault(error)}.")
    return element if isinstance(element, dict) else _rejected(index, f"Line {number} is not an object.")


def _fault(error: orjson.JSONDecodeError) -> str:
    return "is not UTF-8" if "not valid UTF-8" in error.msg else f"is not JSON: see its character {error.pos + 1}"


def _count_values(element: object, counted: int) -> int:
    """`counted` and the JSON values inside the element. Stops at the bound and raises RequestRefused (413)."""
    waiting = [element]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            counted += len(value)
            if counted > MAX_NODES:
                raise too_many(_BODY)
            waiting += value.values() if isinstance(value, dict) else value
    return counted


def _rejected(index: int, message: str) -> Result:
    return Result(index, Outcome.REJECTED, None, "BAD_REQUEST", None, message)
