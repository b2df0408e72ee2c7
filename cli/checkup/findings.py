"""Findings: a verdict, the part it is about, what was found, and what to do."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

Verdict = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of `penchant doctor`."""

    verdict: Verdict
    about: str
    says: str
    advice: str = ""


def ok(about: str, says: str) -> Finding:
    """Nothing has to be done."""
    return Finding("OK", about, says)


def warn(about: str, says: str, advice: str) -> Finding:
    """It runs, and somebody should act on the advice."""
    return Finding("WARN", about, says, advice)


def fail(about: str, says: str, advice: str) -> Finding:
    """It does not run, or loses data, until somebody acts on the advice."""
    return Finding("FAIL", about, says, advice)


def address(url: str) -> str:
    """The address in a URL, without user name, password and options."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that is not a URL"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def password(url: str) -> str | None:
    """The password in a URL, which must not be printed."""
    try:
        return urlsplit(url).password
    except ValueError:
        return url
