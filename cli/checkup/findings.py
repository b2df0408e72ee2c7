"""What is found: how bad it is, what it is about, what is so, and what to do."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

Verdict = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's."""

    verdict: Verdict
    about: str
    says: str
    advice: str = ""


def ok(about: str, says: str) -> Finding:
    """All is well."""
    return Finding("OK", about, says)


def warn(about: str, says: str, advice: str) -> Finding:
    """It runs, and somebody should look at this."""
    return Finding("WARN", about, says, advice)


def fail(about: str, says: str, advice: str) -> Finding:
    """It does not run, or loses something, until this is put right."""
    return Finding("FAIL", about, says, advice)


def address(url: str) -> str:
    """Where a URL leads, without anybody's name, password or options."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def password(url: str) -> str | None:
    """The password in a URL, to be kept out of what is printed."""
    try:
        return urlsplit(url).password
    except ValueError:
        return url
