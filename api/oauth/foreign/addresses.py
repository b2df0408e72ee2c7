"""The addresses of a foreign issuer: its URL, its metadata and its keys."""

from urllib.parse import urlsplit

from core.addresses import split_address
from core.errors import InvalidInput


def check_issuer_url(url: str) -> str:
    """The URL of an issuer, unchanged: it is compared exactly. Raises InvalidInput."""
    parts = split_address(url, "url")
    if parts.query or "?" in url:
        raise InvalidInput("The URL of an issuer has no query", "url")
    return url


def check_keys_address(address: str, url: str, field: str = "jwks-url") -> str:
    """The address of the keys of the issuer `url`. Raises InvalidInput.

    Only an issuer on this machine may have its keys on this machine without https.
    """
    parts = split_address(address, field)
    if parts.scheme == "http" and urlsplit(url).scheme != "http":
        raise InvalidInput("The keys of an issuer with https are at an https address", field)
    return address


def metadata_addresses(url: str) -> tuple[str, str]:
    """Where an issuer's metadata may be: by OpenID Connect Discovery, then by RFC 8414."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    base = f"{parts.scheme}://{parts.netloc}"
    return f"{base}{path}/.well-known/openid-configuration", f"{base}/.well-known/oauth-authorization-server{path}"
