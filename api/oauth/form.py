"""Reads the form of a token request strictly: limited size, each parameter at most once."""

import re
from urllib.parse import unquote_to_bytes

from authlib.oauth2.rfc6749.errors import InvalidRequestError
from starlette.requests import Request

MEDIA_TYPE = "application/x-www-form-urlencoded"
MAX_BYTES = 16_384
MAX_PARAMETERS = 32
JUDGED_LATER = frozenset({"scope"})  # control characters in it are invalid_scope, not invalid_request
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


async def read_form(request: Request) -> dict[str, str]:
    """The parameters of a form body. One without a value counts as left out (RFC 6749, section 3.2).

    Raises InvalidRequestError for another media type, a compressed or too large body, broken escapes, text that is
    not UTF-8, control characters, and a repeated parameter.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise InvalidRequestError(f"The body must be {MEDIA_TYPE}.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidRequestError("The body must not be compressed.")
    return parse_form(await _body(request))


def parse_form(body: bytes) -> dict[str, str]:
    """The parameters of `body`. Raises InvalidRequestError, see `read_form`."""
    pairs = [pair for pair in body.split(b"&") if pair]
    if len(pairs) > MAX_PARAMETERS:
        raise InvalidRequestError(f"The body has more than {MAX_PARAMETERS} parameters.")
    form: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        if (key := _decode(name)) in form:
            raise InvalidRequestError(f"The parameter {_printable(key)} is repeated.")
        form[key] = _decode(value, controls=key in JUDGED_LATER)
    return {name: value for name, value in form.items() if value}


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise InvalidRequestError(f"The body has more than {MAX_BYTES} bytes.", status_code=413)
    return bytes(body)


def _decode(raw: bytes, *, controls: bool = False) -> str:
    try:
        escaped = raw.decode("ascii")
        text = unquote_to_bytes(escaped.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequestError("The body is not percent-encoded UTF-8.") from None
    if _BROKEN_ESCAPE.search(escaped) or (not controls and _CONTROL.search(text)):
        raise InvalidRequestError("The body has a broken escape or a control character.")
    return text


def _printable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "?", name[:40])
