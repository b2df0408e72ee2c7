"""Checks of a request's head that the parser leaves out: its version, Host and Transfer-Encoding."""

import re
from collections.abc import Sequence

from api.errors import RequestRefused

_HOST = re.compile(rb"(?:[A-Za-z0-9._~%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?", re.ASCII)
_VERSIONS = ("1.0", "1.1")


def check_head(version: str, headers: Sequence[tuple[bytes, bytes]], *, bodiless: bool) -> None:
    """Raise RequestRefused unless every server on the way reads this head in the same way (RFC 9112).

    With `bodiless`, a body is refused too: the request asks for another protocol, and the parser would skip its body.
    """
    if version not in _VERSIONS:
        raise RequestRefused("BAD_REQUEST", "Use HTTP/1.1.", 505)
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (not hosts and version == "1.1") or not all(_HOST.fullmatch(host.strip()) for host in hosts):
        raise RequestRefused("BAD_REQUEST", "A request needs one valid Host header.", 400)
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings:
        _check_codings(version, codings)
    if bodiless and (codings or any(name == b"content-length" and value.strip(b" 0") for name, value in headers)):
        raise RequestRefused("BAD_REQUEST", "A request with Upgrade or CONNECT cannot have a body.", 400)


def _check_codings(version: str, codings: list[bytes]) -> None:
    if version == "1.0" or not codings[-1].endswith(b"chunked"):
        raise RequestRefused("BAD_REQUEST", "Transfer-Encoding must be chunked, in HTTP/1.1.", 400)
    if codings != [b"chunked"]:
        raise RequestRefused("NOT_IMPLEMENTED", "The only Transfer-Encoding is chunked.", 501)
