"""Addresses that this program sends requests to: encrypted, or on this machine."""

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from core.errors import InvalidInput

LONGEST: Final = 512  # characters
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PRINTABLE: Final = re.compile(rf"[!-~]{{1,{LONGEST}}}")


def split_address(url: str, field: str) -> SplitResult:
    """The parts of an address that may be asked: https, or http on this machine. Raises InvalidInput."""
    rule = (
        f"{field} is an https address, or http on loopback, of at most {LONGEST} characters, without user or fragment"
    )
    try:
        parts = urlsplit(url)
        host = parts.hostname
        secure = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
        usable = bool(host) and parts.port != 0
    except ValueError:
        raise InvalidInput(rule, field) from None
    if not (_PRINTABLE.fullmatch(url) and secure and usable) or "@" in parts.netloc or "#" in url or "\\" in url:
        raise InvalidInput(rule, field)
    return parts
