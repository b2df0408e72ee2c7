"""The addresses of a foreign issuer: its URL, its metadata and its keys."""

import re
from urllib.parse import SplitResult, urlsplit

from core.errors import InvalidInput

LONGEST = 512  # characters
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PRINTABLE = re.compile(rf"[!-~]{{1,{LONGEST}}}")


def check_issuer_url(url: str) -> str:
    """The URL of an issuer, unchanged: it is compared exactly. Raises InvalidInput."""
    parts = _split(url, "url")
    if parts.query or "?" in url:
        raise InvalidInput("The URL of an issuer has no query", "url")
    return url


def check_keys_address(address: str, url: str, field: str = "jwks-url") -> str:
    """The address of the keys of the issuer `url`. Raises InvalidInput.

    Only an issuer on this machine may have its keys on this machine without https.
    """
    parts = _split(address, field)
    if parts.scheme == "http" and urlsplit(url).scheme != "http":
        raise InvalidInput("The keys of an issuer with https are at an https address", field)
    return address


def metadata_addresses(url: str) -> tuple[str, str]:
    """Where an issuer's metadata may be: by OpenID Connect Discovery, then by RFC 8414."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    base = f"{parts.scheme}://{parts.netloc}"
    return f"{base}{path}/.well-known/openid-configuration", f"{base}/.well-known/oauth-authorization-server{path}"


def _split(url: str, field: str) -> SplitResult:
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
