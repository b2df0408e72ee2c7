"""Checks of a request's head that the parser leaves out: its version, Host and Transfer-Encoding."""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address

from api.errors import RequestRefused

_HOST = re.compile(rb"(?:[\w-]+(?:\.[\w-]+)*\.?|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{0,5}))?", re.ASCII)
_MAX_PORT = 65_535
_LONGEST_LINE = 8_000  # bytes of the URL, or of a header, of a WebSocket's handshake; the library reads 8,192 of a line
_VERSIONS = ("1.0", "1.1")


def check_head(version: str, headers: Sequence[tuple[bytes, bytes]], *, bodiless: bool) -> None:
    """Raise RequestRefused unless every server on the way reads this head in the same way (RFC 9112).

    With `bodiless`, a body is refused too: the request asks for another protocol, and the parser would skip its body.
    """
    if version not in _VERSIONS:
        raise RequestRefused("BAD_REQUEST", "Use HTTP/1.1.", 505)
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (not hosts and version == "1.1") or not all(map(_is_host, hosts)):
        raise RequestRefused("BAD_REQUEST", "A request needs one valid Host header.", 400)
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings:
        _check_codings(version, codings)
    if bodiless and (codings or any(name == b"content-length" and value.strip(b" 0") for name, value in headers)):
        raise RequestRefused("BAD_REQUEST", "A request with Upgrade or CONNECT cannot have a body.", 400)


def check_handshake(url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Raise RequestRefused for lines that the WebSocket library, which reads this head again, would not read."""
    if len(url) > _LONGEST_LINE or any(len(name) + len(value) > _LONGEST_LINE for name, value in headers):
        message = f"The URL and each header of a WebSocket's handshake may have at most {_LONGEST_LINE} bytes."
        raise RequestRefused("HEADERS_TOO_LARGE", message, 431)


@lru_cache(256)
def _is_host(value: bytes) -> bool:
    """Whether this is a name of letters, digits, `-` and `_`, or an address, and a port that exists."""
    found = _HOST.fullmatch(value.strip())
    if found is None or int(found[2] or 0) > _MAX_PORT:
        return False
    return found[1] is None or _is_ipv6(found[1].decode("ascii"))


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _check_codings(version: str, codings: list[bytes]) -> None:
    if version == "1.0" or not codings[-1].endswith(b"chunked"):
        raise RequestRefused("BAD_REQUEST", "Transfer-Encoding must be chunked, in HTTP/1.1.", 400)
    if codings != [b"chunked"]:
        raise RequestRefused("NOT_IMPLEMENTED", "The only Transfer-Encoding is chunked.", 501)
